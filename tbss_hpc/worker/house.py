"""The house of an allocation: its slots, what runs in them, and what is written about it."""

from __future__ import annotations

import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from msgspec import structs

from tbss_hpc.core.attempt import AttemptId, Order, Report
from tbss_hpc.core.outcome import Cut, Failed, Invalid, Killed, NotStarted, Outcome
from tbss_hpc.core.record import Closed, Ended, Heartbeat, Opened, Record, Started
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.journal import newest_epoch
from tbss_hpc.store.lines import LineWriter
from tbss_hpc.tbss.proof import prove
from tbss_hpc.worker.attempt import NO_START, make_attempt
from tbss_hpc.worker.clock import EndClock
from tbss_hpc.worker.environment import Surroundings
from tbss_hpc.worker.execution import Execution

#: Reports kept for a controller that asks for an attempt which has just ended.
KEPT_REPORTS = 1000
#: Seconds between tries to write a record that says how a command ended.
RETRY_SECONDS = 2.0


#: Seconds in which the worker hears of a signal that has already killed a command.
HEARSAY_SECONDS = 2.0
#: A slot stays taken so long after a command that could not be started.
UNSTARTABLE_SECONDS = 5.0
#: What batch systems end an allocation with.
_ENDING = (signal.SIGTERM, signal.SIGKILL)


class Refused(Exception):  # noqa: N818 - a finding, not an error
    """An attempt is not started; it is as if it had never been handed over."""


class House:
    """Runs attempts, one in each slot; outlives every Worker object and every controller."""

    def __init__(
        self,
        run: Path,
        opened: Opened,
        writer: LineWriter,
        surroundings: Surroundings,
        clock: EndClock,
    ) -> None:
        """Open the house: nothing runs yet."""
        self.run = run
        self.opened = opened
        self.clock = clock
        self.epoch = 0
        #: The Worker object that may give orders; one that lost its connection may not.
        self.current: object = None
        #: Called, from any thread, when no attempt is to be started any more.
        self.when_draining: Callable[[], object] = lambda: None
        self.draining = ""  #: why no attempt is started any more; empty while some are
        self.idle_since = time.monotonic()
        self.written_at = time.monotonic()
        self._stopping = threading.Event()
        self._surroundings = surroundings
        self._writer = writer
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._executions: dict[AttemptId, Execution] = {}
        self._reports: OrderedDict[AttemptId, Future[Report]] = OrderedDict()

    # -- asked by the Dask side -----------------------------------------------------------------

    def perform(self, order: Order, asker: object) -> Report:
        """Make one attempt, or refuse it as not started; `asker` is the Worker that brought it."""
        try:
            execution = self._enter(order, asker)
        except Refused:
            return self._report(order.attempt, NotStarted())
        try:
            report = self._attempt(execution)
        except Refused:
            report = self._report(order.attempt, NotStarted())
        except Exception as error:  # noqa: BLE001 - a slot must say how its attempt ended
            why = f"tbss-hpc's worker failed, please report it: {error!r}"
            report = self._report(order.attempt, Invalid(why))
        report = self._blame_the_end(report)
        if _could_not_start(report.outcome):
            # A folder that is away for a while must not use up every attempt in an instant.
            self._stopping.wait(UNSTARTABLE_SECONDS)
        if not isinstance(report.outcome, NotStarted):
            self._write_until_it_holds(Ended(time.time(), report))
        self._leave(order.attempt, report)
        return report

    def running(self) -> list[AttemptId]:
        """List the attempts that are being made."""
        with self._lock:
            return list(self._executions)

    def report_of(self, attempt: AttemptId) -> Future[Report]:
        """Give what comes of an attempt: now, if it has ended, or later.

        Raises LookupError for one that was never here, or ended long ago.
        """
        with self._lock:
            if attempt in self._reports:
                return self._reports[attempt]
        raise LookupError(f"{attempt} is not known here")

    # -- asked by the allocation's end and by controllers ---------------------------------------

    def drain(self, why: str) -> None:
        """Start no more attempts; those that run go on."""
        with self._lock:
            self.draining = self.draining or why
        self.when_draining()

    def stop_all(self, why: str, *, walltime: bool = False) -> None:
        """Drain, and kill what runs; each attempt is recorded as cut."""
        self.drain(why)
        self._stopping.set()
        with self._lock:
            executions = list(self._executions.values())
        for execution in executions:
            execution.stop(Cut(why, walltime))

    def discard(self, attempt: AttemptId, why: str) -> None:
        """Kill one attempt that nobody waits for."""
        with self._lock:
            execution = self._executions.get(attempt)
        if execution is not None:
            execution.stop(Cut(why))

    def idle_seconds(self) -> float:
        """Tell for how long no attempt has been made."""
        with self._lock:
            return 0.0 if self._executions else time.monotonic() - self.idle_since

    def unwritten_seconds(self) -> float:
        """Tell for how long nothing could be written to the run folder."""
        return time.monotonic() - self.written_at

    def _blame_the_end(self, report: Report) -> Report:
        """Call an attempt cut if what killed its command was the end of the allocation.

        A batch system signals every process of an allocation at once, so a command may die of
        that before we hear of it ourselves.
        """
        if not _looks_signalled(report.outcome) or not self._stopping.wait(HEARSAY_SECONDS):
            return report
        return structs.replace(report, outcome=Cut(self.draining))

    # -- records --------------------------------------------------------------------------------

    def beat(self) -> None:
        """Write that the worker is alive. Raises OSError if the run folder takes nothing."""
        self.write(Heartbeat(time.time(), self.clock.seconds_left()))

    def close(self, why: str) -> None:
        """Write that the worker leaves by itself."""
        self.write(Closed(time.time(), why))

    def write(self, record: Record) -> None:
        """Put a record on disk. Raises OSError if that cannot be done."""
        with self._writing:
            self._writer.append([record])
            self.written_at = time.monotonic()

    def _write_until_it_holds(self, record: Ended) -> None:
        # The slot stays taken: an end that nobody can read would be run again. If the disk stays
        # full, the lease runs out and the process is ended from outside this thread.
        while True:
            try:
                self.write(record)
            except OSError:
                time.sleep(RETRY_SECONDS)
            else:
                return

    # -- one attempt ----------------------------------------------------------------------------

    def _enter(self, order: Order, asker: object) -> Execution:
        log = self.run / order.log
        around = self._surroundings
        execution = Execution(order, log, around.environment, wrap=around.wrap)
        with self._lock:
            # A newer epoch than that of the offer we came by: its controller listens where the
            # last one did. Whether it is the newest is asked on disk before anything starts.
            stale = asker is not self.current or order.epoch < self.epoch
            if self.draining or stale or order.attempt in self._executions:
                raise Refused
            if why := self._too_late_for(order):
                self.draining = why
                self.when_draining()
                raise Refused
            self._executions[order.attempt] = execution
            self._reports[order.attempt] = Future()
            while len(self._reports) > KEPT_REPORTS + len(self._executions):
                self._reports.popitem(last=False)
        return execution

    def _too_late_for(self, order: Order) -> str:
        left = self.clock.seconds_left()
        if left is None or order.bound_seconds is None or left >= order.bound_seconds:
            return ""
        return f"{left:.0f} s are left, and a command may need {order.bound_seconds:.0f} s"

    def _attempt(self, execution: Execution) -> Report:
        execution.log.parent.mkdir(parents=True, exist_ok=True)
        return make_attempt(
            execution.order,
            run=self.run,
            allocation=self.opened.allocation,
            node=self.opened.node,
            environment=self._surroundings.environment,
            prove=prove,
            # Made when the attempt entered the house, so that it can be stopped from then on.
            execution=lambda _order, _log, _environment: execution,
            on_start=lambda: self._record_start(execution.order),
        )

    def _record_start(self, order: Order) -> None:
        # A controller that was stopped and wakes up may not know yet that it was replaced; the
        # one that replaced it has read the journal after claiming its epoch.
        if newest_epoch(RunFolder(self.run)) > order.epoch:
            raise Refused
        try:
            self.write(Started(time.time(), order.attempt, order.epoch))
        except OSError as error:
            raise Refused from error

    def _leave(self, attempt: AttemptId, report: Report) -> None:
        with self._lock:
            self._executions.pop(attempt, None)
            self.idle_since = time.monotonic()
            future = self._reports.get(attempt)
        if future is not None and not future.done():
            future.set_result(report)

    def _report(self, attempt: AttemptId, outcome: Outcome) -> Report:
        return Report(attempt, outcome, self.opened.allocation, self.opened.node)


def _looks_signalled(outcome: Outcome) -> bool:
    match outcome:
        case Killed(number):
            return number in _ENDING
        case Failed(exit_code):
            return exit_code - 128 in _ENDING
        case _:
            return False


def _could_not_start(outcome: Outcome) -> bool:
    return isinstance(outcome, Cut) and outcome.why.startswith(NO_START)
