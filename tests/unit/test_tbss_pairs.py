"""Pairs: the very lines that `tbss_2_reg -n` writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbss_hpc.core.command import Check, Command, Output, identity
from tbss_hpc.tbss.engine import Engine
from tbss_hpc.tbss.pairs import log_path, pair_commands, pair_name, parse_pair, split_pair
from tbss_hpc.tbss.study import Study

FSL = Engine("fsl", "/fsl/bin/fsl_reg", "6.0.0")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    folder = tmp_path / "FA"
    folder.mkdir()
    subjects = ("con_01_FA", "con_02_FA", "pat_01_FA")
    images = tuple(f"{name}.nii.gz" for name in subjects)
    for name in (*images, "con_02_FA_mask.nii.gz"):
        (folder / name).touch()
    return Study(str(tmp_path), str(folder), subjects, images)


def test_lines_are_those_of_tbss_2_reg_reference_by_reference(study: Study) -> None:
    assert [command.text for command in pair_commands(study, FSL)] == [
        "/fsl/bin/fsl_reg con_01_FA con_01_FA con_01_FA_to_con_01_FA -e -FA",
        "/fsl/bin/fsl_reg con_02_FA con_01_FA con_02_FA_to_con_01_FA -e -FA",
        "/fsl/bin/fsl_reg pat_01_FA con_01_FA pat_01_FA_to_con_01_FA -e -FA",
        "/fsl/bin/fsl_reg con_01_FA con_02_FA con_01_FA_to_con_02_FA -e -FA",
        "/fsl/bin/fsl_reg con_02_FA con_02_FA con_02_FA_to_con_02_FA -e -FA",
        "/fsl/bin/fsl_reg pat_01_FA con_02_FA pat_01_FA_to_con_02_FA -e -FA",
        "/fsl/bin/fsl_reg con_01_FA pat_01_FA con_01_FA_to_pat_01_FA -e -FA",
        "/fsl/bin/fsl_reg con_02_FA pat_01_FA con_02_FA_to_pat_01_FA -e -FA",
        "/fsl/bin/fsl_reg pat_01_FA pat_01_FA pat_01_FA_to_pat_01_FA -e -FA",
    ]


def test_a_pair_declares_its_outputs_and_all_that_goes_into_it(study: Study) -> None:
    command = pair_commands(study, FSL)[1]

    assert command == Command(
        id=identity(command.text, study.fa, 0),
        line=2,
        name="con_02_FA_to_con_01_FA",
        text="/fsl/bin/fsl_reg con_02_FA con_01_FA con_02_FA_to_con_01_FA -e -FA",
        folder=study.fa,
        outputs=(
            Output("con_02_FA_to_con_01_FA_warp.nii.gz", Check.IMAGE),
            Output("con_02_FA_to_con_01_FA_warp.msf", Check.NUMBERS),
            Output("con_02_FA_to_con_01_FA.mat", Check.MATRIX),
        ),
        inputs=("con_02_FA.nii.gz", "con_02_FA_mask.nii.gz", "con_01_FA.nii.gz"),
    )


def test_a_self_pair_has_one_image_as_input(study: Study) -> None:
    commands = pair_commands(study, FSL)

    assert commands[0].inputs == ("con_01_FA.nii.gz",)
    assert commands[4].inputs == ("con_02_FA.nii.gz", "con_02_FA_mask.nii.gz")


def test_warps_have_the_suffix_that_fsl_is_set_to(study: Study) -> None:
    warp = pair_commands(study, FSL, image_suffix=".nii")[1].outputs[0]

    assert warp == Output("con_02_FA_to_con_01_FA_warp.nii", Check.IMAGE)


def test_a_program_with_a_blank_in_its_path_is_quoted(study: Study) -> None:
    command = pair_commands(study, Engine("fsl", "/my fsl/bin/fsl_reg", "6"))[1]

    assert command.text.startswith("'/my fsl/bin/fsl_reg' con_02_FA con_01_FA ")
    assert log_path(command) == "logs/con_01_FA/con_02_FA_to_con_01_FA.log"


def test_every_pair_has_its_own_id(study: Study) -> None:
    assert len({command.id for command in pair_commands(study, FSL)}) == 9


def test_logs_are_kept_by_reference(study: Study) -> None:
    command = pair_commands(study, FSL)[3]

    assert log_path(command) == "logs/con_02_FA/con_01_FA_to_con_02_FA.log"


def test_other_commands_are_logged_by_their_name() -> None:
    command = Command(id="0", line=17, name="L17", text="echo 'unclosed", folder="/tmp")  # noqa: S108 - never opened

    assert log_path(command) == "logs/L17.log"


@pytest.mark.parametrize(
    "text",
    [
        "fsl_reg a_FA b_FA a_FA_to_c_FA -e -FA",
        "fsl_reg a_FA b_FA a_FA_to_b_FA",
        "fsl_reg a_FA b_FA",
        "",
    ],
)
def test_a_line_that_is_no_pair_is_not_taken_for_one(text: str) -> None:
    assert parse_pair(text) is None


def test_a_name_that_is_no_pair_of_the_study_is_not_split() -> None:
    subjects = ("a_FA", "b_FA")

    assert split_pair("a_FA_to_b_FA", subjects) == ("a_FA", "b_FA")
    assert split_pair("a_FA_to_target", subjects) is None
    assert split_pair("a_FA", subjects) is None


names = st.from_regex(r"[a-z0-9]{1,4}(_to_[a-z]{1,3})?_FA", fullmatch=True)


@given(g=names, f=names)
def test_splitting_undoes_naming_even_for_subjects_with_to_in_their_names(g: str, f: str) -> None:
    assert split_pair(pair_name(g, f), (g, f)) == (g, f)
