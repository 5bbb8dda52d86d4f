"""Engines: named, or held by the study, or loaded; never mixed and never silently replaced."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tbss_hpc.errors import UsageError
from tbss_hpc.tbss.engine import Engine, find_engine, held_engine, image_suffix
from tbss_hpc.tbss.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    folder = tmp_path / "study" / "FA"
    folder.mkdir(parents=True)
    return Study(str(folder.parent), str(folder), ("a_FA", "b_FA"), ("a_FA.nii", "b_FA.nii"))


@pytest.fixture
def fsl(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "fsl"
    (home / "bin").mkdir(parents=True)
    (home / "etc").mkdir()
    (home / "etc" / "fslversion").write_text("6.0.5.1:57b01774\n")
    (home / "bin" / "fsl_reg").touch(mode=0o755)
    return {"FSLDIR": str(home)}


@pytest.fixture
def greedy_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "venv" / "tbss-hpc-greedy"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(program.parent / "python"))
    return program


def write_warp(study: Study, name: str, description: str) -> None:
    image = nib.Nifti1Image(np.zeros((2, 2, 2), dtype=np.float32), np.eye(4))
    image.header["descrip"] = description
    nib.save(image, Path(study.fa, name))


def test_fsl_is_taken_when_it_is_loaded(study: Study, fsl: dict[str, str]) -> None:
    engine = find_engine(None, study, fsl)

    assert engine == Engine("fsl", f"{fsl['FSLDIR']}/bin/fsl_reg", "6.0.5.1:57b01774")
    assert engine.fingerprint == "fsl 6.0.5.1:57b01774"


def test_without_fsl_the_choice_is_named_and_nothing_stands_in(study: Study) -> None:
    with pytest.raises(UsageError, match="nothing to register images with") as caught:
        find_engine(None, study, {})

    assert "FSLDIR is not set" in caught.value.why
    assert "--engine fsl" in caught.value.fix
    assert "--engine greedy" in caught.value.fix
    assert "pip install 'tbss-hpc[engine]'" in caught.value.fix


def test_fsl_that_is_named_but_not_loaded_is_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="FSL is not loaded") as caught:
        find_engine("fsl", study, {"FSLDIR": str(tmp_path)})

    assert "no program bin/fsl_reg" in caught.value.why


def test_an_unknown_engine_is_refused(study: Study) -> None:
    with pytest.raises(UsageError, match="no engine called 'ants'"):
        find_engine("ants", study, {})


def test_greedy_is_the_program_beside_our_python(study: Study, greedy_program: Path) -> None:
    engine = find_engine("greedy", study, {})

    version = importlib.metadata.version("picsl-greedy")
    assert engine == Engine("greedy", str(greedy_program), version)


def test_a_link_to_python_is_not_followed(study: Study, greedy_program: Path) -> None:
    (greedy_program.parent / "python").symlink_to("/bin/sh")

    assert find_engine("greedy", study, {}).program == str(greedy_program)


def test_a_missing_greedy_program_is_refused(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    with pytest.raises(UsageError, match="program of the greedy engine is missing"):
        find_engine("greedy", study, {})


def test_a_missing_extra_says_what_to_install(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_name: str) -> str:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", missing)

    with pytest.raises(UsageError) as caught:
        find_engine("greedy", study, {})

    assert caught.value.fix == "pip install 'tbss-hpc[engine]'"


def test_warps_tell_who_made_them(study: Study) -> None:
    assert held_engine(study) is None

    write_warp(study, "a_FA_to_b_FA_warp.nii.gz", "tbss-hpc greedy 1.4.0.3")

    assert held_engine(study) == "greedy"


def test_a_warp_that_is_not_ours_is_fsls(study: Study) -> None:
    write_warp(study, "a_FA_to_b_FA_warp.nii", "6.0.1")

    assert held_engine(study) == "fsl"


def test_empty_and_broken_warps_say_nothing(study: Study) -> None:
    Path(study.fa, "a_FA_to_b_FA_warp.nii.gz").touch()
    Path(study.fa, "b_FA_to_b_FA_warp.nii.gz").write_bytes(b"\x1f\x8bnonsense")

    assert held_engine(study) is None


def test_a_study_goes_on_with_the_engine_it_began_with(
    study: Study, fsl: dict[str, str], greedy_program: Path
) -> None:
    write_warp(study, "a_FA_to_b_FA_warp.nii.gz", "tbss-hpc greedy 1.4.0.3")

    assert find_engine(None, study, fsl).program == str(greedy_program)


def test_another_engine_than_the_one_held_is_refused(study: Study, fsl: dict[str, str]) -> None:
    write_warp(study, "a_FA_to_b_FA_warp.nii.gz", "tbss-hpc greedy 1.4.0.3")

    with pytest.raises(UsageError, match="made by greedy, and fsl was asked for"):
        find_engine("fsl", study, fsl)


def test_results_of_both_engines_in_one_study_are_refused(study: Study) -> None:
    write_warp(study, "a_FA_to_b_FA_warp.nii.gz", "tbss-hpc greedy 1.4.0.3")
    write_warp(study, "b_FA_to_a_FA_warp.nii.gz", "6.0.1")

    with pytest.raises(UsageError, match="results of both engines") as caught:
        held_engine(study)

    assert "b_FA_to_a_FA_warp.nii.gz is FSL's" in caught.value.why


@pytest.mark.parametrize(
    ("name", "output_type", "suffix"),
    [
        ("fsl", "NIFTI_GZ", ".nii.gz"),
        ("fsl", "NIFTI", ".nii"),
        ("fsl", "", ".nii.gz"),
        ("greedy", "NIFTI", ".nii.gz"),
    ],
)
def test_the_suffix_follows_fsls_setting(name: str, output_type: str, suffix: str) -> None:
    assert image_suffix(Engine(name, "/x", "1"), {"FSLOUTPUTTYPE": output_type}) == suffix


def test_images_in_two_files_are_refused() -> None:
    with pytest.raises(UsageError, match="two files"):
        image_suffix(Engine("fsl", "/x", "1"), {"FSLOUTPUTTYPE": "NIFTI_PAIR"})
