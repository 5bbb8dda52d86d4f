"""Hands attempts to the Dask scheduler, and posts what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import msgspec
from distributed import Client, Future
from distributed.scheduler import KilledWorker

from tbss_hpc.cluster import scheduler as ours
from tbss_hpc.cluster.certificate import ensure_certificate
from tbss_hpc.cluster.door import TOKEN_ARGUMENT
from tbss_hpc.cluster.scheduler import ADOPT, MAKE, RunScheduler, Switchboard
from tbss_hpc.core.attempt import AttemptId, Order, Report
from tbss_hpc.core.events import AttemptReported, Event, WorkerDraining
from tbss_hpc.core.outcome import Invalid
from tbss_hpc.core.plan import Shape
from tbss_hpc.errors import ClusterError
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.worker import wire
from tbss_hpc.worker.tasks import adopt, perform

Post = Callable[[Event], None]


class Dispatcher:
    """The Dask side of a controller."""

    def __init__(self, run: RunFolder, post: Post) -> None:
        """Prepare; nothing listens yet."""
        self._run = run
        self._post = post
        self._waiting: set[asyncio.Task[None]] = set()
        self._adoptions = itertools.count(1)
        self._scheduler: RunScheduler
        self._client: Client
        self._switchboard: Switchboard

    async def start(self, shape: Shape) -> None:
        """Listen for workers, encrypted, and open the dashboard on loopback.

        Raises ClusterError if no port of the site's range is free.
        """
        wire.configure()
        ensure_certificate(self._run)
        security = wire.security(self._run)
        self._scheduler = await RunScheduler(
            token=secrets.token_urlsafe(24),
            on_draining=lambda name: self._post(WorkerDraining(at=time.time(), allocation=name)),
            host="127.0.0.1" if shape.loopback else None,
            interface=None if shape.loopback else shape.interface,
            port=free_port(shape.ports),
            dashboard=True,
            dashboard_address="127.0.0.1:0",
            protocol="tls://",
            security=security,
        )
        self._client = await Client(
            self._scheduler.address, security=security, asynchronous=True, set_as_default=False
        )
        self._switchboard = Switchboard(self._scheduler, self._post, self._adopt, time.time)
        self._scheduler.add_plugin(self._switchboard)
        # Where the last controller's port is used again, a worker that still tries it may have
        # come before the switchboard: it is sent away, and comes again.
        for address in list(self._scheduler.workers):
            await self._scheduler.remove_worker(address, stimulus_id="tbss-too-early")

    @property
    def address(self) -> str:
        """Where workers find the Dask scheduler."""
        return str(self._scheduler.address)

    @property
    def dashboard(self) -> str:
        """The address of the dashboard, with its token."""
        port, token = self._scheduler.http_server.port, self._scheduler._token  # noqa: SLF001 - ours
        return f"http://127.0.0.1:{port}/status?{TOKEN_ARGUMENT}={token}"

    def hand_over(self, order: Order) -> None:
        """Put an attempt into the Dask scheduler's queue."""
        key = ours.key_of(MAKE, order.attempt)
        future = self._client.submit(perform, msgspec.json.encode(order), key=key, retries=0)
        self._watch(future, order.attempt, adopted=False)

    def release(self, allocation: str, why: str) -> None:
        """Tell a worker to finish what it has and to leave."""
        self._tell(allocation, {"op": "tbss-release", "why": why})

    def discard(self, attempt: AttemptId, allocation: str) -> None:
        """Tell a worker to kill an attempt that nobody waits for."""
        text = msgspec.json.encode(attempt).decode()
        self._tell(allocation, {"op": "tbss-discard", "attempt": text})

    def tell_end(self, allocation: str, seconds_left: float) -> None:
        """Tell a worker how long the scheduler lets its allocation go on."""
        self._tell(allocation, {"op": "tbss-seconds-left", "seconds": seconds_left})

    async def close(self) -> None:
        """Stop listening; workers that are still here lose their connection and go on."""
        for task in self._waiting:
            task.cancel()
        with contextlib.suppress(TimeoutError, OSError):
            await self._client.close(timeout=2)
        await self._scheduler.close()

    def _tell(self, allocation: str, message: dict[str, object]) -> None:
        address = self._scheduler.aliases.get(allocation)
        if address is not None:
            self._scheduler.worker_send(address, message)

    def _adopt(self, attempt: AttemptId, address: str) -> Any:
        # A key of its own each time: under one that failed with an earlier connection, Dask would
        # give that failure again, and count no slot for what the worker is doing.
        key = ours.key_of(f"{ADOPT}-{next(self._adoptions)}", attempt)
        content = msgspec.json.encode(attempt)
        future = self._client.submit(adopt, content, key=key, workers=[address], retries=0)
        self._watch(future, attempt, adopted=True)
        return key

    def _watch(self, future: Future, attempt: AttemptId, *, adopted: bool) -> None:
        task = asyncio.create_task(self._await(future, attempt, adopted=adopted))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _await(self, future: Future, attempt: AttemptId, *, adopted: bool) -> None:
        try:
            report = msgspec.json.decode(await future.result(), type=Report)
        except (KilledWorker, futures.CancelledError):
            # Its worker left, with the result if there was one (to Dask that is a cancellation,
            # but not asyncio's); the switchboard has said so, and records will tell the rest.
            future.release()
            return
        except Exception as error:  # noqa: BLE001 - whatever the worker's Python raised
            if adopted:
                # Its command may be running all the same: its records will tell.
                future.release()
                return
            why = f"the worker could not make it, please report this: {error!r}"
            report = Report(attempt, Invalid(why), "", "")
        self._switchboard.forget(future.key)
        self._post(AttemptReported(at=time.time(), report=report))
        future.release()


def free_port(ports: tuple[int, int] | None) -> int:
    """Find a port of a range that nobody listens on; 0, which means any, where all will do.

    Raises ClusterError if there is none.
    """
    if ports is None:
        return 0
    lowest, highest = ports
    for port in range(lowest, highest + 1):
        with socket.socket() as candidate:
            if _binds(candidate, port):
                return port
    raise ClusterError(
        "No port is free for the controller.",
        why=f"`ports` in the site file allows {lowest} to {highest}, and all are in use",
        fix="allow more ports, or end what uses them",
    )


def _binds(candidate: socket.socket, port: int) -> bool:
    # As Dask does: what the last controller's connections leave behind for a minute is no listener.
    candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        candidate.bind(("", port))
    except OSError:
        return False
    return True
