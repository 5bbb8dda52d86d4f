"""A full disk: before a run, under its journal, under the records of its worker."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import processes
from tests.local.program import SLOTS, Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0,
    reason="only root can mount a small disk to be filled",
)


class SmallDisk:
    """Two megabytes that can be filled to the last byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def mount(self) -> None:
        command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tbss-hpc-test", str(self.folder)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.decode().strip()}")

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True, timeout=60)

    def fill(self) -> None:
        with (self.folder / "filling").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def make_room(self) -> None:
        (self.folder / "filling").unlink()


@pytest.fixture
def disk(tbss: Program, tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk, with nothing on it but what the tests put there."""
    disk = SmallDisk(tmp_path / "disk")
    disk.mount()
    (tbss.folder / "tbss-hpc-runs").symlink_to(disk.folder)
    yield disk
    processes.kill_all(tbss.processes)
    disk.unmount()


def test_no_run_is_begun_on_a_full_disk(tbss: Program, disk: SmallDisk) -> None:
    tbss.write("one", "true")
    disk.fill()
    refused = tbss("submit", "one", "--run", "mine")
    disk.make_room()
    left = list(disk.folder.iterdir())
    accepted = tbss("submit", "one", "--run", "mine", "--wait")

    assert refused.code == 5
    assert "No space left on device" in refused.err
    assert "Traceback" not in refused.err
    assert left == []
    assert accepted.code == 0


def test_a_disk_that_fills_during_a_run_loses_and_doubles_nothing(
    tbss: Program, disk: SmallDisk
) -> None:
    names = ["a", "b", "c", "d"]
    tbss.write("list", *(tbss.witness.gate(name) for name in names))
    assert tbss("submit", "list", "--workers", 1).code == 0
    tbss.until_running(SLOTS)
    disk.fill()
    tbss.witness.let_go()
    ended = processes.until(lambda: len(tbss.witness.said("end")) == SLOTS)
    interrupted = tbss.until(lambda status: status["state"] == "interrupted")
    refused = [tbss("resume"), tbss("cancel")]
    log = (tbss.run_folder() / "controller.log").read_text()
    disk.make_room()
    resumed = tbss("resume", "--wait")

    assert ended
    assert interrupted["counts"]["total"] == len(names)
    assert [answer.code for answer in refused] == [5, 5]
    assert all("No space left on device" in answer.err for answer in refused)
    assert "The journal cannot be written" in log
    assert "Traceback" not in log
    assert resumed.code == 0, resumed.out
    assert tbss.witness.said("double") == []
    assert sorted(tbss.witness.said("start")) == sorted(tbss.witness.said("end")) == names
