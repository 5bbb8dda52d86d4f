"""Which site file counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tbss_hpc.errors import UsageError
from tbss_hpc.sites import find_site, packaged, packaged_folder
from tbss_hpc.sites.finding import candidates, find_file

SLURM = "scheduler: slurm\ncores: 4\nmemory: 8G\nwalltime: 4 h\n"
LOCAL = "scheduler: local\n"


class Machine:
    """A home folder, a current folder and a system folder, all empty."""

    def __init__(self, root: Path) -> None:
        self.cwd = root / "study"
        self.home = root / "home"
        self.system = root / "etc"
        self.environ: dict[str, str] = {}
        self.cwd.mkdir()

    def put(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def find(self, scheduler: str | None = None, named: Path | None = None) -> Path:
        found = candidates(self.environ, self.cwd, self.home, self.system)
        return find_file(scheduler, named, found).path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_any_file_this_machine_is_used(machine: Machine) -> None:
    assert machine.find() == packaged("local")


def test_without_any_file_the_one_that_comes_with_the_scheduler_is_used(machine: Machine) -> None:
    assert machine.find("slurm") == packaged("slurm")


def test_the_more_particular_place_wins(machine: Machine) -> None:
    system = machine.put(machine.system / "site.yaml", SLURM)

    assert machine.find() == system

    user = machine.put(machine.home / ".config/tbss-hpc/site.yaml", SLURM)

    assert machine.find() == user

    here = machine.put(machine.cwd / "tbss-hpc.yaml", SLURM)

    assert machine.find() == here

    variable = machine.put(machine.home / "cluster.yaml", SLURM)
    machine.environ["TBSS_HPC_SITE"] = str(variable)

    assert machine.find() == variable

    named = machine.put(machine.home / "other.yaml", SLURM)

    assert machine.find(named=named) == named


def test_the_configuration_folder_may_be_elsewhere(machine: Machine) -> None:
    machine.put(machine.home / ".config/tbss-hpc/site.yaml", SLURM)
    elsewhere = machine.put(machine.home / "xdg/tbss-hpc/site.yaml", SLURM)
    machine.environ["XDG_CONFIG_HOME"] = str(machine.home / "xdg")

    assert machine.find() == elsewhere


def test_a_relative_configuration_folder_is_ignored(machine: Machine) -> None:
    user = machine.put(machine.home / ".config/tbss-hpc/site.yaml", SLURM)
    machine.environ["XDG_CONFIG_HOME"] = "xdg"

    assert machine.find() == user


def test_a_found_file_for_another_scheduler_is_passed_over(machine: Machine) -> None:
    machine.put(machine.cwd / "tbss-hpc.yaml", SLURM)

    assert machine.find("local") == packaged("local")

    user = machine.put(machine.home / ".config/tbss-hpc/site.yaml", LOCAL)

    assert machine.find("local") == user


def test_a_found_file_that_names_no_scheduler_serves_all(machine: Machine) -> None:
    here = machine.put(machine.cwd / "tbss-hpc.yaml", "workers: 3\n")

    assert machine.find("local") == here


def test_a_named_file_for_another_scheduler_is_refused(machine: Machine) -> None:
    named = machine.put(machine.home / "cluster.yaml", SLURM)

    with pytest.raises(UsageError) as refusal:
        machine.find("local", named)

    assert refusal.value.why == f"{named}:1: scheduler: slurm"
    assert "--site" in refusal.value.fix


def test_a_named_file_that_is_not_there_is_refused(machine: Machine) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        machine.find(named=machine.home / "nowhere.yaml")


def test_the_variable_has_to_name_a_file_that_is_there(machine: Machine) -> None:
    machine.environ["TBSS_HPC_SITE"] = "nowhere.yaml"

    with pytest.raises(UsageError, match=f"{machine.cwd}/nowhere.yaml cannot be read"):
        machine.find()


def test_a_broken_file_is_not_passed_over(machine: Machine) -> None:
    machine.put(machine.cwd / "tbss-hpc.yaml", "scheduler: [")

    with pytest.raises(UsageError, match="cannot be used"):
        machine.find("local")


def test_a_scheduler_without_a_file_of_ours_needs_one_of_yours(machine: Machine) -> None:
    with pytest.raises(UsageError) as refusal:
        machine.find("../local")

    assert "slurm" in refusal.value.fix
    assert "--site" in refusal.value.fix


def test_the_places_are_looked_at_in_the_folders_that_are_given(tmp_path: Path) -> None:
    path = tmp_path / "tbss-hpc.yaml"
    path.write_text(LOCAL)

    assert find_site(None, None, {}, tmp_path, tmp_path) == path


def test_a_checkout_has_its_site_files_at_the_top() -> None:
    assert (packaged_folder() / "README.md").is_file()
