"""Proofs across controllers and runs: what made commands count, and whether it still does."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

from tbss_hpc.app.work import Work
from tbss_hpc.core.attempt import Report
from tbss_hpc.core.command import Command, Fingerprint
from tbss_hpc.core.events import Event, Undone
from tbss_hpc.core.ledger import Standing, Verdict
from tbss_hpc.core.machine import Machine
from tbss_hpc.core.outcome import Succeeded
from tbss_hpc.store.study_files import PairProof, StudyFiles
from tbss_hpc.tbss.proof import only_times_differ, still_proved
from tbss_hpc.tbss.study import fingerprint_images

#: Why a command is not made again but proved again.
COPIED = "its results were copied, or have new times, so they are proved again"

log = logging.getLogger("tbss_hpc")


class Proofs:
    """Keeps the proofs of a study's pairs where the next run finds them."""

    def __init__(self, work: Work, machine: Machine) -> None:
        """Know what is being made."""
        self._work = work
        self._machine = machine
        self._unkept: list[PairProof] = []
        self._commands = {command.id: command for command in work.commands}
        self._kept = {} if work.study is None else StudyFiles(Path(work.study.fa)).proofs()

    def check(self) -> list[Event]:
        """Find done commands whose outputs, or inputs, are not what they were.

        From then on the inputs count as they are now, and proofs that an earlier controller had
        journalled and not kept in the study are kept there.
        """
        now = self._inputs_now()
        changed = {p for p, old in self._work.inputs.items() if now[p].digest != old.digest}
        events: list[Event] = []
        for standing in self._done():
            if why := _why_broken(standing, changed):
                if why == COPIED:
                    self._work.found.add(standing.command.id)
                events.append(Undone(at=time.time(), command=standing.command.id, why=why))
            elif self._work.study is not None:
                self._keep_if_missing(standing)
        self._work.inputs.update(now)
        return events

    def _keep_if_missing(self, standing: Standing) -> None:
        proof = self._kept.get(standing.command.name)
        if proof is None or proof.outputs != standing.proofs:
            self._unkept.append(self._proof(standing.command, standing.proofs, 0.0))

    def note(self, report: Report) -> None:
        """Take in that an attempt succeeded."""
        if self._work.study is not None and isinstance(report.outcome, Succeeded):
            command = self._commands[report.attempt.command]
            seconds = report.measures.seconds
            self._unkept.append(self._proof(command, report.proofs, seconds))

    def keep(self) -> None:
        """Write what was taken in. The journal has it too, so a full disk only delays this."""
        if self._work.study is None or not self._unkept:
            return
        try:
            StudyFiles(Path(self._work.study.fa)).add_proofs(self._unkept)
        except OSError as error:
            log.warning("Proofs cannot be written into the study yet: %s", error.strerror)
        else:
            self._unkept.clear()

    def _done(self) -> Iterator[Standing]:
        standings = self._machine.ledger.standings.values()
        return (s for s in standings if s.verdict is Verdict.DONE)

    def _inputs_now(self) -> dict[str, Fingerprint]:
        """Look at a study's images; one that has vanished keeps its name and loses its content."""
        if self._work.study is None:
            return {}
        now = fingerprint_images(self._work.study)
        return {p: now.get(p, Fingerprint(p, 0, 0)) for p in {*self._work.inputs, *now}}

    def _proof(
        self, command: Command, outputs: tuple[Fingerprint, ...], seconds: float
    ) -> PairProof:
        engine = self._work.engine.fingerprint if self._work.engine is not None else ""
        inputs = {path: self._work.inputs[path].digest for path in command.inputs}
        return PairProof(command.name, engine, inputs, outputs, seconds)


def _why_broken(standing: Standing, changed: set[str]) -> str:
    command = standing.command
    for path in command.inputs:
        if path in changed:
            return f"the image {path} has changed"
    folder = Path(command.folder)
    broken = [proof for proof in standing.proofs if not still_proved(proof, folder)]
    if not broken:
        return ""
    if all(only_times_differ(proof, folder) for proof in broken):
        return COPIED
    return f"its output {broken[0].path} was changed or removed"
