"""Synthetic studies: laid out as tbss_1_preproc leaves one, the same for the same seed."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import nibabel as nib
import pytest

from tbss_hpc.errors import UsageError
from tbss_hpc.tbss.study import check_images, read_study
from tbss_hpc.tbss.synthetic import make_study, subject_names


def test_a_study_is_laid_out_as_tbss_1_preproc_leaves_one(tmp_path: Path) -> None:
    told: list[int] = []

    made = make_study(tmp_path / "study", subjects=5, voxel_mm=4, progress=told.append)

    study = read_study(tmp_path / "study")
    check_images(study)
    assert study.subjects == ("con_01_FA", "con_02_FA", "con_03_FA", "pat_01_FA", "pat_02_FA")
    assert made.subjects == study.subjects
    assert made.root == study.root
    assert told == [1, 2, 3, 4, 5]
    for name in ("FA/pat_01_FA_mask.nii.gz", "origdata/pat_01.nii.gz", ".tbsslog"):
        assert (tmp_path / "study" / name).is_file()


def test_maps_look_like_fa(tmp_path: Path) -> None:
    make_study(tmp_path, subjects=2, voxel_mm=4)
    image = nib.load(tmp_path / "FA" / "con_01_FA.nii.gz")
    values = image.get_fdata()

    assert image.shape == (45, 54, 45)
    assert image.header.get_zooms() == (4, 4, 4)
    assert values.min() == 0.0
    assert 0.6 < values.max() <= 1.0
    assert 0.1 < values[values > 0].mean() < 0.4
    assert not values[0].any()
    assert not values[:, :, -1].any()


def test_sizes_between_the_templates_are_resampled(tmp_path: Path) -> None:
    make_study(tmp_path, subjects=2, voxel_mm=3)
    image = nib.load(tmp_path / "FA" / "con_01_FA.nii.gz")

    assert image.shape == (60, 72, 60)
    assert image.header.get_zooms() == (3, 3, 3)
    assert 0.6 < image.get_fdata().max() <= 1.0


def test_the_same_seed_makes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        make_study(tmp_path / name, subjects=2, voxel_mm=4, seed=seed)
    one, same, other = (
        (tmp_path / name / "FA" / "pat_01_FA.nii.gz").read_bytes()
        for name in ("one", "same", "other")
    )

    assert one == same
    assert one != other


@pytest.mark.parametrize("seed", range(1, 4))
def test_the_planted_subject_is_neither_first_nor_last(tmp_path: Path, seed: int) -> None:
    made = make_study(tmp_path, subjects=4, voxel_mm=4, seed=seed)

    assert made.planted in made.subjects[1:-1]


def test_names_stay_in_order_above_ninety_nine() -> None:
    names = subject_names(230)

    assert names == sorted(names)
    assert names[0] == "con_001"
    assert names[-1] == "pat_115"


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()

    with pytest.raises(UsageError, match="nothing in it shall be overwritten"):
        make_study(tmp_path, subjects=2)


def test_other_voxel_sizes_are_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make_study(tmp_path, voxel_mm=1)

    assert caught.value.fix == "choose 2, 3 or 4"


def test_one_subject_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to register"):
        make_study(tmp_path, subjects=1)


def test_a_missing_extra_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_scipy(
        name: str,
        globals_: Mapping[str, object] | None = None,
        locals_: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, globals_, locals_, fromlist or (), level)

    monkeypatch.setattr(builtins, "__import__", without_scipy)

    with pytest.raises(UsageError) as caught:
        make_study(tmp_path, subjects=2)

    assert caught.value.fix == "pip install 'tbss-hpc[engine]'"
    assert list(tmp_path.iterdir()) == []
