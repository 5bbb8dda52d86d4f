"""The greedy engine: its files are FSL's, read by fslpy as FSL would read them."""

from __future__ import annotations

import gzip
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from fsl.data.image import Image
from fsl.transform import affine as fsl_affine
from fsl.transform import fnirt, nonlinear
from picsl_greedy import Greedy3D

import tbss_hpc
from tbss_hpc.tbss import greedy_program
from tbss_hpc.tbss.engine import held_engine
from tbss_hpc.tbss.greedy_images import find_image, read_image, write_for_greedy
from tbss_hpc.tbss.greedy_program import main
from tbss_hpc.tbss.greedy_transform import (
    Warp,
    basis,
    fsl_displacement,
    knot_distance,
    mean_and_median_square,
)
from tbss_hpc.tbss.nifti import read_header
from tbss_hpc.tbss.pairs import pair_outputs, pairs_of
from tbss_hpc.tbss.proof import prove
from tbss_hpc.tbss.study import read_study
from tbss_hpc.tbss.synthetic import make_study
from tbss_hpc.tbss.target import score

PAIR = "pat_01_FA_to_con_02_FA"
ARGUMENTS = ("pat_01_FA", "con_02_FA", PAIR, "-e", "-FA")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(tbss_hpc.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-m", "tbss_hpc.tbss.greedy_program", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def correlation(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    return float(np.corrcoef(one[mask], other[mask])[0, 1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the FA folder of a study in which one pair was registered."""
    root = tmp_path_factory.mktemp("study")
    make_study(root, subjects=3, voxel_mm=4)
    done = run(root / "FA", *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    return root / "FA"


def test_it_leaves_the_files_of_fsl_reg_and_nothing_else(folder: Path) -> None:
    left = sorted(path.name for path in folder.iterdir() if "_to_" in path.name)

    assert left == [
        f"{PAIR}.log",
        f"{PAIR}.mat",
        f"{PAIR}_warp.msf",
        f"{PAIR}_warp.nii.gz",
    ]
    for output in pair_outputs(PAIR):
        prove(output, folder)


def test_fslpy_moves_the_input_by_the_warp_as_greedy_itself_does(
    folder: Path, tmp_path: Path
) -> None:
    given, reference = Image(str(folder / "pat_01_FA")), Image(str(folder / "con_02_FA"))
    warp = fnirt.readFnirt(str(folder / f"{PAIR}_warp"), given, reference)
    field = nonlinear.coefficientFieldToDeformationField(warp)
    mask = reference.data > 0

    moved = nonlinear.applyDeformation(given, field)
    theirs = moved_by_greedy(folder, tmp_path)

    assert warp.fieldType == "cubic"
    assert correlation(given.data, reference.data, mask) < 0.8
    assert correlation(moved, reference.data, mask) > (
        correlation(theirs, reference.data, mask) - 0.003
    )
    assert correlation(moved, theirs, mask) > 0.995


def moved_by_greedy(folder: Path, scratch: Path) -> np.ndarray:
    given = read_image(folder / "pat_01_FA.nii.gz")
    reference = read_image(folder / "con_02_FA.nii.gz")
    write_for_greedy(scratch / "given.nii", given)
    write_for_greedy(scratch / "reference.nii", reference)
    greedy_program._run_greedy(scratch)
    Greedy3D().execute(
        f"-V 0 -threads 1 -rf {scratch}/reference.nii -rm {scratch}/given.nii {scratch}/moved.nii"
        f" -r {scratch}/warp.nii {scratch}/affine.mat"
    )
    return read_image(scratch / "moved.nii").voxels


def test_a_warp_sends_every_point_where_displacement_and_affine_send_it(tmp_path: Path) -> None:
    shape, spacing = (20, 24, 18), (4.0, 3.0, 5.0)
    path = tmp_path / "reference.nii"
    nib.save(nib.Nifti1Image(np.ones(shape), np.diag([*spacing, 1.0])), path)
    reference = read_image(path)
    turned = np.array([[0.6, -0.8, 0, 70], [0.9, 0.5, 0.1, -20], [0, 0.1, 1.1, 3], [0, 0, 0, 1]])
    points = np.moveaxis(np.indices(shape), 0, -1) @ reference.affine[:3, :3].T
    points += reference.affine[:3, 3]
    shift = np.sin(points[..., [1, 2, 0]] / 25) * [3.0, -2.0, 4.0]
    as_greedy_writes = (shift * [-1.0, -1.0, 1.0])[:, :, :, None, :]

    warp = Warp(reference, fsl_displacement(as_greedy_writes, turned))
    (tmp_path / "warp.nii").write_bytes(warp.nifti(np.linalg.inv(turned), "test"))

    image = Image(str(path))
    read = fnirt.readFnirt(str(tmp_path / "warp"), image, image)
    ends = nonlinear.coefficientFieldToDeformationField(read, "absolute").data
    expected = (points + shift) @ turned[:3, :3].T + turned[:3, 3]
    assert np.abs(ends - expected)[2:-2, 2:-2, 2:-2].max() < 0.15


def test_the_warp_holds_the_affine_that_the_matrix_file_holds(folder: Path) -> None:
    matrix = np.loadtxt(folder / f"{PAIR}.mat")
    header = nib.load(folder / f"{PAIR}_warp.nii.gz").header

    assert header["intent_code"] == 2007
    assert header.get_sform() == pytest.approx(matrix, abs=1e-5)
    assert header["descrip"].item().startswith(b"tbss-hpc greedy ")
    assert (header["qoffset_x"], header["qoffset_y"], header["qoffset_z"]) == (45, 54, 45)


def test_the_matrix_alone_goes_from_input_to_reference_as_flirts_does(folder: Path) -> None:
    given, reference = Image(str(folder / "pat_01_FA")), Image(str(folder / "con_02_FA"))
    matrix = np.loadtxt(folder / f"{PAIR}.mat")
    field = nonlinear.DeformationField(
        fsl_affine.transform(grid(reference), np.linalg.inv(matrix)).reshape(*reference.shape, 3),
        src=given,
        ref=reference,
        srcSpace="fsl",
        refSpace="fsl",
        defType="absolute",
        header=reference.header,
    )
    mask = reference.data > 0

    moved = nonlinear.applyDeformation(given, field)

    assert correlation(moved, reference.data, mask) > 0.85


def grid(image: Image) -> np.ndarray:
    voxels = np.indices(image.shape).reshape(3, -1).T
    return np.asarray(fsl_affine.transform(voxels, image.getAffine("voxel", "fsl")))


def test_the_score_is_that_of_the_displacement_in_the_warp_file(folder: Path) -> None:
    given, reference = Image(str(folder / "pat_01_FA")), Image(str(folder / "con_02_FA"))
    warp = fnirt.readFnirt(str(folder / f"{PAIR}_warp"), given, reference)
    field = nonlinear.coefficientFieldToDeformationField(warp, premat=False)
    mean, median = mean_and_median_square(field.data, reference.data > 0)

    written = (folder / f"{PAIR}_warp.msf").read_text()

    assert written == f"{mean:.6f} {median:.6f} \n"


def test_the_same_images_give_the_same_bytes(folder: Path) -> None:
    names = [f"{PAIR}.mat", f"{PAIR}_warp.nii.gz", f"{PAIR}_warp.msf", f"{PAIR}.log"]
    before = [(folder / name).read_bytes() for name in names]

    assert run(folder, *ARGUMENTS).returncode == 0
    assert [(folder / name).read_bytes() for name in names] == before


def test_an_image_registered_to_itself_does_not_move(folder: Path) -> None:
    name = "con_01_FA_to_con_01_FA"
    assert run(folder, "con_01_FA", "con_01_FA", name, "-e", "-FA").returncode == 0

    assert (folder / f"{name}_warp.msf").read_text() == "0.000000 0.000000 \n"
    assert np.loadtxt(folder / f"{name}.mat").tolist() == np.eye(4).tolist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (ARGUMENTS[:4], ""),
        (("a", "b"), "Three names are needed"),
        ((*ARGUMENTS, "-flirt"), "An option is not known"),
        (ARGUMENTS[:3], "Only estimates"),
    ],
)
def test_arguments_other_than_fsl_regs_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    ended = run(tmp_path, *arguments)

    assert ended.returncode == (2 if said else 1)
    assert said in ended.stderr


def test_a_missing_image_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    ended = run(tmp_path, *ARGUMENTS)

    assert ended.returncode == 1
    assert ended.stderr == ("tbss-hpc-greedy: there is no image pat_01_FA (with .nii.gz or .nii)\n")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_image_is_one_sentence_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    for name in ("pat_01_FA.nii.gz", "con_02_FA.nii.gz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes()[:-5])

    ended = run(tmp_path, *ARGUMENTS)

    assert ended.returncode == 1
    assert ended.stderr == (
        "tbss-hpc-greedy: pat_01_FA.nii.gz cannot be used:"
        " it is truncated: the compressed data ends early.\n"
    )
    assert len(list(tmp_path.iterdir())) == 2


def test_an_empty_image_is_refused(folder: Path, tmp_path: Path) -> None:
    image = nib.load(folder / "con_02_FA.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros(image.shape), image.affine), tmp_path / "pat_01_FA.nii")

    ended = run(tmp_path, *ARGUMENTS)

    assert ended.returncode == 1
    assert "pat_01_FA.nii holds no voxel above 0" in ended.stderr


def test_all_to_all_finds_the_planted_subject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_study(tmp_path, subjects=3, voxel_mm=4, seed=3)
    study = read_study(tmp_path)
    monkeypatch.chdir(study.fa)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for pair in pairs_of(study):
        assert main([pair.input, pair.reference, pair.name, "-e", "-FA"]) == 0

    assert score(study).best == made.planted
    assert held_engine(study) == "greedy"


def fixture_of_fslpy() -> Path:
    spec = importlib.util.find_spec("fsl")
    assert spec is not None
    assert spec.submodule_search_locations
    home = Path(next(iter(spec.submodule_search_locations)))
    return home / "tests" / "test_transform" / "testdata" / "nonlinear"


needs_fixture = pytest.mark.skipif(
    not (fixture_of_fslpy() / "coefficientfield.nii.gz").exists(),
    reason="this fslpy came without its test data",
)


@needs_fixture
def test_mean_and_median_are_those_of_fslstats_for_a_genuine_warp() -> None:
    coefficients = nib.load(fixture_of_fslpy() / "coefficientfield.nii.gz").get_fdata()

    mean, median = mean_and_median_square(coefficients, (coefficients != 0).any(axis=-1))

    assert f"{mean:.6f} {median:.6f} \n" == "3.406729 1.030193 \n"


@needs_fixture
def test_a_genuine_warp_is_read_as_fslpy_reads_it() -> None:
    home = fixture_of_fslpy()
    source, reference = Image(str(home / "src")), Image(str(home / "ref"))
    field = fnirt.readFnirt(str(home / "coefficientfield"), source, reference)
    theirs = field.displacements(np.indices(reference.shape).reshape(3, -1).T)

    x, y, z = (basis(n, 5) for n in reference.shape)
    ours = np.einsum("ai,bj,ck,ijkd->abcd", x, y, z, field.data)

    assert ours.reshape(-1, 3) == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize(
    ("voxels", "millimetres", "splines"),
    [(182, 1.0, 21), (218, 1.0, 24), (18, 2.0, 6), (54, 2.0, 13), (23, 2.0, 7)],
)
def test_there_are_as_many_splines_as_fnirt_has(
    voxels: int, millimetres: float, splines: int
) -> None:
    assert basis(voxels, knot_distance(millimetres)).shape == (voxels, splines)


@pytest.mark.parametrize("from_left", [True, False])
def test_millimetres_are_fsls_for_either_storage_order(tmp_path: Path, *, from_left: bool) -> None:
    affine = np.diag([2.0 if from_left else -2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = (-90, 12, 7)
    nib.save(nib.Nifti1Image(np.ones((5, 6, 7), dtype=np.float32), affine), tmp_path / "x.nii.gz")

    image = read_image(find_image("x", tmp_path))

    assert image.from_left == from_left
    assert image.affine == pytest.approx(
        Image(str(tmp_path / "x.nii.gz")).getAffine("voxel", "fsl")
    )


def test_voxels_are_scaled_as_nibabel_scales_them(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    image = nib.Nifti1Image(values, np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "x.nii.gz")

    assert read_image(tmp_path / "x.nii.gz").voxels == pytest.approx(
        nib.load(tmp_path / "x.nii.gz").get_fdata()
    )


def test_gzip_headers_carry_no_time(folder: Path) -> None:
    packed = (folder / f"{PAIR}_warp.nii.gz").read_bytes()

    assert packed[4:8] == b"\0\0\0\0"
    assert len(gzip.decompress(packed)) == read_header(folder / f"{PAIR}_warp.nii.gz").bytes_needed
