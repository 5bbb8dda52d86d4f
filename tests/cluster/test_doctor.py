"""`doctor` on a real SLURM: what it reads there is true, and its probe comes back."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests import processes
from tests.local.conftest import leaving_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster.slurm_bed import SlurmBed
    from tests.local.program import Program

SITE = """\
scheduler: slurm
queue: {queue}
cores: 2
memory: 500M
walltime: {walltime}
workers: 2
"""


@pytest.fixture
def program(slurm: SlurmBed, tmp_path: Path) -> Iterator[Program]:
    with leaving_nothing(tmp_path) as program:
        program.environment |= slurm.environment
        yield program


def examine(
    program: Program, *words: str, queue: str, walltime: str, code: int
) -> list[dict[str, Any]]:
    (program.folder / "site.yaml").write_text(SITE.format(queue=queue, walltime=walltime))
    answer = program("doctor", "--json", "--site", "site.yaml", *words)
    assert answer.code == code, answer.out + answer.err
    found: list[dict[str, Any]] = json.loads(answer.out)
    return found


def crosses(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [finding for finding in found if finding["mark"] == "bad"]


@contextmanager
def maintenance(slurm: SlurmBed, begin: str) -> Iterator[None]:
    window = ("reservationname=doctor", f"starttime=now+{begin}", "duration=30", "users=root")
    slurm.run("scontrol", "create", *window, "flags=maint,ignore_jobs", "nodes=ALL")
    try:
        yield
    finally:
        slurm.run("scontrol", "delete", "reservationname=doctor")


def test_a_healthy_cluster_gets_ticks(program: Program, slurm: SlurmBed) -> None:
    found = examine(program, queue="short", walltime="00:05:00", code=0)

    said = {finding["what"]: finding["mark"] for finding in found}
    unknown = [what for what, mark in said.items() if mark == "unknown"]
    # The bed has no accounting database, and no FSL is loaded.
    assert all("limits cannot be asked" in what or "FSL" in what for what in unknown), unknown
    for words in (
        *("SLURM 2", "Queue short is there", "4 of 4 nodes of queue short", "5 min at most"),
        *("No maintenance", "the worker loads in", "reads and writes the same files"),
        *("and is reached at", "agrees with ours", "Temporary files can be written"),
    ):
        assert any(words in what and mark == "good" for what, mark in said.items()), words
    assert processes.until(lambda: not slurm.squeue())


def test_a_maintenance_ahead_is_told_with_the_walltime_that_fits(
    program: Program, slurm: SlurmBed
) -> None:
    with maintenance(slurm, "40minutes"):
        late = examine(program, "--no-probe", queue="long", walltime="02:00:00", code=3)
        early = examine(program, "--no-probe", queue="long", walltime="00:30:00", code=0)

    (cross,) = crosses(late)
    assert re.search(r"reserved for maintenance in (39 min|40 min)", cross["what"])
    assert re.search(r"`walltime: 00:3[89]:00`", cross["fix"])
    assert any("a walltime of 30 min ends before" in finding["what"] for finding in early)


def test_a_probe_is_shortened_to_end_before_a_maintenance(
    program: Program, slurm: SlurmBed
) -> None:
    with maintenance(slurm, "4minutes"):
        found = examine(program, queue="long", walltime="02:00:00", code=3)

    assert len(crosses(found)) == 1
    assert any("the worker loads in" in finding["what"] for finding in found)


def test_a_walltime_above_the_queues_limit_is_told(program: Program, slurm: SlurmBed) -> None:
    found = examine(program, queue="short", walltime="01:00:00", code=3)

    (cross,) = crosses(found)
    assert "1 h is more than queue short allows: 5 min" in cross["what"]
    assert "long" in cross["fix"]
    assert processes.until(lambda: not slurm.squeue())
