"""`tbss-hpc demo`: a whole registration, from nothing."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.local.program import Program


def test_the_demo_names_the_planted_subject_and_is_quick_the_second_time(tbss: Program) -> None:
    first = tbss("demo", "my demo", "--subjects", 3)
    second = tbss("demo", "my demo", "--subjects", 3)
    other = tbss("demo", "my demo", "--subjects", 4)
    runs = tbss.folder / "my demo" / "tbss-hpc-runs"
    picture = (runs / "latest" / "scores.svg").read_text()
    shutil.rmtree(runs)
    without_run = tbss("demo", "my demo", "--subjects", 3)

    assert first.code == 0, first.out + first.err
    assert "which is the one that was planted" in first.out
    assert "9 of 9 done" in first.out
    assert str(runs.resolve()) in first.out
    assert picture.startswith("<")
    for again in (second, without_run):
        assert again.code == 0
        assert "Nothing to do" in again.out
        assert "which is the one that was planted" in again.out
    assert other.code == 2
    assert "demo of another size" in other.err
    assert [path.name for path in tbss.folder.iterdir()] == ["my demo"]
