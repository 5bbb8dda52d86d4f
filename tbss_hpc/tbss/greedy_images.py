"""Images as the greedy engine reads and writes them: numpy arrays in FSL's millimetres.

FSL places a voxel by its size alone: millimetres are voxel numbers times voxel size, counted from
the other end of x if the image is stored from left to right. What qform and sform say of scanner
or template space plays no part. The engine shows its images to greedy in the same millimetres.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tbss_hpc.tbss.nifti import SUFFIXES, Header, NotAnImageError, parse_header

Array = NDArray[np.float64]

_DIMENSIONS = 3
_HEADER_BYTES = 348
_OFFSET = 352
_FLOAT32 = (16, 32)  #: NIfTI's code, and bits
_MILLIMETRES = 2
_SCANNER = 1  #: code for qform and sform
_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}


class Image(Struct, frozen=True):
    """A 3D image and where its voxels lie in FSL's millimetres."""

    voxels: Array
    spacing: tuple[float, float, float]  #: mm
    from_left: bool

    @property
    def affine(self) -> Array:
        """The matrix from voxel numbers to FSL's millimetres."""
        affine = np.diag([*self.spacing, 1.0])
        if self.from_left:
            affine[0] = [-self.spacing[0], 0.0, 0.0, (self.voxels.shape[0] - 1) * self.spacing[0]]
        return affine


class Form(Struct, frozen=True):
    """The parts of a NIfTI header that differ between what we write."""

    pixdim: Sequence[float]
    sform: Array
    qform_offset: Sequence[float] = (0.0, 0.0, 0.0)
    intent: int = 0
    intent_parameters: Sequence[float] = (0.0, 0.0, 0.0)
    description: str = ""
    turned: bool = False  #: the sform mirrors space


def find_image(name: str, folder: Path) -> Path:
    """Find an image by its name without suffix, as FSL's programs do."""
    candidates = [folder / f"{name}{suffix}" for suffix in SUFFIXES] + [folder / name]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        message = f"there is no image {name} (with .nii.gz or .nii)"
        raise FileNotFoundError(message)
    return found


def read_image(path: Path) -> Image:
    """Read a 3D image; what is not finite counts as 0."""
    header, voxels = read_voxels(path)
    while voxels.ndim > _DIMENSIONS and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != _DIMENSIONS:
        message = f"it is not one 3D image: its size is {voxels.shape}"
        raise NotAnImageError(message)
    x, y, z = header.spacing[:_DIMENSIONS]
    return Image(np.nan_to_num(voxels, posinf=0.0, neginf=0.0), (x, y, z), header.from_left)


def read_voxels(path: Path) -> tuple[Header, Array]:
    """Read all voxels of a NIfTI file, scaled as its header says."""
    content = path.read_bytes()
    if path.name.endswith(".gz"):
        content = _unpack(content)
    header = parse_header(content[:540])
    if header.datatype not in _TYPES:
        message = f"its voxels are of a type that is not supported (code {header.datatype})"
        raise NotAnImageError(message)
    if len(content) < header.bytes_needed:
        message = "it is truncated"
        raise NotAnImageError(message)
    raw = np.frombuffer(
        content,
        np.dtype(_TYPES[header.datatype]).newbyteorder("<" if header.order == "<" else ">"),
        count=int(np.prod(header.shape)),
        offset=header.offset,
    )
    voxels = raw.reshape(header.shape, order="F").astype(np.float64)
    if header.slope not in (0.0, 1.0) or header.intercept != 0.0:
        voxels = _scale(voxels, header)
    return header, voxels


def nifti_bytes(voxels: Array, form: Form) -> bytes:
    """Put an array and the header that describes it together, as 32-bit NIfTI."""
    dim = [voxels.ndim, *voxels.shape, *[1] * (7 - voxels.ndim)]
    pixdim = [-1.0 if form.turned else 1.0, *form.pixdim, *[1.0] * (7 - len(form.pixdim))]
    head = bytearray(_OFFSET)
    fields: list[tuple[int, str, Sequence[float]]] = [
        (0, "i", [_HEADER_BYTES]),
        (40, "8h", dim),
        (56, "3f", form.intent_parameters),
        (68, "3h", [form.intent, *_FLOAT32]),
        (76, "8f", pixdim),
        (108, "3f", [_OFFSET, 1.0, 0.0]),
        (252, "2h", [_SCANNER, _SCANNER]),
        (268, "3f", form.qform_offset),
        (280, "12f", form.sform[:3].ravel().tolist()),
    ]
    for offset, code, values in fields:
        struct.pack_into("<" + code, head, offset, *values)
    head[38:39] = b"r"
    head[123] = _MILLIMETRES
    head[148 : 148 + 79] = form.description.encode("latin-1", "replace")[:79].ljust(79, b"\0")
    head[344:348] = b"n+1\0"
    return bytes(head) + voxels.astype("<f4").tobytes(order="F")


def write_for_greedy(path: Path, image: Image) -> None:
    """Write an image whose scanner space is FSL's millimetres."""
    affine = image.affine
    form = Form(
        pixdim=image.spacing,
        sform=affine,
        qform_offset=affine[:3, 3].tolist(),
        turned=image.from_left,
    )
    path.write_bytes(nifti_bytes(image.voxels, form))


def pack(content: bytes) -> bytes:
    """Compress so that the same content always gives the same bytes: no name, no time."""
    return gzip.compress(content, compresslevel=6, mtime=0)


def _unpack(content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except EOFError:
        message = "it is truncated: the compressed data ends early"
        raise NotAnImageError(message) from None


def _scale(voxels: Array, header: Header) -> Array:
    if header.slope == 0.0 or not np.isfinite([header.slope, header.intercept]).all():
        return voxels
    return voxels * header.slope + header.intercept
