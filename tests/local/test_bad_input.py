"""What people type by mistake: one clear complaint, the right exit code, nothing left behind."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tbss_hpc.tbss.synthetic import make_study
from tests.local.fake_fsl import FakeFsl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local.program import Program


class Bad(NamedTuple):
    """Something typed, and what must be said about it."""

    words: str
    says: str
    code: int = 2


MISTAKES = (
    # -- options and commands
    Bad("", "Usage:"),
    Bad("bogus", "No such command"),
    Bad("submit one --bogus", "No such option"),
    Bad("submit one --workers 0", "--workers"),
    Bad("submit one --workers many", "--workers"),
    Bad("submit one --cores-per-command 0", "--cores-per-command"),
    Bad("submit one --retries -1", "--retries"),
    Bad("submit one --timeout ages", "--timeout"),
    Bad("submit one --timeout 0", "--timeout"),
    Bad("submit one --command-time -3", "--command-time"),
    Bad("submit one --scheduler abacus", "abacus"),
    Bad("submit one --site nowhere.yaml", "nowhere.yaml"),
    Bad("submit one --run latest", "'latest' cannot be the name of a run"),
    Bad("submit one --run a/b", "'a/b' cannot be the name of a run"),
    Bad("submit one --run .hidden", "cannot be the name of a run"),
    Bad("submit one --runs one/below", "one/below", 5),
    # -- lists
    Bad("submit", "is not a TBSS study"),
    Bad("submit nowhere", "There is no nowhere"),
    Bad("submit folder", "is not a TBSS study"),
    Bad("submit empty", "holds no command"),
    Bad("submit comments", "holds no command"),
    Bad("submit latin", "latin:2: this line is not UTF-8"),
    Bad("submit binary", "binary:1: there is a NUL character"),
    Bad("submit -", "holds no command"),
    Bad("submit one --chdir nowhere", "does not exist"),
    Bad("submit one --engine greedy", "--engine is for studies"),
    Bad("submit one --expect {5}", "asks for word 5"),
    Bad("submit one --expect-file nowhere", "There is no nowhere"),
    Bad("submit one --expect-file comments", "has 2 lines for 1 commands"),
    Bad("submit twice --expect {1}", "twice:2: this command names the output of another one"),
    # -- studies
    Bad("submit no-fa", "it has no folder FA"),
    Bad("submit no-image", "at least two subjects"),
    Bad("submit no-image/FA", "at least two subjects"),
    Bad("submit one-image", "at least two subjects"),
    Bad("submit shapes", "shape"),
    Bad("submit unreadable", "con_02_FA.nii.gz"),
    Bad("submit truncated", "con_02_FA.nii.gz"),
    Bad("submit blanks", "names that FSL's scripts cannot handle"),
    Bad("submit stale", "already has a target"),
    Bad("submit good --engine magic", "no engine called 'magic'"),
    Bad("submit good --expect x", "--expect is for command lists"),
    Bad("target nowhere", "is not a TBSS study"),
    Bad("target good", "9 of 9 pairs have no valid result", 4),
    # -- runs
    Bad("status", "There is no run here"),
    Bad("status --run nowhere", "There is no run named nowhere"),
    Bad("attach --run nowhere", "There is no run named nowhere"),
    Bad("logs L1 --run nowhere", "There is no run named nowhere"),
    Bad("cancel --run nowhere", "There is no run named nowhere"),
    Bad("resume --run nowhere", "There is no run named nowhere"),
    # -- demo
    Bad("demo folder --subjects 1", "--subjects"),
    Bad("demo folder --voxel 7", "voxels of 7 mm"),
    Bad("demo good", "good"),
)


@pytest.fixture(scope="module")
def prepared(shared_tbss: Program) -> Iterator[Program]:
    """A folder full of what cannot be used; nothing in it may change."""
    folder = shared_tbss.folder
    shared_tbss.environment["FSLDIR"] = str(FakeFsl(shared_tbss.root / "fsl").home)
    shared_tbss.write("one", "true")
    shared_tbss.write("twice", "true a", "true a")
    shared_tbss.write("empty")
    shared_tbss.write("comments", "# nothing", "")
    (folder / "latin").write_bytes(b"true\necho \xe9\n")
    (folder / "binary").write_bytes(b"\0\1\2\n")
    (folder / "folder").mkdir()
    _studies(folder)
    before = _listing(folder)
    yield shared_tbss
    assert _listing(folder) == before


def _studies(folder: Path) -> None:
    (folder / "no-fa").mkdir()
    (folder / "no-image" / "FA").mkdir(parents=True)
    names = ("good", "one-image", "shapes", "unreadable", "truncated", "blanks", "stale")
    fa = {name: folder / name / "FA" for name in names}
    for name in names:
        make_study(folder / name, subjects=3, voxel_mm=4)
    for image in [*fa["one-image"].glob("con_02*"), *fa["one-image"].glob("pat*")]:
        image.unlink()
    make_study(folder / "other", subjects=3, voxel_mm=3)
    (folder / "other" / "FA" / "con_02_FA.nii.gz").replace(fa["shapes"] / "con_02_FA.nii.gz")
    (fa["unreadable"] / "con_02_FA.nii.gz").write_bytes(gzip.compress(b"no image at all"))
    whole = (fa["truncated"] / "con_02_FA.nii.gz").read_bytes()
    (fa["truncated"] / "con_02_FA.nii.gz").write_bytes(whole[: len(whole) // 2])
    (fa["blanks"] / "con_02_FA.nii.gz").rename(fa["blanks"] / "con 02_FA.nii.gz")
    (fa["stale"] / "target.nii.gz").touch()


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("bad", MISTAKES, ids=[bad.words or "nothing" for bad in MISTAKES])
def test_a_mistake_is_explained(prepared: Program, bad: Bad) -> None:
    code, out, err = prepared(*bad.words.split())

    assert code == bad.code, err
    assert bad.says in err
    assert "Traceback" not in out + err
    assert err.count("Error:") == (1 if bad.words else 0)


def test_a_complaint_about_a_file_says_why_and_what_to_do(prepared: Program) -> None:
    lines = prepared("submit", "latin").err.splitlines()

    assert [line[:8] for line in lines] == ["Error: l", "  why   ", "  fix   "]


def test_a_run_name_that_exists_is_refused_and_the_run_left_as_it_is(tbss: Program) -> None:
    tbss.write("one", "true")
    tbss.write("other", "false")
    assert tbss("submit", "one", "--run", "mine", "--wait").code == 0
    again = tbss("submit", "other", "--run", "mine")
    unknown = [tbss("logs", *words) for words in (["L2"], ["L1", "--attempt", "2"], [])]

    assert again.code == 2
    assert "resume --run mine" in again.err
    assert tbss.verdicts() == {"L1": "done"}
    assert [answer.code for answer in unknown] == [2, 2, 2]
