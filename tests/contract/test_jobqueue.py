"""What we lean on that dask-jobqueue does not promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dask
import pytest
from dask_jobqueue.slurm import SLURMJob
from msgspec import structs

from tbss_hpc.cluster.batch import worker_command
from tbss_hpc.cluster.jobqueue import SlurmAllocation, SlurmBatch
from tbss_hpc.core.site import Site
from tbss_hpc.store.folder import RunFolder
from tests.contract.rig import NAME, SHAPE

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = structs.replace(
    SHAPE, loopback=False, walltime_seconds=43200.0, cores=4, memory_bytes=8 * 2**30
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "a run with 'blanks'")
    made.create()
    return made


def allocation(run: RunFolder) -> SlurmAllocation:
    site = Site(scheduler="slurm", queue="short")
    return SlurmAllocation(run, NAME, site, CLUSTER, worker_command)


def directives(script: str) -> list[str]:
    return [line for line in script.splitlines() if line.startswith("#SBATCH")]


def python(home: Path, code: str) -> str:
    """Run a program in a home of its own; give what it prints."""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    reply = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert reply.returncode == 0, reply.stderr
    return reply.stdout.strip()


# -- importing it -----------------------------------------------------------------------------


def test_importing_it_takes_ctrl_c_and_we_give_it_back(tmp_path: Path) -> None:
    """If the first answer becomes `default`, the detour in `cluster/jobqueue.py` can go."""
    code = (
        "import signal; {imported}\n"
        "mine = signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "print('default' if mine else 'taken')"
    )

    assert python(tmp_path, code.format(imported="import dask_jobqueue")) == "taken"
    assert python(tmp_path, code.format(imported="import tbss_hpc.cluster.jobqueue")) == "default"


def test_the_home_of_the_user_stays_clean_and_unread(tmp_path: Path) -> None:
    """DASK_CONFIG keeps jobqueue.yaml from being written; `refresh` forgets the user's files."""
    settings = tmp_path / ".config" / "dask"
    settings.mkdir(parents=True)
    (settings / "mine.yaml").write_text(
        "distributed: {scheduler: {allowed-failures: 77, preload: [hostile]},"
        " adaptive: {wait-count: 77}}"
    )
    code = (
        "from pathlib import Path\n"
        "from tbss_hpc.store.dask_files import keep_dask_to_itself\n"
        f"keep_dask_to_itself(Path({str(tmp_path / 'scratch')!r}))\n"
        "import dask, distributed, tbss_hpc.cluster.jobqueue\n"
        "from tbss_hpc.worker import wire\n"
        "wire.configure()\n"
        "found = dask.config.get('distributed')\n"
        "print(found['scheduler']['allowed-failures'], found['scheduler']['preload'],"
        " found['adaptive']['wait-count'], dask.config.get('jobqueue.slurm.cores'),"
        " dask.config.get('temporary-directory'))"
    )

    assert python(tmp_path, code) == f"0 [] 3 None {tmp_path / 'scratch'}"
    assert [path.name for path in settings.iterdir()] == ["mine.yaml"]


def test_without_us_it_would_write_into_the_home(tmp_path: Path) -> None:
    """If this fails, there is nothing left to keep clean."""
    python(tmp_path, "import dask_jobqueue")

    assert (tmp_path / ".config" / "dask" / "jobqueue.yaml").exists()


# -- a job's script ---------------------------------------------------------------------------


def test_the_script_ends_with_our_command_and_nothing_of_dasks(run: RunFolder) -> None:
    """`_command_template` is the last line of `job_script`, as it is."""
    script = allocation(run).job_script()
    last = script.rstrip().splitlines()[-1]

    assert last == allocation(run)._command_template
    assert last.startswith("exec ")
    assert "distributed" not in script
    assert script.startswith("#!/bin/bash\n")
    reply = subprocess.run(["bash", "-n"], input=script, text=True, check=False)
    assert reply.returncode == 0


def test_the_directives_are_those_of_the_site(run: RunFolder) -> None:
    found = directives(allocation(run).job_script())

    assert f"#SBATCH -J {NAME}" in found
    assert "#SBATCH -p short" in found
    assert "#SBATCH -t 12:00:00" in found
    assert "#SBATCH --cpus-per-task=4" in found
    assert [line for line in found if "--mem" in line] == ["#SBATCH --mem=8G"]


def test_a_users_own_dask_jobqueue_file_changes_nothing(run: RunFolder) -> None:
    """To dask-jobqueue None means "as the user's file says": an account, or fewer CPUs."""
    plain = allocation(run).job_script()
    known = dask.config.get("jobqueue.slurm")
    hostile = {
        **dict.fromkeys(known, None),
        **{name: ["#HOSTILE"] for name, value in known.items() if isinstance(value, list)},
        **{name: "hostile" for name, value in known.items() if isinstance(value, str)},
        **dict.fromkeys(("account", "queue", "walltime", "name", "job-mem", "shebang"), "hostile"),
        "cores": 99,
        "processes": 7,
        "memory": "99GB",
        "job-cpu": 99,
    }
    with dask.config.set({"jobqueue.slurm": hostile}):
        changed = allocation(run).job_script()

    assert changed == plain


def test_the_script_stays_where_a_person_finds_it(run: RunFolder) -> None:
    """`job_file` is a context manager that gives the script's path."""
    job = allocation(run)
    with job.job_file() as path:
        pass

    assert Path(path) == run.script_of(NAME)
    assert Path(path).read_text() == job.job_script()
    assert SlurmBatch(run, Site(scheduler="slurm"), CLUSTER).submit_command(NAME) == [
        *("sbatch", path)
    ]


def test_its_own_words_for_submitting_and_cancelling_are_slurms(run: RunFolder) -> None:
    assert (SLURMJob.submit_command, SLURMJob.cancel_command) == ("sbatch", "scancel")
    assert allocation(run).name == NAME
