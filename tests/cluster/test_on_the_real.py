"""Runs on a real SLURM: see tests/on_slurm for what has to be true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.on_slurm import bodies
from tests.on_slurm.rig import Rig, rigged
from tests.on_slurm.slurms import RealSlurm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster.slurm_bed import SlurmBed


@pytest.fixture
def rig(slurm: SlurmBed, tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path / "user", RealSlurm(slurm)) as rig:
        yield rig


class TestWork(bodies.Work):
    pass


class TestKills(bodies.Kills):
    pass


class TestQueues(bodies.Queues):
    pass
