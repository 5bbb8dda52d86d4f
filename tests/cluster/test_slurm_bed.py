"""The test bed is a cluster: it runs, refuses, cancels and loses jobs as one does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import processes
from tests.cluster import slurm_bed as beds
from tests.cluster.slurm_bed import BedError, SlurmBed

if TYPE_CHECKING:
    from tests.cluster.ordinary_user import OrdinaryUser


def submit(slurm: SlurmBed, folder: Path, *command: str, options: tuple[str, ...] = ()) -> str:
    output = f"--output={folder}/out"
    return slurm.run(
        "sbatch", "--parsable", f"--chdir={folder}", output, *options, f"--wrap={' '.join(command)}"
    ).strip()


def state_of(slurm: SlurmBed, job: str) -> str:
    return next((row.state for row in slurm.squeue() if row.id == job), "gone")


def running_node(slurm: SlurmBed, job: str) -> str:
    assert processes.until(lambda: state_of(slurm, job) == "RUNNING")
    return next(row.node for row in slurm.squeue() if row.id == job)


def test_a_job_runs_on_a_node_and_leaves_the_queue(slurm: SlurmBed, tmp_path: Path) -> None:
    submit(slurm, tmp_path, "echo $SLURMD_NODENAME")

    assert processes.until(lambda: not slurm.squeue())
    assert (tmp_path / "out").read_text().strip() in slurm.nodes


def test_cancelling_a_job_ends_its_processes(slurm: SlurmBed, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path, "echo $$ >pid; exec sleep 1000")
    assert processes.until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    pid = int((tmp_path / "pid").read_text())
    assert processes.alive(pid)

    slurm.run("scancel", job)

    assert processes.until(lambda: state_of(slurm, job) == "gone")
    assert processes.until(lambda: not processes.alive(pid))


def test_jobs_of_a_failed_node_die_and_are_requeued(slurm: SlurmBed, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path, "echo $$ >pid; exec sleep 1000")
    node = running_node(slurm, job)
    assert processes.until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())

    slurm.fail(node, noticed=True)

    assert not processes.alive(int((tmp_path / "pid").read_text()))
    assert processes.until(lambda: state_of(slurm, job) == "PENDING")


def test_a_failed_node_is_noticed_and_returns_when_restored(
    slurm: SlurmBed, tmp_path: Path
) -> None:
    job = submit(slurm, tmp_path, "sleep 1000", options=("--no-requeue",))
    node = running_node(slurm, job)

    slurm.fail(node)

    # Nobody told SLURM: it finds out by itself.
    assert state_of(slurm, job) == "RUNNING"
    assert processes.until(lambda: state_of(slurm, job) == "gone", 120)

    slurm.restore(node)
    again = submit(slurm, tmp_path, "sleep 1000", options=(f"--nodelist={node}",))

    assert running_node(slurm, again) == node


def test_an_unknown_node_is_refused_with_the_names_of_those_there_are(slurm: SlurmBed) -> None:
    with pytest.raises(BedError, match=f"no node 'nope'; there are {slurm.nodes[0]}, "):
        slurm.fail("nope")


def test_an_unknown_partition_is_refused(slurm: SlurmBed, tmp_path: Path) -> None:
    with pytest.raises(BedError, match="invalid partition specified: nope"):
        submit(slurm, tmp_path, "true", options=("--partition=nope",))


def test_an_ordinary_user_submits_and_cancels(slurm: SlurmBed, ordinary_user: OrdinaryUser) -> None:
    reply = ordinary_user.run(
        ["sbatch", "--parsable", "--output=out", "--wrap=id -un; exec sleep 1000"],
        slurm.environment,
    )
    assert reply.returncode == 0, reply.stderr
    job = reply.stdout.strip()
    assert processes.until(lambda: state_of(slurm, job) == "RUNNING")
    assert [row.user for row in slurm.squeue()] == [ordinary_user.name]
    output = ordinary_user.home / "out"
    assert processes.until(lambda: output.exists() and output.read_text())

    assert ordinary_user.run(["scancel", job], slurm.environment).returncode == 0

    assert processes.until(lambda: state_of(slurm, job) == "gone")
    assert output.read_text().splitlines()[0] == ordinary_user.name


def test_an_ordinary_user_can_run_our_python(
    ordinary_user: OrdinaryUser, everybodys_python: Path
) -> None:
    reply = ordinary_user.run(
        [str(everybodys_python), "-c", "import tbss_hpc; print(tbss_hpc.__file__)"]
    )

    assert reply.returncode == 0, reply.stderr
    assert Path(reply.stdout.strip()).is_relative_to(everybodys_python.parents[1])


def test_a_bed_goes_down_with_whoever_holds_it() -> None:
    if reason := beds.obstacle():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="tbss-slurm-"))
    # A test run in miniature, which is killed before it can tidy up.
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, beds.__file__, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    bed = SlurmBed(folder)
    mine = [pid for pid in processes.living() if _belongs_to(pid, bed)]
    assert len(mine) >= 1 + len(bed.nodes)

    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()

    assert processes.until(lambda: not folder.exists())
    assert not any(processes.alive(pid) for pid in mine)


_OWNER = """
import subprocess, sys
keeper = subprocess.Popen(
    [sys.executable, sys.argv[1], "hold", "--folder", sys.argv[2]],
    stdin=subprocess.PIPE, start_new_session=True,
)
keeper.wait()
"""


def _belongs_to(pid: int, bed: SlurmBed) -> bool:
    return f"SLURM_CONF={bed.configuration}" in processes.environment(pid)


def test_two_beds_share_neither_ports_nor_nodes(slurm: SlurmBed) -> None:
    folder = Path(tempfile.mkdtemp(prefix="tbss-slurm-"))
    other = SlurmBed(folder)
    try:
        other.up(beds.Shape(nodes=2))

        assert not set(other.nodes) & set(slurm.nodes)
        assert "idle" in other.run("sinfo")
    finally:
        other.down()
    assert not folder.exists()


def test_without_root_or_slurm_a_sentence_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert beds.obstacle() == "SLURM is not installed: apt-get install slurm-wlm munge"

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert beds.obstacle() == "The SLURM test bed needs root to start its daemons."
