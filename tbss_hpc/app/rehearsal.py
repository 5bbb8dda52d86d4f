"""What `submit --dry-run` shows: the script of an allocation, and how it would be submitted."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from tbss_hpc.app.runs import Prepared
from tbss_hpc.core.decide import allocation_name
from tbss_hpc.store.dask_files import keep_dask_to_itself
from tbss_hpc.store.folder import RunFolder


def rehearse(prepared: Prepared, run: RunFolder) -> list[str]:
    """Give the lines to show; nothing is written to the run's folder and nothing submitted."""
    name = allocation_name(prepared.plan.token, epoch=1, number=1)
    with tempfile.TemporaryDirectory(prefix="tbss-hpc-") as scratch:
        keep_dask_to_itself(Path(scratch))
        from tbss_hpc.cluster.batches import batch_for  # noqa: PLC0415 - it imports Dask

        batch = batch_for(run, prepared.site, prepared.plan.shape)
        script = batch.script(name).rstrip()
    command = shlex.join(batch.submit_command(name))
    return [f"would run: {command}", "with this script:", "", script]
