"""The dialect against a SLURM that runs: what tests/golden/slurm holds must stay true."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tbss_hpc.core.site import Site
from tbss_hpc.schedulers import slurm as dialect
from tbss_hpc.schedulers.answers import DontKnow, Gone, Seen
from tbss_hpc.schedulers.reply import Reply
from tests import processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.cluster.slurm_bed import SlurmBed

NAME = "tb-says-1"


def site(**values: object) -> Site:
    usual = {"scheduler": "slurm", "cores": 1, "memory": 100 << 20, "walltime": 120.0}
    return Site(**{**usual, **values})  # type: ignore[arg-type]


def ask(argv: Sequence[str], environ: Mapping[str, str]) -> Reply:
    done = subprocess.run(argv, env=dict(environ), capture_output=True, text=True, check=False)
    return Reply(tuple(argv), done.returncode, done.stdout, done.stderr)


def submit(folder: Path, wanted: Site, *lines: str, **environ: str) -> Reply:
    """Submit a script with our directives, in the environment that we make for sbatch."""
    options = [f"--job-name={NAME}", f"--output={folder}/out", "--time=2", "--mem=100M"]
    directives = [*options, *dialect.submission_options(wanted, 120.0)]
    script = folder / "script"
    head = ["#!/bin/bash", *(f"#SBATCH {directive}" for directive in directives)]
    script.write_text("\n".join([*head, *lines, ""]))
    environment = dialect.submission_environment(wanted, {**os.environ, **environ})
    return ask(["sbatch", str(script)], environment)


def seen(**environ: str) -> Seen | Gone | DontKnow:
    environment = dialect.query_environment({**os.environ, **environ})
    answer = dialect.read_queue(ask(dialect.queue_query([NAME]), environment), [NAME])
    return answer if isinstance(answer, DontKnow) else answer[NAME]


def running() -> bool:
    answer = seen()
    return isinstance(answer, Seen) and answer.state == "RUNNING"


@pytest.fixture
def hidden_partition(slurm: SlurmBed) -> Iterator[str]:
    slurm.run("scontrol", "update", "partitionname=long", "hidden=yes")
    yield "long"
    slurm.run("scontrol", "update", "partitionname=long", "hidden=no")


def test_an_allocation_is_followed_from_submission_to_its_end(
    slurm: SlurmBed, tmp_path: Path
) -> None:
    assert seen() == Gone("not in the queue any more")

    native_id = dialect.read_native_id(submit(tmp_path, site(), "sleep 100").stdout)
    assert processes.until(running)
    answer = seen()

    assert isinstance(answer, Seen)
    assert answer.native_id == native_id
    assert answer.node in slurm.nodes
    assert answer.seconds_left is not None
    assert 60 < answer.seconds_left <= 120

    for argv in dialect.cancel_commands([native_id]):
        assert ask(argv, dialect.query_environment(os.environ)).exit_code == 0
    assert processes.until(lambda: isinstance(seen(), Gone))


def test_no_profile_and_no_hidden_partition_makes_a_running_job_look_gone(
    hidden_partition: str, tmp_path: Path
) -> None:
    submit(tmp_path, site(directives=(f"--partition={hidden_partition}",)), "sleep 100")
    assert processes.until(running)

    assert isinstance(seen(SQUEUE_PARTITION="short", SQUEUE_STATES="PENDING"), Seen)


@pytest.mark.usefixtures("slurm")
def test_commands_get_the_environment_that_we_choose(tmp_path: Path) -> None:
    reply = submit(
        tmp_path,
        site(environment=("ANTS*",)),
        'echo "$FSLDIR" "$ANTSPATH" "[$STRANGER]" "[$SLURM_STRANGE]"',
        "module load",
        f"touch {tmp_path}/done",
        FSLDIR="/opt/fsl",
        ANTSPATH="/opt/a,b c",
        STRANGER="x",
        SLURM_STRANGE="x",
        SBATCH_REQUEUE="1",
        **{"BASH_FUNC_module%%": "() {  echo module $1\n}"},
    )

    assert reply.exit_code == 0, reply.stderr
    assert processes.until((tmp_path / "done").exists)
    assert (tmp_path / "out").read_text() == "/opt/fsl /opt/a,b c [] []\nmodule load\n"


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(
    ("directive", "key"),
    [
        ("--partition=nowhere", "queue"),
        ("--constraint=avx9000", "constraint"),
        ("--reservation=never", "reservation"),
        ("--mem=1T", "memory"),
        ("--no-such-option", "directives"),
    ],
)
def test_a_refusal_leads_to_the_key_to_edit(tmp_path: Path, directive: str, key: str) -> None:
    refused = submit(tmp_path, site(directives=(directive,)), "true")

    assert refused.exit_code != 0
    assert f"`{key}`" in dialect.refusal_fix(refused.stderr)


def test_a_maintenance_window_is_told_in_words(slurm: SlurmBed, tmp_path: Path) -> None:
    window = ("reservationname=says", "starttime=now+1minute", "duration=10", "users=root")
    slurm.run("scontrol", "create", *window, "flags=maint,ignore_jobs", "nodes=ALL")
    try:
        submit(tmp_path, site(), "true")
        assert processes.until(lambda: "maintenance" in getattr(seen(), "reason", ""))
        answer = seen()
    finally:
        slurm.run("scancel", f"--name={NAME}")
        slurm.run("scontrol", "delete", "reservationname=says")

    assert isinstance(answer, Seen)
    assert "a shorter walltime may fit" in dialect.in_words(answer.state, answer.reason)


@pytest.mark.usefixtures("slurm")
def test_a_controller_that_is_down_is_no_answer(tmp_path: Path) -> None:
    text = Path(os.environ["SLURM_CONF"]).read_text()
    dead = tmp_path / "slurm.conf"
    lines = [line for line in text.splitlines() if not line.startswith("SlurmctldPort")]
    dead.write_text("\n".join([*lines, "SlurmctldPort=1", ""]))

    answer = seen(SLURM_CONF=str(dead))

    assert isinstance(answer, DontKnow)
    assert "Unable to contact slurm controller" in answer.why
