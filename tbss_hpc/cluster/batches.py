"""Which batch system a run uses."""

from __future__ import annotations

from tbss_hpc.cluster.batch import Batch
from tbss_hpc.cluster.local import LocalBatch
from tbss_hpc.core.plan import Plan
from tbss_hpc.errors import UsageError
from tbss_hpc.store.folder import RunFolder


def batch_for(run: RunFolder, plan: Plan) -> Batch:
    """Choose by the plan's scheduler. Raises UsageError for one that we do not speak."""
    match plan.scheduler:
        case "local":
            return LocalBatch(run)
        case other:
            raise UsageError(f"tbss-hpc does not speak {other} yet.", fix="use slurm or local")
