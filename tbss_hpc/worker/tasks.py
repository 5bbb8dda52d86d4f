"""The two functions that travel through Dask; they find the house of the process they land in."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import msgspec
from distributed import get_worker

from tbss_hpc.core.attempt import AttemptId, Order
from tbss_hpc.worker.house import House


class _Housed(Protocol):
    house: House


def perform(order: bytes) -> bytes:
    """Make one attempt in a slot of this worker; both sides of it are JSON."""
    worker = cast("_Housed", get_worker())
    report = worker.house.perform(msgspec.json.decode(order, type=Order), worker)
    return msgspec.json.encode(report)


async def adopt(attempt: bytes) -> bytes:
    """Wait for an attempt that this worker started for an earlier controller.

    A coroutine, so that it takes a slot in Dask's count and none of our threads; shielded, so
    that losing a second controller does not cancel what is waited for.
    """
    worker = cast("_Housed", get_worker())
    future = worker.house.report_of(msgspec.json.decode(attempt, type=AttemptId))
    return msgspec.json.encode(await asyncio.shield(asyncio.wrap_future(future)))
