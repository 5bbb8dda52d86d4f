"""Cancelling what ended and interrupted runs have left in a batch system."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tbss_hpc.app.observer import Observer
from tbss_hpc.app.spec import read_run_site
from tbss_hpc.core.ledger import Standby
from tbss_hpc.errors import ClusterError
from tbss_hpc.schedulers.answers import DontKnow, Seen
from tbss_hpc.store.dask_files import keep_dask_to_itself
from tbss_hpc.store.folder import RunFolder, all_runs, find_run
from tbss_hpc.store.offer import controller_alive, read_offer


def clean_up(runs: Path, name: str | None) -> Iterator[str]:
    """Look at each run that nobody controls, and say what was found and cancelled."""
    for run in [find_run(runs, name)] if name is not None else all_runs(runs):
        offer = read_offer(run)
        if offer is not None and not offer.over and controller_alive(offer) is not False:
            yield f"{run.name}: left alone, its controller is at work on {offer.host}"
        else:
            yield f"{run.name}: {_clean(run)}"


def _clean(run: RunFolder) -> str:
    observer = Observer(run)
    observer.look()
    with tempfile.TemporaryDirectory(prefix="tbss-hpc-") as scratch:
        keep_dask_to_itself(Path(scratch))
        allocations = list(observer.machine.ledger.allocations.values())
        left = asyncio.run(_cancel_left(run, observer, allocations)) if allocations else []
    return f"cancelled {', '.join(left)}" if left else "nothing is left of it"


async def _cancel_left(run: RunFolder, observer: Observer, allocations: list[Standby]) -> list[str]:
    from tbss_hpc.cluster.batches import batch_for  # noqa: PLC0415 - it imports Dask

    batch = batch_for(run, read_run_site(run), observer.plan.shape)
    answer = await batch.query({a.name: a.native_id for a in allocations})
    if isinstance(answer, DontKnow):
        raise ClusterError("The batch system does not answer.", why=answer.why, fix="try again")
    left = {name: seen for name, seen in answer.items() if isinstance(seen, Seen)}
    for name, seen in left.items():
        await batch.cancel(name, seen.native_id)
    return [f"{name} ({seen.native_id})" for name, seen in left.items()]
