"""Keeping status.tsv, attempts.tsv and failed.commands up to date."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from tbss_hpc.core.machine import Machine
from tbss_hpc.report.tables import attempts_table, failed_commands, status_table
from tbss_hpc.store.atomic import replace_file
from tbss_hpc.store.folder import RunFolder

#: Seconds between two writings: 10,000 lines are a megabyte on a disk that others use.
PAUSE_SECONDS = 30.0

log = logging.getLogger("tbss_hpc")


class Tables:
    """Writes the tables of a run, not too often."""

    def __init__(self, run: RunFolder, machine: Machine, logs: Mapping[str, str]) -> None:
        """Know what to write, and where."""
        self._run = run
        self._machine = machine
        self._logs = logs
        self._written_at = float("-inf")
        self._written_state = 0.0

    def write_if_due(self) -> None:
        """Write if something has happened and the last time is long enough ago."""
        due = time.monotonic() - self._written_at > PAUSE_SECONDS
        if due and self._machine.now != self._written_state:
            self.write()

    def write(self) -> None:
        """Write all three by rename, so that whoever reads them sees whole tables."""
        self._written_at, self._written_state = time.monotonic(), self._machine.now
        try:
            self._replace()
        except OSError as error:
            # They are for reading only: what counts is the journal, and `status` reads that.
            log.warning("The tables cannot be written: %s", error)

    def _replace(self) -> None:
        ledger = self._machine.ledger
        replace_file(self._run.status_table, status_table(ledger, self._logs).encode())
        replace_file(self._run.attempts_table, attempts_table(ledger).encode())
        replace_file(
            self._run.failed_commands,
            failed_commands(ledger, ended=self._machine.end is not None).encode(),
        )
