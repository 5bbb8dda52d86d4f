"""Studies: which images count, and what is refused before anything runs."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tbss_hpc.errors import UsageError
from tbss_hpc.tbss.study import (
    check_images,
    find_study,
    fingerprint_images,
    read_study,
    stale_target,
)


def write_image(path: Path, shape: tuple[int, ...] = (4, 5, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(1).random(shape, dtype=np.float32)
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)


def study_of(root: Path, *names: str) -> Path:
    for name in names:
        write_image(root / "FA" / f"{name}.nii.gz")
    return root


def test_subjects_are_the_fa_images_in_bytewise_order(tmp_path: Path) -> None:
    study_of(tmp_path, "b_FA", "a_FA", "B_FA", "a_FA_mask", "a_FA_to_b_FA_warp")
    for leftover in ("a_FA_to_b_FA.mat", "a_FA_to_b_FA.log", "a_FA_to_b_FA_warp.msf"):
        (tmp_path / "FA" / leftover).touch()

    study = read_study(tmp_path)

    assert study.subjects == ("B_FA", "a_FA", "b_FA")
    assert study.images == ("B_FA.nii.gz", "a_FA.nii.gz", "b_FA.nii.gz")
    assert study.root == str(tmp_path)
    assert study.fa == str(tmp_path / "FA")


def test_a_study_is_found_by_its_folder_and_by_its_fa_folder(tmp_path: Path) -> None:
    study_of(tmp_path / "study", "a_FA", "b_FA")

    assert find_study(tmp_path / "study") == find_study(tmp_path / "study" / "FA")
    assert find_study(tmp_path / "study") is not None
    assert find_study(tmp_path) is None
    assert find_study(tmp_path / "nothing") is None


def test_a_link_to_a_study_keeps_its_own_name(tmp_path: Path) -> None:
    study_of(tmp_path / "real", "a_FA", "b_FA")
    (tmp_path / "link").symlink_to("real")

    assert read_study(tmp_path / "link").root == str(tmp_path / "link")


def test_a_folder_without_fa_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a TBSS study") as caught:
        read_study(tmp_path)

    assert "no folder FA" in caught.value.why
    assert "tbss_1_preproc" in caught.value.fix


@pytest.mark.parametrize("names", [(), ("a_FA",)])
def test_fewer_than_two_images_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    (tmp_path / "FA").mkdir()
    study_of(tmp_path, *names)

    with pytest.raises(UsageError, match="at least two subjects"):
        read_study(tmp_path)


@pytest.mark.parametrize("name", ["a b_FA", "a$x_FA", "a;b_FA", "-a_FA", "a{1,2}_FA", "a*_FA"])
def test_names_that_a_shell_would_take_apart_are_refused(tmp_path: Path, name: str) -> None:
    study_of(tmp_path, "ok_FA", name)

    with pytest.raises(UsageError, match="names that FSL's scripts cannot handle") as caught:
        read_study(tmp_path)

    assert name in caught.value.why


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    study_of(tmp_path, "ok_FA", "other_FA")
    bad = os.fsencode(tmp_path / "FA") + b"/\xff_FA.nii.gz"
    Path(os.fsdecode(bad)).write_bytes((tmp_path / "FA" / "ok_FA.nii.gz").read_bytes())

    with pytest.raises(UsageError, match="names that FSL's scripts cannot handle"):
        read_study(tmp_path)


def test_two_files_for_one_subject_are_refused(tmp_path: Path) -> None:
    study_of(tmp_path, "a_FA", "b_FA")
    write_image(tmp_path / "FA" / "a_FA.nii")

    with pytest.raises(UsageError, match="same subject") as caught:
        read_study(tmp_path)

    assert "a_FA.nii.gz" in caught.value.why
    assert "b_FA" not in caught.value.why


def test_images_in_two_files_are_refused(tmp_path: Path) -> None:
    study_of(tmp_path, "a_FA", "b_FA")
    (tmp_path / "FA" / "c_FA.hdr").touch()

    with pytest.raises(UsageError, match="NIfTI files of one piece"):
        read_study(tmp_path)


def test_results_that_tbss_would_take_for_subjects_are_refused(tmp_path: Path) -> None:
    study_of(tmp_path, "a_FA", "b_FA", "a_FA_to_b_FA")

    with pytest.raises(UsageError, match="results of a registration") as caught:
        read_study(tmp_path)

    assert "a_FA_to_b_FA" in caught.value.why


def test_sound_images_of_one_size_pass(tmp_path: Path) -> None:
    check_images(read_study(study_of(tmp_path, "a_FA", "b_FA")))


def test_the_image_of_another_size_is_named(tmp_path: Path) -> None:
    study_of(tmp_path, "a_FA", "c_FA")
    write_image(tmp_path / "FA" / "b_FA.nii.gz", (4, 5, 7))

    with pytest.raises(UsageError, match="not all have the same size") as caught:
        check_images(read_study(tmp_path))

    assert "2 images" in caught.value.why
    assert "b_FA.nii.gz: 4 x 5 x 7" in caught.value.why


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    study_of(tmp_path, "a_FA", "b_FA")
    image = tmp_path / "FA" / "b_FA.nii.gz"
    image.write_bytes(image.read_bytes()[:-20])

    with pytest.raises(UsageError, match="1 of 2 FA images") as caught:
        check_images(read_study(tmp_path))

    assert f"{image}: it is truncated" in caught.value.why


def test_an_image_of_four_dimensions_is_named(tmp_path: Path) -> None:
    study_of(tmp_path, "a_FA")
    write_image(tmp_path / "FA" / "b_FA.nii.gz", (4, 5, 6, 2))

    with pytest.raises(UsageError, match="1 of 2 FA images") as caught:
        check_images(read_study(tmp_path))

    assert "4 x 5 x 6 x 2" in caught.value.why


def test_an_image_that_may_not_be_an_image_is_named(tmp_path: Path) -> None:
    study_of(tmp_path, "a_FA")
    (tmp_path / "FA" / "b_FA.nii.gz").write_bytes(gzip.compress(b"hello"))

    with pytest.raises(UsageError) as caught:
        check_images(read_study(tmp_path))

    assert "does not begin with a NIfTI header" in caught.value.why


def test_a_target_of_an_earlier_choice_is_seen(tmp_path: Path) -> None:
    study_of(tmp_path, "a_FA", "b_FA", "target", "target_mask")

    assert stale_target(read_study(tmp_path)) == ("target.nii.gz", "target_mask.nii.gz")


def test_fingerprints_cover_images_and_masks_and_their_content(tmp_path: Path) -> None:
    study = read_study(study_of(tmp_path, "a_FA", "b_FA", "b_FA_mask"))
    image = tmp_path / "FA" / "a_FA.nii.gz"

    prints = fingerprint_images(study)

    assert sorted(prints) == ["a_FA.nii.gz", "b_FA.nii.gz", "b_FA_mask.nii.gz"]
    assert prints["a_FA.nii.gz"].size == image.stat().st_size
    assert prints["a_FA.nii.gz"].mtime_ns == image.stat().st_mtime_ns
    assert prints["a_FA.nii.gz"].digest == hashlib.sha256(image.read_bytes()).hexdigest()[:32]
