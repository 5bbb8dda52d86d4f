"""`python -I -m tbss_hpc.worker --run RUN --allocation NAME`: what runs in an allocation.

The watchers are forked before anything heavy is imported: they must be small, and fork must come
before threads.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tbss_hpc.core.record import AllDead
from tbss_hpc.errors import TbssHpcError
from tbss_hpc.store.dask_files import keep_dask_to_itself
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.lines import LineWriter
from tbss_hpc.worker.watchers import guard


def main() -> int:
    """Set the watchers, then work."""
    arguments = _arguments()
    run = RunFolder(Path(arguments.run))
    if run.records_of(arguments.allocation).exists():
        # A batch system that starts a job again, though we forbid it, must not have a second
        # worker write into the first one's records, nor call it dead.
        print(f"Allocation {arguments.allocation} has been opened before; it cannot be again.")
        return 1
    scratch = Path(tempfile.mkdtemp(prefix="tbss-hpc-", dir=_scratch_place(run)))

    def write_all_dead(exit_code: int) -> None:
        shutil.rmtree(scratch, ignore_errors=True)
        with LineWriter(run.records_of(arguments.allocation)) as writer:
            writer.append([AllDead(time.time(), exit_code)])

    guard(write_all_dead)
    environ = dict(os.environ)
    keep_dask_to_itself(scratch)

    from tbss_hpc.worker.program import work  # noqa: PLC0415 - after the watchers

    try:
        return work(run, arguments.allocation, environ, scratch)
    except TbssHpcError as error:
        print(error, flush=True)
        return int(error.exit_code)


def _scratch_place(run: RunFolder) -> str | None:
    """Name the folder for temporary files that the site names, variables of the node replaced."""
    place = json.loads(run.plan.read_bytes())["shape"]["scratch"]
    return None if place is None else os.path.expandvars(place)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tbss_hpc.worker", description=__doc__)
    parser.add_argument("--run", required=True, help="the run folder")
    parser.add_argument("--allocation", required=True, help="the name of this allocation")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
