"""Which batch system a run uses."""

from __future__ import annotations

from tbss_hpc.cluster.batch import Batch, Program, worker_command
from tbss_hpc.cluster.local import LocalBatch
from tbss_hpc.core.plan import Shape
from tbss_hpc.core.site import Site
from tbss_hpc.errors import UsageError
from tbss_hpc.store.folder import RunFolder


def batch_for(run: RunFolder, site: Site, shape: Shape, program: Program = worker_command) -> Batch:
    """Choose by the site's scheduler. Raises UsageError for one that we do not speak."""
    match site.scheduler:
        case "local":
            return LocalBatch(run, program)
        case "slurm":
            from tbss_hpc.cluster.jobqueue import SlurmBatch  # noqa: PLC0415 - it costs 0.3 s

            return SlurmBatch(run, site, shape, program)
        case other:
            raise UsageError(f"tbss-hpc does not speak {other} yet.", fix="use slurm or local")
