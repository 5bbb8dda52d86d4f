"""The whole life of one attempt: checks, the command, proofs."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tbss_hpc.core.attempt import Measures, Order, Report
from tbss_hpc.core.command import Fingerprint, Output
from tbss_hpc.core.outcome import Cut, Invalid, Outcome, Succeeded
from tbss_hpc.store.logfile import Header, Trailer, write_header, write_trailer
from tbss_hpc.tbss.proof import Unproved
from tbss_hpc.worker.execution import CannotStart, Execution, Raw
from tbss_hpc.worker.outputs import discard_aside, move_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


#: How the reason begins when nothing was run because the node could not.
NO_START = "it could not be started"


class MakeExecution(Protocol):
    """Prepare the running of an order: `Execution`, or what also remembers it to stop it."""

    def __call__(self, order: Order, log: Path, environment: Mapping[str, str], /) -> Execution:
        """Give an execution that is not started."""


def make_attempt(  # noqa: PLR0913 -- where, with what and by whom: all named, each used once
    order: Order,
    *,
    run: Path,
    allocation: str,
    node: str,
    environment: Mapping[str, str],
    prove: Callable[[Output, Path], Fingerprint],
    execution: MakeExecution = Execution,
    on_start: Callable[[], None] = lambda: None,
) -> Report:
    """Carry out an order, and say what came of it.

    Blocks; the execution's `stop` ends it from another thread.
    run -- the run folder, which holds the log.
    prove -- reads an output to its end and gives its fingerprint; raises Unproved.
    on_start -- called when the checks are over and the command is certain to be tried next, before
    anything is changed: it writes the `started` record, and may raise to refuse.
    """
    place = _Place(allocation, node)
    attempt = _Attempt(execution(order, run / order.log, environment), place, prove)
    return attempt.without_running() or attempt.by_running(on_start)


class _Place(NamedTuple):
    """Where the attempt is made."""

    allocation: str
    node: str


class _Attempt:
    """One order, with all that is needed to carry it out."""

    def __init__(
        self,
        execution: Execution,
        place: _Place,
        prove: Callable[[Output, Path], Fingerprint],
    ) -> None:
        self._execution = execution
        self._order: Order = execution.order
        self._command = execution.order.command
        self._folder = Path(self._command.folder)
        self._place = place
        self._prove = prove

    def without_running(self) -> Report | None:
        """Settle the attempt by looking: a changed input, a result that is there, a stop."""
        start = time.time()
        if changed := self._changed_input("since the run was planned"):
            return self._report(changed, _only_looked(start))
        if self._order.accept_found and (proofs := self._found()):
            return self._report(Succeeded(), _only_looked(start), proofs, found=True)
        if self._execution.stopped:
            return self._report(self._execution.stopped, _only_looked(start))
        return None

    def by_running(self, on_start: Callable[[], None]) -> Report:
        """Run the command between a header and a trailer, and prove what it left."""
        on_start()
        raw, output_begin = self._run(time.time())
        outcome, proofs = self._judge(raw)
        if output_begin is not None:
            self._write_trailer(raw, outcome, output_begin)
        if isinstance(outcome, Succeeded):
            _forgive(lambda: discard_aside(self._command.outputs, self._folder))
        return self._report(outcome, raw.measures, proofs)

    def _run(self, start: float) -> tuple[Raw, int | None]:
        """Give how the command ended, and where its output begins if there is a log."""
        output_begin = None
        try:
            self._move_outputs_aside()
            output_begin = self._write_header(start)
            return self._execution.run(), output_begin
        except (CannotStart, OSError) as error:
            # Charged to the node, not to the command: another node may well have the folder.
            why = error.why if isinstance(error, CannotStart) else str(error)
            raw = Raw(Cut(f"{NO_START}: {why}"), measures=_only_looked(start))
            return raw, output_begin

    def _judge(self, raw: Raw) -> tuple[Outcome, tuple[Fingerprint, ...]]:
        """Believe exit code 0 only with every output proved, and made from the planned inputs."""
        if not isinstance(raw.outcome, Succeeded):
            return raw.outcome, ()
        try:
            proofs = self._proofs()
        except Unproved as unproved:
            return Invalid(str(unproved)), ()
        if changed := self._changed_input("while the command ran"):
            return changed, ()
        return raw.outcome, proofs

    def _found(self) -> tuple[Fingerprint, ...]:
        """Prove what is there already; nothing if it does not prove, or if nothing is declared."""
        try:
            return self._proofs()
        except Unproved:
            return ()

    def _proofs(self) -> tuple[Fingerprint, ...]:
        return tuple(self._prove(output, self._folder) for output in self._command.outputs)

    def _changed_input(self, when: str) -> Invalid | None:
        for planned in self._order.inputs:
            try:
                found = _look(self._folder / planned.path)
            except OSError as error:
                return Invalid(f"the input {planned.path} cannot be read: {error.strerror}")
            if (found.st_size, found.st_mtime_ns) != (planned.size, planned.mtime_ns):
                return Invalid(f"the input {planned.path} changed {when}")
        return None

    def _move_outputs_aside(self) -> None:
        inputs = {*self._command.inputs, *(planned.path for planned in self._order.inputs)}
        move_aside(self._command.outputs, self._folder, keep=inputs)

    def _write_header(self, start: float) -> int:
        command, place = self._command, self._place
        header = Header(
            attempt=self._order.attempt,
            name=command.name,
            text=command.text,
            folder=command.folder,
            node=place.node,
            allocation=place.allocation,
            start=start,
        )
        return write_header(self._execution.log, header)

    def _write_trailer(self, raw: Raw, outcome: Outcome, output_begin: int) -> None:
        trailer = Trailer(self._order.attempt, outcome, raw.exit_code, raw.measures)
        # The log is for reading; what counts is the record. A full disk here undoes no result.
        _forgive(lambda: write_trailer(self._execution.log, trailer, output_begin))

    def _report(
        self,
        outcome: Outcome,
        measures: Measures,
        proofs: tuple[Fingerprint, ...] = (),
        *,
        found: bool = False,
    ) -> Report:
        place = self._place
        return Report(
            attempt=self._order.attempt,
            outcome=outcome,
            allocation=place.allocation,
            node=place.node,
            measures=measures,
            proofs=proofs,
            found=found,
        )


def _look(path: Path) -> os.stat_result:
    """Give size and time of a file as they are now.

    Opened, not just asked for: an NFS client asks its server anew when a file is opened, and may
    answer a bare stat from its cache. Without waiting, in case it is a pipe.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _only_looked(start: float) -> Measures:
    return Measures(start=start, end=time.time())


def _forgive(action: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        action()
