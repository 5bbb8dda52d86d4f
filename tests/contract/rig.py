"""A controller's Dask side and an allocation's Dask side, both real, in the process of a test."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client, Worker

from tbss_hpc.cluster.dispatcher import Dispatcher
from tbss_hpc.cluster.scheduler import RunScheduler
from tbss_hpc.core.attempt import AttemptId, Order, Report
from tbss_hpc.core.command import Command
from tbss_hpc.core.events import AttemptReported, Event
from tbss_hpc.core.plan import Shape
from tbss_hpc.core.record import Opened
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.journal import Journal
from tbss_hpc.store.lines import LineWriter
from tbss_hpc.store.offer import Offer, write_offer
from tbss_hpc.worker import wire
from tbss_hpc.worker.clock import EndClock
from tbss_hpc.worker.connection import CommandWorker, Connection, SlotsThreadPoolExecutor
from tbss_hpc.worker.environment import Surroundings
from tbss_hpc.worker.house import House

#: Generous: it only matters when something is broken.
PATIENCE_SECONDS = 60.0
NAME = "tb0000-1-1"

T = TypeVar("T", bound=Event)


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that must come; fail with `what` if it does not."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"never came: {what}"
        await asyncio.sleep(0.01)


# -- Dask alone, with our classes -------------------------------------------------------------


class Desk:
    """What a test function that runs in a Dask worker leaves and waits for: files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def started(self) -> list[str]:
        """Name the tasks that have started, in order."""
        log = self.folder / "started"
        return log.read_text().split() if log.exists() else []

    def let_go(self, *names: str) -> None:
        for name in names:
            (self.folder / f"go-{name}").touch()


def wait_for(folder: str, name: str) -> str:
    """Say that it has started, and end when it is told to: what a slot runs in these tests."""
    with (Path(folder) / "started").open("a") as log:
        log.write(f"{name}\n")
    end = time.monotonic() + PATIENCE_SECONDS
    while not (Path(folder) / f"go-{name}").exists() and time.monotonic() < end:
        time.sleep(0.005)
    return name


class Bed:
    """A Dask scheduler of ours with its client; workers come and go."""

    def __init__(self, scheduler: RunScheduler, client: Any, folder: Path) -> None:  # noqa: ANN401
        self.scheduler = scheduler
        self.client = client
        self.desk = Desk(folder)
        self.draining: list[str] = []
        self.workers: list[Worker] = []

    def new_worker(self, name: str, slots: int = 1, **more: Any) -> CommandWorker:  # noqa: ANN401
        """Make a worker as `Connection` does; `await` it to let it join."""
        house: Any = None  # these tests bring functions of their own
        worker = CommandWorker(
            house,
            self.scheduler.address,
            **{
                "name": name,
                "nthreads": slots,
                "executor": SlotsThreadPoolExecutor(slots),
                "nanny": None,
                "memory_limit": 0,
                "host": "127.0.0.1",
                "local_directory": str(self.desk.folder / "dask"),
                "death_timeout": "10s",
                **more,
            },
        )
        self.workers.append(worker)
        return worker

    async def join(self, name: str, slots: int = 1, **more: Any) -> CommandWorker:  # noqa: ANN401
        worker = self.new_worker(name, slots, **more)
        await worker
        return worker

    def submit(self, name: str, **more: Any) -> Any:  # noqa: ANN401
        """Hand a task over as the dispatcher does an attempt: a future, its key a tuple."""
        folder = str(self.desk.folder)
        return self.client.submit(
            wait_for, folder, name, key=("attempt", name, 1), retries=0, **more
        )

    def state(self, name: str) -> str | None:
        task = self.scheduler.tasks.get(("attempt", name, 1))
        return None if task is None else str(task.state)

    def states(self) -> dict[str, int]:
        """Count the tasks by state."""
        states = [str(task.state) for task in self.scheduler.tasks.values()]
        return {state: states.count(state) for state in set(states)}

    def processing(self) -> dict[str, int]:
        """Count what each worker has been given."""
        return {str(w.name): len(w.processing) for w in self.scheduler.workers.values()}


@asynccontextmanager
async def dask_bed(folder: Path) -> AsyncIterator[Bed]:
    wire.configure()
    draining: list[str] = []
    async with RunScheduler(
        token="token",  # noqa: S106 - nobody is to be kept out of a test
        on_draining=draining.append,
        host="127.0.0.1",
        port=0,
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
        dashboard=False,
    ) as scheduler:
        client = await Client(scheduler.address, asynchronous=True, set_as_default=False)
        bed = Bed(scheduler, client, folder)
        bed.draining = draining
        try:
            yield bed
        finally:
            started = bed.desk.started()
            bed.desk.let_go(*started)
            for worker in bed.workers:
                await worker.close(nanny=False, reason="the test is over")
            await client.close()


# -- everything of ours, commands included ----------------------------------------------------


SHAPE = Shape(
    slots=1,
    cores=1,
    cores_per_command=1,
    memory_bytes=None,
    walltime_seconds=None,
    wrap=(),
    setup=(),
    interface=None,
    ports=None,
    scratch=None,
    loopback=True,
    idle_seconds=3600.0,
    lease_seconds=3600.0,
    patience_seconds=3600.0,
    start_seconds=3600.0,
)


class Rig:
    """A run folder with controllers that follow one another, and one allocation."""

    def __init__(self, folder: Path, shape: Shape = SHAPE) -> None:
        self.run = RunFolder(folder / "run")
        self.run.create()
        self.shape = shape
        self.events: list[Event] = []
        self.epoch = 0
        self.dispatcher: Dispatcher
        self.connection: asyncio.Task[str] | None = None
        opened = Opened(time.time(), NAME, "node7", os.getpid(), shape.slots, "0")
        self.house = House(
            self.run.root,
            opened,
            LineWriter(self.run.records_of(NAME)),
            Surroundings(os.environ, ()),
            EndClock(None, {}),
        )
        self.desk = Desk(folder)

    async def control(self) -> None:
        """Start the next controller's Dask side and tell the workers."""
        await self.listen()
        self.offer()

    async def listen(self, shape: Shape | None = None) -> None:
        """Claim the next epoch and listen; nobody has been told yet."""
        self.epoch += 1
        Journal(self.run, self.epoch).close()
        self.dispatcher = Dispatcher(self.run, self.events.append)
        await self.dispatcher.start(shape or self.shape)

    def offer(self) -> None:
        """Write controller.json, as a controller does that listens."""
        address = self.dispatcher.address
        write_offer(
            self.run, Offer(self.epoch, "here", os.getpid(), "", "0", address, "", time.time())
        )

    async def open(self) -> None:
        """Let the allocation's worker join; it stays until the test is over."""
        security = wire.security(self.run)
        scratch = self.run.root / "scratch"
        serving = Connection(self.house, self.run, self.shape, security, scratch).serve()
        self.connection = asyncio.create_task(serving)
        await self.of_type("WorkerJoined")

    @property
    def scheduler(self) -> Any:  # noqa: ANN401
        return self.dispatcher._scheduler

    def order(self, name: str, epoch: int | None = None, text: str | None = None) -> Order:
        """Make an order whose command says that it starts, and ends when it is told to."""
        go = f"{self.desk.folder}/go-{name}"
        wait = f"while [ ! -e '{go}' ]; do sleep 0.02; done"
        text = text or f"echo {name} >> '{self.desk.folder}/started'; {wait}"
        command = Command(name, 1, name, text, str(self.desk.folder))
        return Order(AttemptId(name, 1), epoch or self.epoch, command, f"logs/{name}.log")

    def reports(self) -> list[Report]:
        return [event.report for event in self.events if isinstance(event, AttemptReported)]

    async def of_type(self, kind: str, count: int = 1) -> list[Any]:
        """Wait for the count-th event of a kind; give all of that kind."""

        def found() -> list[Any]:
            return [event for event in self.events if type(event).__name__ == kind]

        await until(lambda: len(found()) >= count, f"{count} x {kind} in {self.events}")
        return found()

    async def close(self) -> None:
        self.desk.let_go(*self.desk.started())
        self.house.stop_all("the test is over")
        await self.dispatcher.close()
        if self.connection is not None:
            await asyncio.wait([self.connection], timeout=PATIENCE_SECONDS)


@asynccontextmanager
async def rig(folder: Path, shape: Shape = SHAPE) -> AsyncIterator[Rig]:
    made = Rig(folder, shape)
    await made.control()
    try:
        await made.open()
        yield made
    finally:
        await made.close()
