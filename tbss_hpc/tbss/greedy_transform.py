"""Greedy's transforms, written the way FSL writes its own.

Greedy finds a displacement `u` of the reference's points and an affine `A` from reference to
input: x goes to A(x + u). FNIRT stores a matrix M from input to reference, and a displacement `d`
that is added after the affine: x goes to inverse(M) x + d(x). With the two sides set equal,
M = inverse(A) and d = R u, where R is the 3x3 part of A. `d` is stored as coefficients of cubic
B-splines whose knots lie some 10 mm apart, as FNIRT's are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tbss_hpc.tbss.greedy_images import Array, Form, Image, nifti_bytes

_KNOT_DISTANCE_MM = 10.0
_CUBIC_SPLINE_COEFFICIENTS = 2007  #: intent by which FSL's programs know such a file
#: Keeps coefficients small that hardly touch the image; shifts the others by a thousandth.
_DAMPING = 1e-3


class Warp:
    """A displacement in the shape of cubic B-splines over a reference."""

    def __init__(self, reference: Image, displacement: Array) -> None:
        """Fit splines to a displacement (x, y, z, 3) in mm, axis by axis, by least squares."""
        self.reference = reference
        self.knots = tuple(knot_distance(size) for size in reference.spacing)
        shape = reference.voxels.shape
        self._bases = [basis(n, k) for n, k in zip(shape, self.knots, strict=True)]
        self.coefficients = _along_axes([_inverse(b) for b in self._bases], displacement)

    def displacement(self) -> Array:
        """Evaluate the splines at every voxel of the reference."""
        return _along_axes(self._bases, self.coefficients)

    def nifti(self, matrix: Array, description: str) -> bytes:
        """Give the file that FNIRT would write.

        matrix -- from input to reference, FSL's millimetres; it goes where others keep the sform.
        """
        form = Form(
            pixdim=[float(knot) for knot in self.knots],
            sform=matrix,
            qform_offset=[float(n) for n in self.reference.voxels.shape],
            intent=_CUBIC_SPLINE_COEFFICIENTS,
            intent_parameters=self.reference.spacing,
            description=description,
        )
        return nifti_bytes(self.coefficients, form)


def fsl_displacement(field: Array, affine: Array) -> Array:
    """Turn greedy's displacement, before the affine, into FNIRT's, after it.

    field -- (x, y, z, 1, 3), mm; greedy's x and y point the other way.
    affine -- from reference to input, FSL's millimetres.
    """
    before = field.reshape(*field.shape[:3], 3) * np.array([-1.0, -1.0, 1.0])
    after: Array = before @ affine[:3, :3].T
    return after


def mean_and_median_square(displacement: Array, mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Give mean and median, over a mask, of the squared displacement averaged over x, y and z.

    The median is not interpolated: fslstats takes one of the sorted values.
    """
    squares = np.sort((displacement[mask] ** 2).mean(axis=-1))
    return float(squares.mean()), float(squares[min(int(squares.size * 0.5), squares.size - 1)])


def matrix_text(matrix: Array) -> str:
    """Write a matrix as flirt does."""
    rows = ("  ".join(f"{value:.10g}" for value in row) for row in matrix)
    return "".join(f"{row}  \n" for row in rows)


def knot_distance(voxel_mm: float) -> int:
    """Give the distance of knots, in voxels: some 10 mm."""
    return max(1, math.floor(_KNOT_DISTANCE_MM / voxel_mm + 0.5))


def basis(voxels: int, knots: int) -> Array:
    """Give the value of each spline (column) at each voxel (row) along one axis.

    The first spline sits one knot before the first voxel; there are as many as FNIRT has.
    """
    count = math.ceil((voxels + 1) / knots) + 2
    distance = np.arange(voxels)[:, None] / knots - (np.arange(count)[None, :] - 1)
    return _cubic(np.abs(distance))


def _cubic(distance: Array) -> Array:
    """Evaluate the cubic B-spline at a distance from its middle, in knots."""
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, inner, outer)


def _inverse(matrix: Array) -> Array:
    """Give the matrix that turns values into the coefficients that fit them best."""
    normal = matrix.T @ matrix + _DAMPING * np.eye(matrix.shape[1])
    solved: Array = np.linalg.solve(normal, matrix.T).astype(np.float64)
    return solved


def _along_axes(matrices: list[Array], values: Array) -> Array:
    """Apply one matrix along each of the first three axes."""
    for axis, matrix in enumerate(matrices):
        values = np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
    return values
