"""The target: FSL's rule to the digit, but never from incomplete results."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import msgspec
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbss_hpc.errors import ExitCode, StoppedError
from tbss_hpc.tbss.proof import Unproved
from tbss_hpc.tbss.study import Study
from tbss_hpc.tbss.target import as_dict, read_msf, score, scores_of

NAMES = ("a_FA", "b_FA", "c_FA")
#: By input (row) and reference (column); rows would choose a_FA, columns choose c_FA.
ASYMMETRIC = {
    "a_FA": (0.1, 0.2, 0.3),
    "b_FA": (2.0, 0.1, 0.4),
    "c_FA": (3.0, 2.5, 0.2),
}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    (tmp_path / "FA").mkdir()
    images = tuple(f"{name}.nii.gz" for name in NAMES)
    return Study(str(tmp_path), str(tmp_path / "FA"), NAMES, images)


def write_results(study: Study, rows: Mapping[str, tuple[float, ...]]) -> None:
    for g, row in rows.items():
        for f, value in zip(study.subjects, row, strict=True):
            Path(study.fa, f"{g}_to_{f}_warp.msf").write_text(f"{value:f} {9:f} \n")
            warp = nib.Nifti1Image(np.zeros((2, 2, 2, 3), dtype=np.float32), np.eye(4))
            nib.save(warp, Path(study.fa, f"{g}_to_{f}_warp.nii.gz"))


def test_columns_are_averaged_and_not_rows(study: Study) -> None:
    write_results(study, ASYMMETRIC)

    scores = score(study)

    assert scores.subjects == NAMES
    assert scores.matrix == [[0.1, 0.2, 0.3], [2.0, 0.1, 0.4], [3.0, 2.5, 0.2]]
    assert scores.means == (1.7, 0.9333333333, 0.3)
    assert (scores.best, scores.runner_up) == ("c_FA", "b_FA")


def test_scores_become_plain_data(study: Study) -> None:
    write_results(study, ASYMMETRIC)

    data = msgspec.json.decode(msgspec.json.encode(as_dict(score(study))))

    assert data["unit"] == "mm^2"
    assert data["best"] == "c_FA"
    assert data["matrix"][2][0] == 3.0


def test_an_empty_msf_stops_the_choice_and_does_not_count_as_zero(study: Study) -> None:
    write_results(study, ASYMMETRIC)
    # With FSL's script these two failures would make a_FA the target.
    for pair in ("b_FA_to_a_FA", "c_FA_to_a_FA"):
        Path(study.fa, f"{pair}_warp.msf").write_text("")

    with pytest.raises(StoppedError, match="2 of 9 pairs have no valid result") as caught:
        score(study)

    assert caught.value.exit_code == ExitCode.STOPPED
    assert caught.value.why == (
        "b_FA_to_a_FA: b_FA_to_a_FA_warp.msf is empty.\n"
        "c_FA_to_a_FA: c_FA_to_a_FA_warp.msf is empty."
    )


def test_a_broken_warp_stops_the_choice_unless_its_proof_holds(study: Study) -> None:
    write_results(study, ASYMMETRIC)
    warp = Path(study.fa, "a_FA_to_b_FA_warp.nii.gz")
    warp.write_bytes(warp.read_bytes()[:-4])

    with pytest.raises(StoppedError, match="1 of 9 pairs"):
        score(study)
    assert score(study, proved={"a_FA_to_b_FA"}).best == "c_FA"


def test_ten_failures_are_shown_and_the_rest_is_counted(tmp_path: Path) -> None:
    names = tuple(f"s{i}_FA" for i in range(4))
    study = Study(str(tmp_path), str(tmp_path), names, names)

    with pytest.raises(StoppedError, match="16 of 16") as caught:
        score(study)

    assert len(caught.value.why.splitlines()) == 11
    assert caught.value.why.endswith("... and 6 more")


def test_a_plain_warp_counts_too(study: Study) -> None:
    write_results(study, ASYMMETRIC)
    packed = Path(study.fa, "a_FA_to_b_FA_warp.nii.gz")
    nib.save(nib.load(packed), Path(study.fa, "a_FA_to_b_FA_warp.nii"))
    packed.unlink()

    assert score(study).best == "c_FA"


def test_the_first_number_is_the_score(tmp_path: Path) -> None:
    (tmp_path / "x.msf").write_text("3.406729 1.030193 \n")
    assert read_msf(tmp_path / "x.msf") == 3.406729

    (tmp_path / "x.msf").write_text("\n")
    with pytest.raises(Unproved):
        read_msf(tmp_path / "x.msf")


def test_ties_go_to_the_name_that_sorts_first_by_its_bytes() -> None:
    subjects = ("B_FA", "a_FA", "a_FA2")
    values = {f"{g}_to_{f}": Decimal(1) for g in subjects for f in subjects}

    assert scores_of(subjects, values).best == "B_FA"
    assert scores_of(subjects[::-1], values).best == "B_FA"
    assert scores_of(("a_FA2", "a_FA"), values).best == "a_FA"


def test_what_differs_after_the_tenth_decimal_is_a_tie() -> None:
    values = {
        "a_to_a": Decimal("0.00000000003"),
        "b_to_a": Decimal(1),
        "a_to_b": Decimal("0.00000000001"),
        "b_to_b": Decimal(1),
    }

    scores = scores_of(("a", "b"), values)

    assert scores.means == (0.5, 0.5)
    assert scores.best == "a"


def line_of_all_msf(subject: str, column: list[Decimal]) -> str:
    """Write a line as tbss_3_postreg does: dc keeps ten decimals and drops the leading zero."""
    scaled = int(sum(column) * 10**6) * 10**4 // len(column)
    whole, rest = divmod(scaled, 10**10)
    return f"{subject} {whole or ''}.{rest:010} .5\n"


subject_names = st.lists(
    st.from_regex(r"[A-Za-z0-9_.+-]{1,3}_FA", fullmatch=True), min_size=2, max_size=4, unique=True
)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), subjects=subject_names)
def test_the_winner_is_the_first_line_of_sort(data: st.DataObject, subjects: list[str]) -> None:
    # Few different values, so that ties are common.
    number = st.sampled_from([0, 1, 2, 1_000_001, 1_000_002]).map(lambda n: Decimal(n) / 10**6)
    values = {f"{g}_to_{f}": data.draw(number) for g in subjects for f in subjects}
    lines = [line_of_all_msf(f, [values[f"{g}_to_{f}"] for g in subjects]) for f in subjects]
    answer = subprocess.run(
        ["sort", "-k", "2", "-n"],
        input="".join(lines),
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    ).stdout

    scores = scores_of(subjects, values)

    assert [scores.best, scores.runner_up] == [line.split()[0] for line in answer.splitlines()[:2]]
