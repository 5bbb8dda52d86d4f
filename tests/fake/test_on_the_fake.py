"""Runs on the fake SLURM: see tests/on_slurm for what has to be true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.on_slurm import bodies
from tests.on_slurm.rig import Rig, rigged
from tests.on_slurm.slurms import PretendedSlurm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fake.fake_slurm import FakeSlurm


@pytest.fixture
def rig(fake_slurm: FakeSlurm, tmp_path: Path) -> Iterator[Rig]:
    fake_slurm.kill_as_cgroups_do()
    with rigged(tmp_path / "user", PretendedSlurm(fake_slurm)) as rig:
        yield rig


class TestBasics(bodies.Basics):
    pass


class TestStudies(bodies.Studies):
    pass


class TestKills(bodies.Kills):
    pass


class TestQueues(bodies.Queues):
    pass


def test_a_pending_reason_is_told_in_a_sentence(rig: Rig, fake_slurm: FakeSlurm) -> None:
    fake_slurm.hold("AssocGrpCpuLimit")
    rig.site(workers="1")
    rig.submit(2)
    status = rig.tbss.until(lambda s: s["allocations"] and s["allocations"][0]["reason"])
    fake_slurm.release()
    rig.finish()

    assert status["allocations"][0]["reason"] == "AssocGrpCpuLimit"
    assert "your account's core limit is reached" in status["allocations"][0]["explanation"]
