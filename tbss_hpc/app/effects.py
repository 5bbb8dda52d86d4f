"""Carrying out what the machine decided."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, assert_never

from tbss_hpc.app.spec import logs_of
from tbss_hpc.app.watch import Watch
from tbss_hpc.app.work import Work
from tbss_hpc.cluster.batch import Batch, Refused, Unanswered
from tbss_hpc.cluster.dispatcher import Dispatcher
from tbss_hpc.core.actions import Action, Cancel, Discard, End, Issue, Release, Submit
from tbss_hpc.core.attempt import AttemptId, Order
from tbss_hpc.core.durations import Estimate, learned
from tbss_hpc.core.events import (
    AllocationRefused,
    AllocationSubmitted,
    AttemptReported,
    Event,
    WorkerJoined,
)
from tbss_hpc.core.ledger import Standing
from tbss_hpc.core.machine import Machine
from tbss_hpc.core.outcome import NotStarted, Succeeded
from tbss_hpc.core.plan import Plan, usable_seconds
from tbss_hpc.schedulers.dialects import dialect_of

#: Of what an allocation can use of its walltime, a command's bound takes at most this share: one
#: that was learned from a single slow command must not keep every allocation from starting any.
BOUND_SHARE = 0.9

log = logging.getLogger("tbss_hpc")


class Effects:
    """The hands of a controller."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that a controller has, each once
        self,
        work: Work,
        plan: Plan,
        machine: Machine,
        dispatcher: Dispatcher,
        batch: Batch,
        watch: Watch,
        post: Callable[[Event], None],
    ) -> None:
        """Know what to act on."""
        self._work = work
        self._plan = plan
        self._machine = machine
        self._dispatcher = dispatcher
        self._batch = batch
        self._watch = watch
        self._post = post
        self._logs = logs_of(work)
        self._seconds: list[float] = []
        self._running: set[asyncio.Task[None]] = set()
        # One submission at a time: schedulers are other people's too.
        self._submitting = asyncio.Lock()
        self._submission_pause = 60.0 / plan.submissions_per_minute
        self._next_submission_at = time.monotonic()

    def carry_out(self, action: Action) -> None:
        """Do what was decided; what takes long goes on in the background and posts its result."""
        match action:
            case Issue(attempt=attempt):
                self._dispatcher.hand_over(self._order(attempt))
            case Submit(allocation=name):
                self._begin(self._submit(name))
            case Release(allocation=name, why=why):
                self._dispatcher.release(name, why)
            case Cancel(allocation=name):
                native_id = self._machine.ledger.allocations[name].native_id
                self._begin(self._cancel(name, native_id))
            case Discard(attempt=attempt, allocation=name):
                self._dispatcher.discard(attempt, name)
            case End():
                pass
            case _:
                assert_never(action)

    def learn(self, fact: Event) -> None:
        """Take from a fact what changes how we act."""
        match fact:
            case AttemptReported(report=report) if isinstance(report.outcome, Succeeded):
                if not report.found:
                    self._seconds.append(report.measures.seconds)
            case AllocationSubmitted() | WorkerJoined():
                self._watch.hurry()
            case _:
                pass

    async def close(self) -> None:
        """Wait for what was begun: a submission that is on its way must be noted."""
        await asyncio.gather(*self._running, return_exceptions=True)

    # -- attempts -------------------------------------------------------------------------------

    def _order(self, attempt: AttemptId) -> Order:
        standing = self._machine.ledger.standings[attempt.command]
        command = standing.command
        return Order(
            attempt=attempt,
            epoch=self._machine.epoch,
            command=command,
            log=self._logs[command.id],
            inputs=tuple(self._work.inputs[path] for path in command.inputs),
            timeout_seconds=self._plan.timeout_seconds,
            bound_seconds=self._bound(),
            accept_found=command.id in self._work.found and _untouched(standing),
        )

    def _bound(self) -> float | None:
        """Say how many seconds must be left for a command to be started."""
        estimate: Estimate | None = learned(self._seconds, "commands") or self._plan.estimate
        if estimate is None:
            return None
        walltime = self._plan.shape.walltime_seconds
        if walltime is None:
            return estimate.bound_seconds
        return min(estimate.bound_seconds, BOUND_SHARE * usable_seconds(walltime))

    # -- allocations ----------------------------------------------------------------------------

    def _begin(self, effect: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(effect)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _submit(self, name: str) -> None:
        async with self._submitting:
            await asyncio.sleep(self._next_submission_at - time.monotonic())
            self._next_submission_at = time.monotonic() + self._submission_pause
            try:
                native_id = await self._batch.submit(name)
            except Unanswered as silence:
                log.warning("Nobody knows whether %s was submitted: %s", name, silence)
                self._watch.unanswered.add(name)
                self._watch.hurry()
                return
            except Refused as refusal:
                why = self._with_fix(str(refusal))
                event: Event = AllocationRefused(at=time.time(), allocation=name, why=why)
            else:
                event = AllocationSubmitted(at=time.time(), allocation=name, native_id=native_id)
        self._post(event)
        self._watch.hurry()

    def _with_fix(self, words: str) -> str:
        fix = dialect_of(self._plan.scheduler).refusal_fix(words)
        return f"{words}\nfix: {fix}" if fix else words

    async def _cancel(self, name: str, native_id: str) -> None:
        try:
            await self._batch.cancel(name, native_id)
        except Refused as refusal:
            log.warning("Allocation %s could not be cancelled: %s", name, refusal)
        self._watch.hurry()


def _untouched(standing: Standing) -> bool:
    """Tell whether the outputs that are there can be no failed attempt's."""
    made = [r.outcome for r in standing.reports if not isinstance(r.outcome, NotStarted)]
    return not made or isinstance(made[-1], Succeeded)
