"""The environment of commands: the allocation's own, after the site's set-up lines."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tbss_hpc.errors import ClusterError

#: Libraries start as many threads as the node has cores unless one of these says otherwise.
THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
#: Tells a command which allocation it runs in; and us which processes are left of one.
ALLOCATION = "TBSS_HPC_ALLOCATION"
#: `module load` on a busy file system can take its time.
SETUP_SECONDS = 300.0


class Surroundings(NamedTuple):
    """What every command of an allocation is run in."""

    environment: Mapping[str, str]
    wrap: Sequence[str]  #: words before `bash -c`


def command_environment(
    base: Mapping[str, str], allocation: str, setup: Sequence[str], cores_per_command: int
) -> dict[str, str]:
    """Run the set-up lines once and take the environment that they leave.

    Raises ClusterError with the lines' own words if one fails.
    """
    environment = after_setup(base, setup) if setup else dict(base)
    threads = dict.fromkeys(THREAD_COUNTS, str(cores_per_command))
    return environment | threads | {ALLOCATION: allocation}


def after_setup(base: Mapping[str, str], setup: Sequence[str]) -> dict[str, str]:
    """Give the environment that these shell lines leave behind."""
    # Site files of modules and conda use unset variables and failing tests, so neither -e nor
    # -u; the exit code is that of the last line. The environment comes over a pipe of its own,
    # because set-up lines may print.
    script = "\n".join([*setup, "status=$?", "env -0 >&3", "exit $status"])
    with subprocess.Popen(
        ["bash", "-c", 'exec 3>&1 1>&2; eval "$0"', script],
        env=dict(base),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as shell:
        out, err = shell.communicate(timeout=SETUP_SECONDS)
    if shell.returncode != 0:
        raise ClusterError(
            f"The set-up lines of the site file ended with exit code {shell.returncode}.",
            why=err.decode(errors="replace").strip(),
            fix="try the lines by hand on a node, and mend `setup` in the site file",
        )
    pairs = (item.split("=", 1) for item in out.decode(errors="surrogateescape").split("\0"))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}  # noqa: PLR2004 - NAME=VALUE
