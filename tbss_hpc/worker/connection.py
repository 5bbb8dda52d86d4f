"""The Dask side of an allocation: joins whichever controller the run folder names."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from distributed import Worker
from distributed.security import Security

from tbss_hpc.core.attempt import AttemptId
from tbss_hpc.core.plan import Shape
from tbss_hpc.errors import FilesError
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.offer import Offer, read_offer
from tbss_hpc.worker.house import House

#: Seconds between looks at what may end a connection.
LOOK_SECONDS = 0.5
#: Seconds between readings of controller.json while connected; each is a read on the shared disk.
OFFER_SECONDS = 5.0
#: Seconds between tries to reach a controller that does not answer.
AGAIN_SECONDS = 1.0
#: Seconds that a drained worker gives Dask to fetch the last results.
FETCH_SECONDS = 30.0


class SlotsThreadPoolExecutor(ThreadPoolExecutor):
    """Threads that outlive the Worker object which uses them.

    Dask finds its own worker from inside a task only in a pool of this family of names.
    """

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of the library
        """Leave the threads alone: what they run belongs to the allocation, not to Dask."""


class CommandWorker(Worker):
    """A Dask worker whose commands live in a house of their own."""

    def __init__(self, house: House, *arguments: object, **keywords: object) -> None:
        """Join on behalf of this house."""
        self.house = house
        self.why_closed = ""
        super().__init__(*arguments, **keywords)
        self.stream_handlers["tbss-release"] = self._release
        self.stream_handlers["tbss-discard"] = self._discard
        self.stream_handlers["tbss-seconds-left"] = self._seconds_left

    async def close(self, *arguments: Any, reason: str = "worker-close", **keywords: Any) -> Any:
        """Remember why; every way out of a connection leads through here."""
        self.why_closed = self.why_closed or reason
        return await super().close(*arguments, reason=reason, **keywords)

    def start_http_server(self, *arguments: object, **keywords: object) -> None:
        """Open no web server on a node: other people's machines, and nobody looks."""

    def pause_at_scheduler(self) -> None:
        """Ask the Dask scheduler for no more attempts; what runs goes on.

        Only the scheduler is told. A worker that pauses itself keeps what was on the wire, and
        fails it when it leaves; ours refuses it as not started.
        """
        message = {
            "op": "worker-status-change",
            "status": "paused",
            "stimulus_id": f"drain-{time.time()}",
        }
        self.batched_send(message)

    def unfetched(self) -> bool:
        """Tell whether results are here that the controller has not fetched."""
        return bool(self.state.tasks)

    def _release(self, why: str) -> None:
        self.house.drain(why)

    def _seconds_left(self, seconds: float) -> None:
        self.house.clock.correct(seconds)

    def _discard(self, attempt: str) -> None:
        decoded = msgspec.json.decode(attempt, type=AttemptId)
        self.house.discard(decoded, "its controller had given it up")


class Connection:
    """Keeps a house connected to the newest controller until its work is over."""

    def __init__(
        self, house: House, run: RunFolder, shape: Shape, security: Security, scratch: Path
    ) -> None:
        """Prepare to connect; `scratch` is a folder of this process for Dask's own files."""
        self._house = house
        self._run = run
        self._shape = shape
        self._security = security
        self._scratch = scratch
        self._slots = SlotsThreadPoolExecutor(shape.slots, thread_name_prefix="slot")
        self._offer: Offer | None = None
        self._connected_at = time.monotonic()

    async def serve(self) -> str:
        """Work for one controller after another; say why the worker leaves in the end.

        One that drains joins all the same while commands run: the controller learns that it takes
        no more, and asks for another allocation in time.
        """
        while True:
            await self._read_offer()
            self._drain_if_alone()
            if self._house.draining and (not self._house.running() or not self._may_join()):
                return await self._empty()
            if self._offer is not None:
                await self._work_for(self._offer)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _read_offer(self) -> None:
        # A network file system may block, and the loop must go on answering the scheduler.
        with contextlib.suppress(OSError, FilesError):
            offer = await asyncio.to_thread(read_offer, self._run)
            # A controller that was stopped in the act may write its offer over its successor's.
            if offer is not None and (self._offer is None or offer.epoch >= self._offer.epoch):
                self._offer = offer

    def _may_join(self) -> bool:
        """Tell whether there is a controller that a worker which drains can join."""
        offer = self._offer
        return offer is not None and not offer.over and self._is_of_our_version(offer)

    def _is_of_our_version(self, offer: Offer) -> bool:
        return offer.version == self._house.opened.version

    def _drain_if_alone(self) -> None:
        """Drain where nobody is there, or will be, to work for."""
        house, offer = self._house, self._offer
        if offer is not None and offer.over:
            house.stop_all(f"the run is over: {offer.over}")
        if offer is not None and not self._is_of_our_version(offer):
            # What runs here ends in peace; the controller hears the rest from its records.
            house.drain(
                f"this worker is tbss-hpc {house.opened.version} and its controller is "
                f"tbss-hpc {offer.version}; both must be the same version"
            )
        lonely = time.monotonic() - self._connected_at
        if not house.running() and lonely > self._shape.patience_seconds:
            house.drain(f"no controller could be reached for {lonely:.0f} s")

    async def _empty(self) -> str:
        """Wait until nothing runs any more."""
        while self._house.running():
            await asyncio.sleep(LOOK_SECONDS)
        return self._house.draining

    async def _work_for(self, offer: Offer) -> None:
        worker = self._new_worker(offer)
        try:
            self._house.epoch, self._house.current = offer.epoch, worker
            await self._join(worker, offer)
        except Exception as error:  # noqa: BLE001 - Dask raises what it likes when nobody answers
            print(f"The controller of epoch {offer.epoch} does not answer: {error!r}", flush=True)
            with contextlib.suppress(Exception):
                await worker.close(reason="nobody-there")
            return
        print(f"Joined the controller of epoch {offer.epoch} at {offer.address}.", flush=True)
        await self._stay(worker, offer)
        self._connected_at = time.monotonic()
        print(f"Left the controller of epoch {offer.epoch}: {worker.why_closed}.", flush=True)

    async def _join(self, worker: CommandWorker, offer: Offer) -> None:
        """Join a controller, or raise; not longer than it is the one that calls.

        Dask tries for 10 s to reach one that was killed, and slots would idle under its successor.
        """
        joining = asyncio.ensure_future(worker.start())
        while not joining.done():
            await asyncio.wait([joining], timeout=AGAIN_SECONDS)
            await self._read_offer()
            if self._offer != offer and not joining.done():
                joining.cancel()
                await asyncio.wait([joining])
                raise ConnectionError("another controller calls, or the run is over")
        await joining

    def _new_worker(self, offer: Offer) -> CommandWorker:
        host = {"host": "127.0.0.1"} if self._shape.loopback else {}
        if self._shape.ports is not None:
            host["port"] = "{}:{}".format(*self._shape.ports)
        return CommandWorker(
            self._house,
            offer.address,
            name=self._house.opened.allocation,
            nthreads=self._shape.slots,
            executor=self._slots,
            nanny=None,
            memory_limit=0,
            death_timeout="10s",
            local_directory=str(self._scratch),
            interface=None if self._shape.loopback else self._shape.interface,
            security=self._security,
            startup_information={"attempts": self._running, "node": self._node},
            **host,
        )

    async def _running(self, _worker: Worker) -> str:
        return msgspec.json.encode(self._house.running()).decode()

    async def _node(self, _worker: Worker) -> str:
        return self._house.opened.node

    async def _stay(self, worker: CommandWorker, offer: Offer) -> None:
        """Look after a connection until it breaks, a newer controller calls, or we drain."""
        # At once, or what the house refuses would come straight back.
        pause = partial(asyncio.get_running_loop().call_soon_threadsafe, worker.pause_at_scheduler)
        self._house.when_draining = pause
        if self._house.draining:
            pause()
        read_at = time.monotonic()
        while _open(worker):
            await asyncio.sleep(LOOK_SECONDS)
            if self._house.idle_seconds() > self._shape.idle_seconds:
                self._house.drain(f"no work for {self._shape.idle_seconds:.0f} s")
            if self._house.draining and not self._house.running():
                await self._deliver(worker)
                await worker.close(nanny=False, reason="drained")
            elif time.monotonic() - read_at > OFFER_SECONDS:
                read_at = time.monotonic()
                await self._read_offer()
                if self._offer != offer:
                    await worker.close(nanny=False, reason="newer-controller")
        await worker.finished()

    async def _deliver(self, worker: CommandWorker) -> None:
        give_up = time.monotonic() + FETCH_SECONDS
        # Over a connection that is gone nobody fetches anything: the records are there.
        while _open(worker) and worker.unfetched() and time.monotonic() < give_up:
            await asyncio.sleep(0.05)


def _open(worker: CommandWorker) -> bool:
    return worker.status.name not in {"closed", "closing", "failed"}
