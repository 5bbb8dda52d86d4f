"""Proofs: only what can be read to its last byte counts."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbss_hpc.core.command import Check, Fingerprint, Output
from tbss_hpc.tbss.proof import Unproved, prove, still_proved, two_numbers


def image_bytes(kind: type = nib.Nifti1Image, dtype: str = "<f4") -> bytes:
    values = np.random.default_rng(1).integers(0, 90, (4, 5, 6)).astype(dtype)
    header = kind.header_class(endianness=dtype[0])  # type: ignore[attr-defined]
    return bytes(kind(values, np.eye(4), header).to_bytes())


def put(folder: Path, name: str, content: bytes) -> Output:
    (folder / name).write_bytes(content)
    suffix = name.partition(".")[2]
    kinds = {"nii.gz": Check.IMAGE, "nii": Check.IMAGE, "msf": Check.NUMBERS, "mat": Check.MATRIX}
    return Output(name, kinds.get(suffix, Check.GZIP if suffix == "gz" else Check.FILE))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<u1", ">i2", "<f8"])
def test_whole_images_are_proved(tmp_path: Path, kind: type, dtype: str) -> None:
    content = image_bytes(kind, dtype)

    for output in (
        put(tmp_path, "x.nii", content),
        put(tmp_path, "x.nii.gz", gzip.compress(content)),
    ):
        found = (tmp_path / output.path).stat()
        assert prove(output, tmp_path) == Fingerprint(
            output.path, found.st_size, found.st_mtime_ns, ""
        )


def test_bytes_beyond_the_voxels_are_allowed(tmp_path: Path) -> None:
    prove(put(tmp_path, "x.nii.gz", gzip.compress(image_bytes() + b"more")), tmp_path)


def broken_images() -> dict[str, bytes]:
    whole = image_bytes()
    packed = gzip.compress(whole)
    no_axes, wrong_type, far_voxels = bytearray(whole), bytearray(whole), bytearray(whole)
    no_axes[40:42] = b"\0\0"
    wrong_type[72:74] = b"\x10\0"
    far_voxels[108:112] = np.float32(-8).tobytes()
    return {
        "ends early": packed[:-9],
        "is damaged": packed[:-8] + b"\0" * 8,
        "header announces 832": gzip.compress(whole[:-1]),
        "does not begin with a NIfTI header": gzip.compress(b"hello" * 200),
        "impossible size": gzip.compress(no_axes),
        "unknown voxel type": gzip.compress(wrong_type),
        "places the voxels": gzip.compress(far_voxels),
        "magic number": gzip.compress(whole[:344] + b"ni1\0" + whole[348:]),
        "data is damaged (Not a gzipped file": whole,
        "is empty": b"",
    }


@pytest.mark.parametrize("why", broken_images())
def test_a_broken_image_is_not_proved_and_its_name_is_said(tmp_path: Path, why: str) -> None:
    output = put(tmp_path, "a_to_b_warp.nii.gz", broken_images()[why])

    with pytest.raises(Unproved) as caught:
        prove(output, tmp_path)

    assert str(caught.value).startswith("a_to_b_warp.nii.gz ")
    assert why in str(caught.value)


def test_a_plain_image_that_lacks_its_last_byte_is_not_proved(tmp_path: Path) -> None:
    with pytest.raises(Unproved, match="holds 831 bytes where its header announces 832"):
        prove(put(tmp_path, "x.nii", image_bytes()[:-1]), tmp_path)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_no_cut_of_a_gzipped_image_is_proved(tmp_path: Path, cut: int) -> None:
    with pytest.raises(Unproved):
        prove(put(tmp_path, "x.nii.gz", gzip.compress(image_bytes())[:-cut]), tmp_path)


@pytest.mark.parametrize("text", ["3.406729 1.030193 \n", "0.000000 0.000000 \n", "1 2"])
def test_two_finite_numbers_are_proved(tmp_path: Path, text: str) -> None:
    prove(put(tmp_path, "x.msf", text.encode()), tmp_path)


@pytest.mark.parametrize("text", ["", "1.0\n", "1 2 3", "nan 1", "1 inf", "a b", "1_0 2", "\xb2 1"])
def test_anything_else_in_an_msf_is_not_proved(tmp_path: Path, text: str) -> None:
    with pytest.raises(Unproved, match=r"x\.msf"):
        prove(put(tmp_path, "x.msf", text.encode("latin-1")), tmp_path)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats())
def test_two_numbers_are_read_as_they_are_written(first: float, second: float) -> None:
    finite = second == second and abs(second) != float("inf")  # noqa: PLR0124 - NaN is not itself

    assert two_numbers(f"{first!r} {second!r} \n") == (
        (repr(first), repr(second)) if finite else None
    )


def test_a_matrix_of_flirt_is_proved(tmp_path: Path) -> None:
    prove(put(tmp_path, "x.mat", b"1  0  0  2.5  \n0 1 0 0\n0 0 1 0\n0 0 0 1\n\n"), tmp_path)


@pytest.mark.parametrize("text", ["1 0 0 0\n" * 3, "1 0 0\n" * 4, "1 0 0 nan\n" * 4, "x"])
def test_no_other_matrix_is_proved(tmp_path: Path, text: str) -> None:
    with pytest.raises(Unproved, match="four rows of four"):
        prove(put(tmp_path, "x.mat", text.encode()), tmp_path)


def test_other_gzip_files_are_read_to_their_end(tmp_path: Path) -> None:
    content = gzip.compress(os.urandom(5000))
    prove(put(tmp_path, "x.gz", content), tmp_path)

    with pytest.raises(Unproved, match="ends early"):
        prove(put(tmp_path, "y.gz", content[:-1]), tmp_path)


def test_a_folder_a_dangling_link_a_pipe_and_nothing_are_not_proved(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")

    said = []
    for name in ("folder", "link", "pipe", "nothing", "folder/x"):
        with pytest.raises(Unproved) as caught:
            prove(Output(name, Check.FILE), tmp_path)
        said.append(str(caught.value))

    assert said == [
        "folder is a folder.",
        "link is a link that leads nowhere.",
        "pipe is not a regular file.",
        "nothing is missing.",
        "folder/x is missing.",
    ]


def test_an_absolute_path_is_proved_where_it_is(tmp_path: Path) -> None:
    output = put(tmp_path, "x.txt", b"x")

    proof = prove(Output(str(tmp_path / "x.txt"), output.check), Path("/"))

    assert proof.path == str(tmp_path / "x.txt")
    assert still_proved(proof, Path("/"))


def test_a_proof_holds_until_size_or_time_change(tmp_path: Path) -> None:
    output = put(tmp_path, "x.msf", b"1 2")
    proof = prove(output, tmp_path)
    assert still_proved(proof, tmp_path)

    os.utime(tmp_path / "x.msf", ns=(proof.mtime_ns, proof.mtime_ns + 1))
    assert not still_proved(proof, tmp_path)

    (tmp_path / "x.msf").write_bytes(b"1 23")
    os.utime(tmp_path / "x.msf", ns=(proof.mtime_ns, proof.mtime_ns))
    assert not still_proved(proof, tmp_path)

    (tmp_path / "x.msf").unlink()
    assert not still_proved(proof, tmp_path)
