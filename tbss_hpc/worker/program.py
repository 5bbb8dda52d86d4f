"""The worker program, after its watchers are in place: opens the house and serves."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tbss_hpc import __version__
from tbss_hpc.core.plan import Plan, Shape
from tbss_hpc.core.record import Opened
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.lines import LineWriter
from tbss_hpc.worker.clock import EndClock
from tbss_hpc.worker.environment import Surroundings, command_environment
from tbss_hpc.worker.house import House
from tbss_hpc.worker.node import node_name

#: A worker that could not write for this share of the lease kills its commands.
LEASE_SHARE = 0.8
#: Heartbeats per lease.
BEATS = 20
#: Seconds between looks at the clocks.
TICK_SECONDS = 1.0


def work(run: RunFolder, allocation: str, environ: Mapping[str, str], scratch: Path) -> int:
    """Serve the run until there is nothing more to do here; give the exit code."""
    shape = msgspec.json.decode(run.plan.read_bytes(), type=Plan).shape
    clock = EndClock(shape.walltime_seconds, environ)
    environment = command_environment(environ, allocation, shape.setup, shape.cores_per_command)
    if shape.scratch is not None:
        environment["TMPDIR"] = str(_temporary_folder(scratch))
    opened = Opened(
        time.time(), allocation, node_name(environ), os.getpid(), shape.slots, __version__
    )
    with LineWriter(run.records_of(allocation)) as writer:
        house = House(run.root, opened, writer, Surroundings(environment, shape.wrap), clock)
        house.write(opened)
        why = asyncio.run(_serve(house, run, shape, scratch))
        print(f"The worker leaves: {why}.", flush=True)
        house.close(why)
    return 0


def _temporary_folder(scratch: Path) -> Path:
    """Make a folder for the commands' temporary files; it goes with the allocation."""
    folder = scratch / "tmp"
    folder.mkdir()
    return folder


async def _serve(house: House, run: RunFolder, shape: Shape, scratch: Path) -> str:
    # Dask is imported late: by now a failed set-up has been told, and nothing heavy stood in
    # the way of the watchers.
    from tbss_hpc.worker import wire  # noqa: PLC0415
    from tbss_hpc.worker.connection import Connection  # noqa: PLC0415

    wire.configure()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, house.stop_all, "the allocation is being ended")
    threading.Thread(target=_beat, args=(house, shape.lease_seconds), daemon=True).start()
    guards = asyncio.create_task(_guard(house, shape))
    try:
        return await Connection(house, run, shape, wire.security(run), scratch).serve()
    finally:
        guards.cancel()


def _beat(house: House, lease_seconds: float) -> None:
    """Write heartbeats; in a thread, because a network file system may block for minutes."""
    while True:
        try:
            house.beat()
        except OSError as error:
            print(f"The run folder takes nothing: {error}", file=sys.stderr, flush=True)
        time.sleep(lease_seconds / BEATS)


async def _guard(house: House, shape: Shape) -> None:
    """Kill what runs before the allocation or the lease ends."""
    limit = LEASE_SHARE * shape.lease_seconds
    while True:
        await asyncio.sleep(TICK_SECONDS)
        left = house.clock.seconds_left()
        if left is not None and left <= 0:
            house.stop_all("the walltime of its allocation ends", walltime=True)
        if house.unwritten_seconds() > limit:
            house.stop_all(f"the run folder could not be written for {limit:.0f} s")
            if not _leave_time(house, limit):
                # Records cannot be written either; the watchers end what is left.
                os._exit(1)


def _leave_time(house: House, limit: float) -> bool:
    return house.unwritten_seconds() < limit + 0.05 * limit
