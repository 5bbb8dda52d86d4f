"""Keeping Dask out of the user's folders, and the user's Dask settings out of a run."""

from __future__ import annotations

import os
from pathlib import Path


def keep_dask_to_itself(scratch: Path) -> None:
    """Let Dask read and write no configuration but ours; call this before it is imported.

    dask-jobqueue writes a file into the home directory when it is imported, and a user's own
    file or environment may change any setting that our mechanisms lean on.
    """
    for name in [name for name in os.environ if name.startswith("DASK_")]:
        del os.environ[name]
    os.environ["DASK_CONFIG"] = str(scratch / "dask-config")
    # Every server of Dask's makes a dask-scratch-space, and leaves it there.
    os.environ["DASK_TEMPORARY_DIRECTORY"] = str(scratch)
