"""Studies: registered once, recognised later, undone by what changes."""

from __future__ import annotations

import json
import shutil
from itertools import product
from typing import TYPE_CHECKING

import pytest

from tbss_hpc.tbss.synthetic import make_study
from tests.local.fake_fsl import FakeFsl

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.program import Program

S = ("con_01_FA", "con_02_FA", "pat_01_FA")
PAIRS = {f"{g}_to_{f}" for g, f in product(S, S)}


@pytest.fixture
def fsl(tbss: Program) -> FakeFsl:
    """A stand-in for FSL, loaded."""
    fake = FakeFsl(tbss.root / "fsl")
    tbss.environment["FSLDIR"] = str(fake.home)
    return fake


@pytest.fixture
def fa(tbss: Program) -> Path:
    """The FA folder of a study of three."""
    make_study(tbss.folder / "study", subjects=len(S), voxel_mm=4)
    return tbss.folder / "study" / "FA"


@pytest.fixture(scope="module")
def registered(shared_tbss: Program) -> Path:
    """A study whose pairs are done."""
    fake = FakeFsl(shared_tbss.root / "fsl")
    shared_tbss.environment["FSLDIR"] = str(fake.home)
    make_study(shared_tbss.folder / "study", subjects=len(S), voxel_mm=4)
    answer = shared_tbss("submit", "study", "--wait")
    assert answer.code == 0, answer.out + answer.err
    assert set(fake.calls()) == PAIRS
    assert not (shared_tbss.folder / "study" / "FA" / ".tbss-hpc" / "claim.json").exists()
    return shared_tbss.folder / "study"


@pytest.fixture
def done(tbss: Program, fsl: FakeFsl, registered: Path) -> Path:  # noqa: ARG001 - FSL is loaded
    """The FA folder of a study whose pairs are done; copies with their times keep their proofs."""
    shutil.copytree(registered, tbss.folder / "study")
    return tbss.folder / "study" / "FA"


def test_real_images_are_registered_by_the_embedded_engine(tbss: Program) -> None:
    planted = make_study(tbss.folder / "study", subjects=4, voxel_mm=4).planted
    answer = tbss("submit", "study", "--engine", "greedy", "--wait")
    target = json.loads(tbss("target", "study", "--json").out)
    scores = json.loads((tbss.run_folder() / "scores.json").read_text())

    assert answer.code == 0, answer.out + answer.err
    assert len(tbss.verdicts()) == 16
    assert target["best"] == planted
    assert scores == target


def test_a_study_is_done_once(tbss: Program, fsl: FakeFsl, done: Path) -> None:
    (done / f"{S[0]}.nii.gz").touch()
    answer = tbss("submit", done, "--wait")

    assert answer.code == 0
    assert "Nothing to do" in answer.out
    assert fsl.calls() == []


def test_only_what_is_missing_or_broken_is_made_again(
    tbss: Program, fsl: FakeFsl, done: Path
) -> None:
    (done / f"{S[0]}_to_{S[1]}_warp.nii.gz").unlink()
    broken = done / f"{S[2]}_to_{S[2]}_warp.nii.gz"
    broken.write_bytes(broken.read_bytes()[:1000])
    (done / f"{S[1]}_to_{S[0]}_warp.msf").write_text("")
    three = {f"{S[0]}_to_{S[1]}", f"{S[2]}_to_{S[2]}", f"{S[1]}_to_{S[0]}"}
    refused = tbss("target", "study")
    answer = tbss("submit", "study", "--wait")

    assert refused.code == 4
    assert all(pair in refused.err for pair in three)
    assert answer.code == 0
    assert set(fsl.calls()) == three
    assert tbss("target", "study").code == 0


def test_a_changed_image_undoes_its_pairs(tbss: Program, fsl: FakeFsl, done: Path) -> None:
    image = done / f"{S[0]}.nii.gz"
    image.write_bytes((done / f"{S[1]}.nii.gz").read_bytes())
    plan = tbss("plan", "study")
    answer = tbss("submit", "study", "--wait")

    assert f"the image {image.name} has changed" in plan.out
    assert answer.code == 0
    assert set(fsl.calls()) == {pair for pair in PAIRS if S[0] in pair}


def test_an_image_that_changes_during_the_run_spoils_its_pairs_only(
    tbss: Program, fsl: FakeFsl, fa: Path
) -> None:
    touched = {pair for pair in PAIRS if S[2] in pair}
    fsl.holds(*touched)
    assert tbss("submit", "study", "--retries", 0).code == 0
    tbss.until(lambda status: status["counts"]["done"] == len(PAIRS - touched))
    image = fa / f"{S[2]}.nii.gz"
    image.write_bytes((fa / f"{S[1]}.nii.gz").read_bytes())
    fsl.lets_go()
    assert tbss("attach").code == 1
    spoilt = {name for name, verdict in tbss.verdicts().items() if verdict == "failed"}
    reasons = (tbss.run_folder() / "controller.log").read_text()
    again = tbss("resume", "--failed", "--wait")

    assert spoilt == touched
    assert "changed while the command ran" in reasons
    assert "changed since the run was planned" in reasons
    assert again.code == 0
    assert tbss("target", "study").code == 0


def test_rows_and_columns_of_the_scores_are_not_swapped(
    tbss: Program, fsl: FakeFsl, fa: Path
) -> None:
    # Columns (the references) add up to 1.2, 0.6 and 0.9; rows to 0.6, 0.9 and 1.2.
    matrix = ((0.0, 0.2, 0.4), (0.5, 0.0, 0.4), (0.7, 0.4, 0.1))
    for (g, row), (f, column) in product(enumerate(S), enumerate(S)):
        fsl.scores(f"{row}_to_{column}", matrix[g][f])
    assert tbss("submit", fa, "--wait").code == 0
    target = json.loads(tbss("target", fa, "--json").out)

    assert target["best"] == S[1]
    assert target["runner_up"] == S[2]
    assert target["matrix"] == [list(row) for row in matrix]


def test_exit_code_0_without_results_is_a_failure(tbss: Program, fsl: FakeFsl, fa: Path) -> None:
    bad = f"{S[0]}_to_{S[1]}"
    fsl.fails_at(bad)
    answer = tbss("submit", fa, "--wait", "--retries", 1)

    assert answer.code == 1
    assert [name for name, verdict in tbss.verdicts().items() if verdict == "failed"] == [bad]
    assert fsl.calls().count(bad) == 2
    assert tbss("target", fa).code == 4
    assert not (tbss.run_folder() / "scores.json").exists()


def test_a_study_has_one_run_at_a_time(tbss: Program, fsl: FakeFsl, fa: Path) -> None:
    fsl.holds(*PAIRS)
    assert tbss("submit", "study", "--run", "first").code == 0
    second = tbss("submit", fa, "--run", "second")
    tbss.kill_controller()
    third = tbss("submit", fa, "--run", "third")
    assert tbss("cancel", "--run", "first").code == 0
    last = tbss("plan", fa)

    assert (second.code, third.code, last.code) == (4, 4, 0)
    assert "Another run works on this study" in second.err
    assert "resume --run" in third.err
    assert not tbss.run_folder("second").exists()


def test_engines_are_not_mixed(tbss: Program, done: Path) -> None:
    other = tbss("submit", done, "--engine", "greedy")
    del tbss.environment["FSLDIR"]
    none = tbss("submit", done)

    assert (other.code, none.code) == (2, 2)
    assert "made by fsl" in other.err
    assert "FSL is not loaded" in none.err
