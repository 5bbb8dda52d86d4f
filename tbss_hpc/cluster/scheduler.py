"""Our Dask scheduler: queues every command, and tells what happens to workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.scheduler import TaskState

from tbss_hpc.cluster.door import guard
from tbss_hpc.core.attempt import AttemptId
from tbss_hpc.core.events import (
    AttemptOrphaned,
    Event,
    WorkerJoined,
    WorkerLeft,
)

#: The first word of the keys of attempts that a worker is to make, and of those it made before.
MAKE = "attempt"
ADOPT = "adopted"


class RunScheduler(Scheduler):
    """A Dask scheduler that hands out one command per free slot, behind a guarded dashboard."""

    def __init__(self, *, token: str, on_draining: Callable[[str], None], **keywords: Any) -> None:
        """Take Dask's own arguments, and the token of the dashboard."""
        self._token = token
        self._on_draining = on_draining
        super().__init__(**keywords)

    def is_rootish(self, ts: TaskState) -> bool:
        """Say that a task may wait in the scheduler's queue, unless it is meant for one worker.

        Dask itself says so only of large groups of tasks; the others it assigns at once, and one
        of them may wait behind a long command while another slot idles.
        """
        return not (ts.worker_restrictions or ts.host_restrictions or ts.resource_restrictions)

    def start_http_server(self, *arguments: Any, **keywords: Any) -> None:
        """Start the dashboard with the door in place before a request can arrive."""
        super().start_http_server(*arguments, **keywords)
        guard(self.http_application, self._token, self.http_server.port)

    def handle_worker_status_change(self, status: str, worker: str, stimulus_id: str) -> None:
        """Hear of a worker that drains, besides what Dask does about it."""
        super().handle_worker_status_change(status, worker, stimulus_id)
        state = self.workers.get(worker)
        if state is not None and state.status.name == "paused":
            self._on_draining(str(state.name))


class Switchboard(SchedulerPlugin):
    """Turns what the Dask scheduler sees into events of the run, in the order it sees them."""

    name = "tbss-hpc"

    def __init__(
        self,
        scheduler: Scheduler,
        post: Callable[[Event], None],
        adopt: Callable[[AttemptId, str], str],
        clock: Callable[[], float],
    ) -> None:
        """Post events; `adopt(attempt, address)` asks for an attempt's report and gives its key."""
        self._scheduler = scheduler
        self._post = post
        self._adopt = adopt
        self._clock = clock
        #: Which allocation an attempt was sent to, until its report has arrived.
        self._placed: dict[Any, str] = {}
        self._names: dict[str, str] = {}

    async def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Adopt what a worker runs already, before it can be given anything else."""
        state = scheduler.workers[worker]
        holding = msgspec.json.decode(state.extra["attempts"], type=tuple[AttemptId, ...])
        self._names[worker] = str(state.name)
        for attempt in holding:
            key = self._adopt(attempt, worker)
            while key not in scheduler.tasks and worker in scheduler.workers:
                await asyncio.sleep(0.001)
        if worker not in scheduler.workers:
            return  # it left while we were adopting, and that has been told
        self._post(
            WorkerJoined(
                at=self._clock(),
                allocation=str(state.name),
                node=state.extra["node"],
                slots=state.nthreads,
                holding=holding,
            )
        )

    def remove_worker(self, scheduler: Scheduler, worker: str, **_keywords: Any) -> None:
        """Tell which attempts were with a worker that left, and then that it left."""
        allocation = self._names.pop(worker, None)
        if allocation is None:
            return
        now = self._clock()
        for key in [k for k, name in self._placed.items() if name == allocation]:
            del self._placed[key]
            attempt = attempt_of(key)
            self._post(AttemptOrphaned(at=now, attempt=attempt, allocation=allocation))
        self._post(WorkerLeft(at=now, allocation=allocation))

    def transition(
        self, key: Any, start: str, finish: str, *_arguments: Any, **_keywords: Any
    ) -> None:
        """Note where attempts are; and make certain that none is ever made twice."""
        if not is_attempt(key):
            return
        state = self._scheduler.tasks.get(key)
        if state is None:
            return
        if finish == "processing" and state.processing_on is not None:
            self._placed[key] = str(state.processing_on.name)
        if finish == "memory":
            # A result is data, not a recipe: without this Dask would run a finished command
            # again when its worker leaves before the result was fetched.
            state.run_spec = None

    def forget(self, key: Any) -> None:
        """Stop following an attempt whose report has arrived."""
        self._placed.pop(key, None)


def key_of(kind: str, attempt: AttemptId) -> tuple[str, str, int]:
    """Name the Dask task of an attempt; a tuple, so that all form one group."""
    return (kind, attempt.command, attempt.number)


def is_attempt(key: object) -> bool:
    """Tell whether a Dask task is an attempt of ours."""
    return isinstance(key, tuple) and len(key) == len(("kind", "command", "number"))


def attempt_of(key: tuple[str, str, int]) -> AttemptId:
    """Name the attempt of a Dask task."""
    return AttemptId(key[1], key[2])
