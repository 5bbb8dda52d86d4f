"""The run folder: made for its owner, found by its name."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from tbss_hpc.errors import FilesError, UsageError
from tbss_hpc.store.atomic import create_file, replace_file
from tbss_hpc.store.folder import RunFolder, find_run, fresh_name, runs_folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return runs_folder(tmp_path)


def make(runs: Path, name: str) -> RunFolder:
    run = RunFolder(runs / name)
    run.create()
    run.commands.write_text("[]")
    run.become_latest()
    return run


def test_a_run_folder_is_its_owners_alone(runs: Path) -> None:
    run = make(runs, "one")

    assert run.root.stat().st_mode & 0o777 == 0o700


def test_a_run_is_made_once(runs: Path) -> None:
    run = make(runs, "one")

    with pytest.raises(UsageError, match="There is a run named one already"):
        run.refuse_if_exists()
    with pytest.raises(FilesError, match="The run folder cannot be made"):
        run.create()


def test_the_newest_run_is_found_without_a_name(runs: Path) -> None:
    make(runs, "one")
    make(runs, "two")

    assert find_run(runs, None).name == "two"
    assert find_run(runs, "one").name == "one"
    assert (runs / "latest").readlink() == Path("two")


def test_a_run_is_found_by_its_path(runs: Path) -> None:
    run = make(runs, "one")

    assert find_run(Path("elsewhere"), str(run.root)).root == run.root


def test_a_run_that_is_not_there_is_told_with_those_that_are(runs: Path) -> None:
    make(runs, "one")
    make(runs, "two")

    with pytest.raises(UsageError) as caught:
        find_run(runs, "three")
    assert caught.value.what == "There is no run named three."
    assert caught.value.why == f"looked in {runs}: one, two"


def test_where_nothing_was_submitted_there_is_no_run(runs: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find_run(runs, None)

    assert caught.value.what == "There is no run here."
    assert caught.value.why == f"looked in {runs}: it holds no run"


def test_names_tell_the_time_and_differ(runs: Path) -> None:
    now = datetime(2026, 11, 28, 14, 30)  # noqa: DTZ001 - any clock will do
    names = []
    for _ in range(3):
        names.append(fresh_name(runs, now))
        make(runs, names[-1])

    assert names == ["2026-11-28_1430", "2026-11-28_1430_2", "2026-11-28_1430_3"]


def test_the_output_of_an_allocation_is_its_own(runs: Path) -> None:
    run = make(runs, "one")
    names = ["tb-1-1.sh", "tb-1-1.out", "tb-1-1-99.out", "tb-1-1-99.err", "tb-1-10.out"]
    for age, name in enumerate([*names, "tb-1-10-98.out", "tb-1-10.sh"]):
        path = run.allocations / name
        path.touch()
        os.utime(path, (age, age))

    assert [path.name for path in run.outputs_of("tb-1-1")] == [
        "tb-1-1.out",
        "tb-1-1-99.out",
        "tb-1-1-99.err",
    ]
    assert [path.name for path in run.outputs_of("tb-1-10")] == ["tb-1-10.out", "tb-1-10-98.out"]


# -- whole files ----------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    replace_file(path, b"new", mode=0o600)

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()

    with pytest.raises(OSError, match="directory"):
        replace_file(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_first_creates_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"

    assert create_file(path, b"first")
    assert not create_file(path, b"second")
    assert path.read_bytes() == b"first"


def test_a_file_that_could_not_be_written_whole_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)

    with pytest.raises(OSError, match="No space left"):
        create_file(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == []
