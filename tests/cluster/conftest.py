"""A real SLURM for the tests of this folder, and an account that is not root's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster import ordinary_user as accounts
from tests.cluster import slurm_bed as beds
from tests.cluster.ordinary_user import OrdinaryUser
from tests.cluster.slurm_bed import SlurmBed

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def slurm_bed() -> Iterator[SlurmBed]:
    """One cluster for all tests; they rather ask for `slurm`."""
    if reason := beds.obstacle():
        skip_or_fail(reason)
    # Going down, the bed removes the folder itself.
    with held(SlurmBed(Path(tempfile.mkdtemp(prefix="tbss-slurm-")))) as bed:
        yield bed


@pytest.fixture
def slurm(slurm_bed: SlurmBed, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmBed]:
    """A cluster without jobs, whose commands work in this process and below it."""
    for name, value in slurm_bed.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm_bed
    slurm_bed.clear()


@pytest.fixture(scope="session")
def ordinary_user() -> Iterator[OrdinaryUser]:
    """An account that may submit jobs and has no other rights."""
    if reason := accounts.obstacle():
        pytest.skip(reason)
    with accounts.ordinary_user() as user:
        yield user


@pytest.fixture(scope="session")
def everybodys_python() -> Iterator[Path]:
    """A Python with tbss-hpc installed that an ordinary user may run."""
    python = accounts.python_for_everybody()
    if python is None:
        pytest.skip("No Python 3.11 or newer here may be run by every user.")
    with tempfile.TemporaryDirectory(prefix="tbss-venv-") as folder:
        Path(folder).chmod(0o755)
        yield accounts.install_for_everybody(python, Path(folder) / "venv")


def skip_or_fail(reason: str) -> None:
    """Skip; but fail in CI where root could have installed what is missing."""
    if os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(f"{reason} (This is CI: it must be there.)", pytrace=False)
    pytest.skip(reason)


@contextmanager
def held(bed: SlurmBed) -> Iterator[SlurmBed]:
    """Have a process of its own keep the bed up.

    It takes the bed down when its standard input ends: also when this test run is killed.
    """
    with subprocess.Popen(
        [sys.executable, beds.__file__, "hold", "--folder", str(bed.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        if keeper.stdout.readline() != "up\n":
            pytest.fail(f"SLURM did not come up.\n{keeper.stdout.read()}", pytrace=False)
        yield bed
        keeper.stdin.close()
        assert keeper.wait(timeout=180) == 0, keeper.stdout.read()
