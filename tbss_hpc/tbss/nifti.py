"""What a NIfTI file says of itself, read with the standard library only.

Workers prove thousands of images; this way they start without numpy and nibabel.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from typing import IO, TYPE_CHECKING, cast

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The suffixes of images in one file, the longer first.
SUFFIXES = (".nii.gz", ".nii")

_CHUNK_BYTES = 1 << 20
_LONGEST_HEADER_BYTES = 540
#: Bits of one voxel by NIfTI datatype code.
_BITS = {
    2: 8,
    4: 16,
    8: 32,
    16: 32,
    32: 64,
    64: 64,
    128: 24,
    256: 8,
    512: 16,
    768: 32,
    1024: 64,
    1280: 64,
    1536: 128,
    1792: 128,
    2048: 256,
    2304: 32,
}


class NotAnImageError(Exception):
    """The bytes are no complete NIfTI image; the text says why, without the file's name."""


class Header(Struct, frozen=True):
    """The fields of a NIfTI header that we use."""

    shape: tuple[int, ...]
    datatype: int  #: NIfTI's code
    bits: int  #: of one voxel
    offset: int  #: of the first voxel, bytes
    order: str  #: `<` or `>`, as `struct` and numpy name the byte order
    spacing: tuple[float, ...]  #: voxel size, mm, one for each axis of `shape`
    slope: float  #: 0 means that voxels are not scaled
    intercept: float
    intent: int
    description: str
    #: Stored left to right ("neurological"): FSL counts its millimetres from the other end of x.
    from_left: bool

    @property
    def bytes_needed(self) -> int:
        """Size of the smallest complete file with this header."""
        voxels = 1
        for length in self.shape:
            voxels *= length
        return self.offset + (voxels * self.bits + 7) // 8


class _Layout(Struct, frozen=True):
    """Where one version of NIfTI keeps its fields: offset and `struct` code."""

    length: int  #: of the header, bytes
    magic: tuple[int, bytes]
    dim: tuple[int, str]
    datatype: int
    bits: int
    pixdim: tuple[int, str]
    offset: tuple[int, str]
    scaling: tuple[int, str]
    description: int
    intent: tuple[int, str]
    form_codes: tuple[int, str]
    rows: tuple[int, str]


_NIFTI_1 = _Layout(
    length=348,
    magic=(344, b"n+1\0"),
    dim=(40, "8h"),
    datatype=70,
    bits=72,
    pixdim=(76, "8f"),
    offset=(108, "f"),
    scaling=(112, "2f"),
    description=148,
    intent=(68, "h"),
    form_codes=(252, "2h"),
    rows=(280, "12f"),
)
_NIFTI_2 = _Layout(
    length=540,
    magic=(4, b"n+2\0"),
    dim=(16, "8q"),
    datatype=12,
    bits=14,
    pixdim=(104, "8d"),
    offset=(168, "q"),
    scaling=(176, "2d"),
    description=240,
    intent=(504, "i"),
    form_codes=(344, "2i"),
    rows=(400, "12d"),
)


def stem(name: str) -> str | None:
    """Give the name of an image file without its suffix; None for any other file."""
    return next((name.removesuffix(s) for s in SUFFIXES if name.endswith(s)), None)


def read_header(path: Path) -> Header:
    """Read an image's header, and nothing after it."""
    with path.open("rb") as file:
        return parse_header(_first_bytes(file, gzipped=path.name.endswith(".gz")))


def read_through(file: IO[bytes], *, gzipped: bool) -> Header:
    """Read an image's header and make sure that all of its voxels are there.

    A gzipped file is decompressed to its end, which also verifies its checksum.
    """
    if gzipped:
        head, size = _drain(file)
    else:
        head, size = file.read(_LONGEST_HEADER_BYTES), file.seek(0, 2)
    header = parse_header(head)
    if size < header.bytes_needed:
        message = f"it holds {size} bytes where its header announces {header.bytes_needed}"
        raise NotAnImageError(message)
    return header


def unpacked(file: IO[bytes]) -> Iterator[bytes]:
    """Yield what a gzip file holds, piece by piece, to its very end."""
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            while piece := stream.read(_CHUNK_BYTES):
                yield piece
    except EOFError:
        message = "it is truncated: the compressed data ends early"
        raise NotAnImageError(message) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        message = f"its compressed data is damaged ({error})"
        raise NotAnImageError(message) from error


def parse_header(head: bytes) -> Header:
    """Understand the first bytes of a NIfTI file, version 1 or 2, of either byte order."""
    layout, order = _layout_of(head)
    if _text_at(head, layout.magic[0], 4) != layout.magic[1]:
        message = "it is not a NIfTI file in one piece (its magic number is missing)"
        raise NotAnImageError(message)

    def field(place: tuple[int, str]) -> tuple[float, ...]:
        return struct.unpack_from(order + place[1], head, place[0])

    shape = _shape(field(layout.dim))
    pixdim = field(layout.pixdim)
    slope, intercept = field(layout.scaling)
    return Header(
        shape=shape,
        datatype=int(field((layout.datatype, "h"))[0]),
        bits=_bits(*field((layout.datatype, "h")), *field((layout.bits, "h"))),
        offset=_offset(field(layout.offset)[0], layout),
        order=order,
        spacing=tuple(abs(size) for size in pixdim[1 : len(shape) + 1]),
        slope=slope,
        intercept=intercept,
        intent=int(field(layout.intent)[0]),
        description=_text_at(head, layout.description, 80).split(b"\0")[0].decode("latin-1"),
        from_left=_from_left(field(layout.form_codes), pixdim[0], field(layout.rows)),
    )


def _first_bytes(file: IO[bytes], *, gzipped: bool) -> bytes:
    if not gzipped:
        return file.read(_LONGEST_HEADER_BYTES)
    unpacker = zlib.decompressobj(wbits=31)
    try:
        return unpacker.decompress(file.read(1 << 16), _LONGEST_HEADER_BYTES)
    except zlib.error as error:
        message = f"its compressed data is damaged ({error})"
        raise NotAnImageError(message) from error


def _drain(file: IO[bytes]) -> tuple[bytes, int]:
    """Read a gzip file to its end; give its first bytes and the size of what it holds."""
    head, size = b"", 0
    for piece in unpacked(file):
        if len(head) < _LONGEST_HEADER_BYTES:
            head += piece[:_LONGEST_HEADER_BYTES]
        size += len(piece)
    return head, size


def _layout_of(head: bytes) -> tuple[_Layout, str]:
    for layout in (_NIFTI_1, _NIFTI_2):
        for order in "<>":
            if head[:4] == struct.pack(order + "i", layout.length):
                if len(head) < layout.length:
                    break
                return layout, order
    message = "it does not begin with a NIfTI header"
    raise NotAnImageError(message)


def _text_at(head: bytes, offset: int, length: int) -> bytes:
    return head[offset : offset + length]


def _shape(dim: tuple[float, ...]) -> tuple[int, ...]:
    count = int(dim[0])
    shape = tuple(int(length) for length in dim[1 : count + 1])
    if not 1 <= count <= 7 or min(shape) < 1:  # noqa: PLR2004 - NIfTI has at most 7 axes
        message = f"its header announces an impossible size ({count} axes, {shape})"
        raise NotAnImageError(message)
    return shape


def _bits(datatype: float, bits: float) -> int:
    if _BITS.get(cast("int", datatype)) != bits:
        message = f"its header names an unknown voxel type ({datatype} with {bits} bits)"
        raise NotAnImageError(message)
    return int(bits)


def _offset(offset: float, layout: _Layout) -> int:
    # 0 is what some programs write for "right behind the header".
    if offset == 0:
        return layout.length + 4
    if not layout.length <= offset < 1 << 40:
        message = f"its header places the voxels at byte {offset}"
        raise NotAnImageError(message)
    return int(offset)


def _from_left(codes: tuple[float, ...], qfac: float, rows: tuple[float, ...]) -> bool:
    """Say whether x runs from left to right: sform first, then qform, as FSL decides it."""
    qform_code, sform_code = codes
    if sform_code > 0:
        (a, b, c), (d, e, f), (g, h, i) = rows[0:3], rows[4:7], rows[8:11]
        return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0
    return qform_code > 0 and qfac >= 0
