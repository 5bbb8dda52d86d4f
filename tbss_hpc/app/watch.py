"""Looking around: the batch queue, the records of allocations, and requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from msgspec import structs

from tbss_hpc.app.causes import explain
from tbss_hpc.cluster.batch import Batch, tail
from tbss_hpc.core.events import (
    AllocationFenced,
    AllocationGone,
    AllocationOverdue,
    AllocationSeen,
    AllocationSubmitted,
    AttemptReported,
    Event,
    WorkerJoined,
)
from tbss_hpc.core.ledger import Place, Standby
from tbss_hpc.core.machine import Machine
from tbss_hpc.core.plan import Plan
from tbss_hpc.core.record import Ended
from tbss_hpc.schedulers.answers import DontKnow, Gone, Seen
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.records import Evidence

T = TypeVar("T")

#: Seconds between questions to a batch queue: the first, and the longest while nothing changes.
QUICK_SECONDS = 2.0
SLOW_SECONDS = 60.0
#: Looking at our own processes costs nobody anything.
LOCAL_SECONDS = 0.5
#: Clocks of nodes may differ by so much from ours.
SKEW_SECONDS = 300.0


class Watch:
    """Finds out what happens to a run outside Dask, and posts it as events."""

    def __init__(  # noqa: PLR0913, PLR0917 - what to look at, and whom to tell
        self,
        run: RunFolder,
        plan: Plan,
        machine: Machine,
        batch: Batch,
        logs: Mapping[str, str],
        post: Callable[[Event], None],
        tell_end: Callable[[str, float], None],
    ) -> None:
        """Prepare to look; `tell_end` passes on how many seconds the scheduler gives one still."""
        self._run = run
        self._machine = machine
        self._batch = batch
        self._logs = logs
        self._post = post
        self._start_seconds = plan.shape.start_seconds
        self._runs_since: dict[str, float] = {}
        self._tell_end = tell_end
        self._lease = plan.shape.lease_seconds
        self._quick = LOCAL_SECONDS if plan.scheduler == "local" else QUICK_SECONDS
        self._pause = self._quick
        self._ask_at = 0.0
        #: Allocations that may have been submitted or not: only the queue can tell, by their names.
        self.unanswered = {
            a.name for a in machine.ledger.allocations.values() if a.place is Place.INTENDED
        }
        self._evidence: dict[str, Evidence] = {}
        #: Reports that were read and not posted yet, by allocation.
        self._unposted: dict[str, list[Event]] = {}
        #: When an allocation's records were last seen to grow, by our own clock.
        self._grew_at: dict[str, float] = {}
        self._lock = asyncio.Lock()

    def hurry(self) -> None:
        """Ask the queue again soon: something has changed."""
        self._pause = self._quick
        self._ask_at = min(self._ask_at, time.monotonic() + self._quick)

    async def look(self) -> None:
        """Look at everything that is due."""
        await self._in_thread(self._look_at_records)
        if time.monotonic() >= self._ask_at:
            changed = await self._look_at_queue()
            self._pause = self._quick if changed else min(self._pause * 1.5, self._slowest())
            self._ask_at = time.monotonic() + self._pause
        await self._in_thread(self._fence_what_is_certain)

    async def _in_thread(self, look: Callable[[], T]) -> T:
        """Read files off the event loop, since they may block; one look at a time."""
        async with self._lock:
            return await asyncio.to_thread(look)

    def _slowest(self) -> float:
        return self._quick if self._quick == LOCAL_SECONDS else SLOW_SECONDS

    # -- records --------------------------------------------------------------------------------

    async def opened(self) -> tuple[str, ...]:
        """Name the allocations that have ever opened, whether they are over or not."""
        return await self._in_thread(self._opened)

    async def joined(self, event: WorkerJoined) -> list[Event]:
        """Put what its records say of a worker before and into what it says itself.

        An attempt that ended while nobody listened must be settled before the worker's list of
        what it holds is believed to be whole.
        """
        return await self._in_thread(partial(self._joined, event))

    def _opened(self) -> tuple[str, ...]:
        names = [path.stem for path in self._run.records.glob("*.jsonl")]
        return tuple(n for n in sorted(names) if self._take_in(n).opened is not None)

    def _joined(self, event: WorkerJoined) -> list[Event]:
        evidence = self._take_in(event.allocation)
        holding = tuple({*event.holding, *evidence.started})
        return [*self._unposted.pop(event.allocation, []), structs.replace(event, holding=holding)]

    def _look_at_records(self) -> None:
        for allocation in list(self._machine.ledger.allocations.values()):
            if not allocation.over:
                self._look_at(allocation.name)

    def _look_at(self, name: str) -> Evidence:
        evidence = self._take_in(name)
        for event in self._unposted.pop(name, []):
            self._post(event)
        return evidence

    def _take_in(self, name: str) -> Evidence:
        """Read new records; the reports among them wait to be posted in the right order."""
        evidence = self._evidence.get(name)
        if evidence is None:
            evidence = self._evidence[name] = Evidence(self._run.records_of(name))
            self._grew_at[name] = time.monotonic()
        new = evidence.look()
        if new:
            self._grew_at[name] = time.monotonic()
        reports = [r.report for r in new if isinstance(r, Ended)]
        events = [AttemptReported(at=time.time(), report=report) for report in reports]
        self._unposted.setdefault(name, []).extend(events)
        return evidence

    # -- the queue ------------------------------------------------------------------------------

    async def _look_at_queue(self) -> bool:
        """Ask once for all allocations; tell whether anything was new."""
        asked = {
            a.name: a.native_id
            for a in self._machine.ledger.allocations.values()
            if not a.over
            and a.place is not Place.GONE
            # One that is being submitted right now is not in the queue yet, nor is it gone.
            and (a.native_id or a.name in self.unanswered)
        }
        if not asked:
            return False
        answer = await self._batch.query(asked)
        if isinstance(answer, DontKnow):
            return False
        now = time.time()
        news = [
            event
            for name, state in answer.items()
            for event in self._news(self._machine.ledger.allocations[name], state, now)
        ]
        for event in news:
            self._post(event)
        return bool(news)

    def _news(self, allocation: Standby, answer: Seen | Gone, now: float) -> list[Event]:
        name = allocation.name
        if isinstance(answer, Gone):
            what = f"it ended ({answer.state}) before its worker joined"
            why = "" if allocation.ever_joined else self._why_it_never_worked(name, what)
            return [AllocationGone(at=now, allocation=name, state=answer.state, explanation=why)]
        if answer.seconds_left is not None:
            self._tell_end(name, answer.seconds_left)
        news = self._overdue(allocation, answer, now)
        if not allocation.native_id:
            news.append(AllocationSubmitted(at=now, allocation=name, native_id=answer.native_id))
        told = (allocation.state, allocation.reason, allocation.free_until)
        if (answer.state, answer.reason, answer.free_until) != told:
            news.append(
                AllocationSeen(
                    at=now,
                    allocation=name,
                    state=answer.state,
                    reason=answer.reason,
                    node=answer.node,
                    free_until=answer.free_until,
                )
            )
        return news

    def _why_it_never_worked(self, name: str, what: str) -> str:
        """Quote what an allocation has printed whose worker has never joined."""
        outputs = self._run.outputs_of(name)
        printed = tail(outputs[-1]) if outputs else ""
        return explain(what, printed, opened=self._evidence[name].opened is not None)

    def _overdue(self, allocation: Standby, answer: Seen, now: float) -> list[Event]:
        """Notice an allocation that has run for long without its worker having joined."""
        name = allocation.name
        if allocation.ever_joined or allocation.overdue or not answer.node:
            return []
        since = self._runs_since.setdefault(name, time.monotonic())
        ran = time.monotonic() - since
        if ran < self._start_seconds:
            return []
        what = f"it has run for {ran:.0f} s on {answer.node} and its worker has not joined"
        why = self._why_it_never_worked(name, what)
        return [AllocationOverdue(at=now, allocation=name, explanation=why)]

    # -- the fence ------------------------------------------------------------------------------

    def _fence_what_is_certain(self) -> None:
        for allocation in list(self._machine.ledger.allocations.values()):
            if not allocation.over and self._may_be_dead(allocation):
                self._fence_if_certain(allocation)

    def _may_be_dead(self, allocation: Standby) -> bool:
        """Tell whether its records are worth another look: those of the living were just read."""
        known = self._evidence.get(allocation.name)
        return allocation.place is Place.GONE or (known is not None and known.all_dead is not None)

    def _fence_if_certain(self, allocation: Standby) -> None:
        # Read once more: a record that is written until now must not be missed by the fence.
        evidence = self._look_at(allocation.name)
        certainty = self._certainty(allocation, evidence)
        if certainty:
            self._post(
                AllocationFenced(
                    at=time.time(),
                    allocation=allocation.name,
                    evidence=certainty,
                    started=tuple(evidence.started),
                )
            )

    def _certainty(self, allocation: Standby, evidence: Evidence) -> str:
        """Say why nothing of an allocation can be running any more; nothing if it may be."""
        gone = allocation.place is Place.GONE
        if evidence.all_dead is not None and (gone or allocation.ever_joined):
            return "its watchers have killed and reaped all that it started"
        if not gone:
            return ""
        if evidence.opened is None:
            return "it ended before its worker started"
        logs = [self._run.root / self._logs[attempt.command] for attempt in evidence.started]
        if self._batch.sweep(allocation.name, logs):
            return "none of its processes is left on this host"
        silent = time.monotonic() - self._grew_at[allocation.name]
        if silent > self._lease or time.time() - evidence.last_at > self._lease + SKEW_SECONDS:
            return f"the scheduler has ended it, and it has been silent for {self._lease:.0f} s"
        return ""
