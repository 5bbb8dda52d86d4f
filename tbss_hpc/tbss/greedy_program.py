"""The program tbss-hpc-greedy: registers one pair, in the place of FSL's fsl_reg.

It takes the arguments with which tbss_2_reg calls fsl_reg, and leaves the same files:

G_to_F.mat          the affine from input to reference, as flirt writes it
G_to_F_warp.nii.gz  spline coefficients of the displacement, as fnirt writes them
G_to_F.log          with which settings this was done
G_to_F_warp.msf     mean and median, over the voxels where the reference's FA is above 0, of the
                    squared displacement averaged over x, y and z, in mm^2

The displacement is the one that the warp file holds, affine excluded. fsl_reg takes the mean of
the squared *coefficients* instead, and fnirt regularises otherwise: the numbers rank references
within a study that one engine registered, and must not be compared with FNIRT's.

An image that is registered to itself is not moved at all: zero is the right answer.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from tbss_hpc.errors import ExitCode, UsageError
from tbss_hpc.tbss.engine import GREEDY_MARK, INSTALL_EXTRA
from tbss_hpc.tbss.nifti import NotAnImageError

if TYPE_CHECKING:
    from tbss_hpc.tbss.greedy_images import Array, Image

_USAGE = "usage: tbss-hpc-greedy INPUT REFERENCE OUTPUT -e [-FA]"
_FAILED = 1
_NAMES = 3
#: A slot is one CPU. Without a seed greedy starts from a random place.
_ALWAYS = "-threads 1 -seed 1 -V 0"
#: With mutual information and fewer iterations it stops early now and then (measured at 4 mm: mean
#: squared warps of 2.7 instead of 0.4 mm^2), and the displacement makes up for the affine.
_AFFINE = "-a -dof 12 -ia-image-centers -n 100x60x15 -m NCC 2x2x2"
_DEFORMABLE = "-n 40x20x8 -m SSD -s 3vox 1vox -wp 0"
#: Goes to the log before greedy's own words, which would alarm whoever reads them.
_NOTE = "(greedy says LINE SEARCH FAILED where its search ends early; the result counts.)\n"
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


class _Request(Struct, frozen=True):
    """What fsl_reg's arguments ask for."""

    input: str
    reference: str
    output: str


class RegistrationError(Exception):
    """A pair could not be registered; the text is one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Register one pair; the exit code is 0, 1 for a failure, 2 for wrong arguments."""
    # numpy and ITK read these when they are loaded.
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        _register(_parse(sys.argv[1:] if arguments is None else arguments))
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.USAGE
    except (RegistrationError, OSError) as error:
        sys.stderr.write(f"tbss-hpc-greedy: {error}\n")
        return _FAILED
    return ExitCode.DONE


def _parse(arguments: Sequence[str]) -> _Request:
    names, options = arguments[:_NAMES], arguments[_NAMES:]
    unknown = [option for option in options if option not in ("-e", "-FA")]
    if len(names) < _NAMES or any(name.startswith("-") for name in names):
        raise UsageError("Three names are needed.", why=" ".join(arguments), fix=_USAGE)
    if unknown:
        raise UsageError("An option is not known.", why=" ".join(unknown), fix=_USAGE)
    if "-e" not in options:
        raise UsageError("Only estimates are made here; resampling is not.", fix=_USAGE)
    return _Request(*names)


def _register(request: _Request) -> None:
    """Read, register, and leave the results under their final names only when all are there."""
    from tbss_hpc.tbss import greedy_transform  # noqa: PLC0415 - after the threads are set

    given, reference = _read(request.input), _read(request.reference)
    affine, field = _estimate(request, given, reference)
    warp = greedy_transform.Warp(reference, greedy_transform.fsl_displacement(field, affine))
    matrix = _inverse(affine)
    scores = greedy_transform.mean_and_median_square(warp.displacement(), reference.voxels > 0)
    mark = f"{GREEDY_MARK} {_version()}"
    _leave(
        request.output,
        {
            ".mat": greedy_transform.matrix_text(matrix).encode(),
            ".log": _log(request, mark).encode(),
            "_warp.nii.gz": _packed(warp.nifti(matrix, mark)),
            "_warp.msf": "{:.6f} {:.6f} \n".format(*scores).encode(),
        },
    )


def _read(name: str) -> Image:
    from tbss_hpc.tbss.greedy_images import find_image, read_image  # noqa: PLC0415 - see above

    path = find_image(name, Path())
    try:
        image = read_image(path)
    except NotAnImageError as error:
        message = f"{path} cannot be used: {error}."
        raise RegistrationError(message) from error
    if not (image.voxels > 0).any():
        message = f"{path} holds no voxel above 0."
        raise RegistrationError(message)
    return image


def _estimate(request: _Request, given: Image, reference: Image) -> tuple[Array, Array]:
    """Give greedy's affine from reference to input, and its displacement before that."""
    import numpy as np  # noqa: PLC0415 - after the threads are set

    if request.input == request.reference:
        return np.eye(4), np.zeros((*reference.voxels.shape, 1, 3))
    from tbss_hpc.tbss.greedy_images import read_voxels, write_for_greedy  # noqa: PLC0415 - so

    # Scratch files go to the node's own disk; only results travel to the shared one.
    with tempfile.TemporaryDirectory(prefix="tbss-hpc-greedy-") as scratch:
        folder = Path(scratch)
        write_for_greedy(folder / "given.nii", given)
        write_for_greedy(folder / "reference.nii", reference)
        _run_greedy(folder)
        return np.loadtxt(folder / "affine.mat"), read_voxels(folder / "warp.nii")[1]


def _run_greedy(folder: Path) -> None:
    try:
        from picsl_greedy import Greedy3D  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise UsageError(
            "The greedy engine is not installed.", why=str(error), fix=INSTALL_EXTRA
        ) from error
    greedy = Greedy3D()
    images = f"{_ALWAYS} -i {folder}/reference.nii {folder}/given.nii"
    affine, warp = f"{folder}/affine.mat", f"{folder}/warp.nii"
    sys.stdout.write(_NOTE)
    sys.stdout.flush()
    try:
        greedy.execute(f"{images} {_AFFINE} -o {affine}")
        greedy.execute(f"{images} {_DEFORMABLE} -it {affine} -o {warp}")
    except Exception as error:
        # The binding turns C++ exceptions into whatever Python class comes closest.
        message = f"greedy could not register the images: {error}"
        raise RegistrationError(message) from error


def _inverse(affine: Array) -> Array:
    import numpy as np  # noqa: PLC0415 - after the threads are set

    try:
        return np.linalg.inv(affine).astype(np.float64)
    except np.linalg.LinAlgError as error:
        message = "greedy found an affine that flattens the image."
        raise RegistrationError(message) from error


def _packed(content: bytes) -> bytes:
    from tbss_hpc.tbss.greedy_images import pack  # noqa: PLC0415 - after the threads are set

    return pack(content)


def _version() -> str:
    return importlib.metadata.version("picsl-greedy")


def _log(request: _Request, mark: str) -> str:
    return (
        f"{mark}\n--in={request.input}\n--ref={request.reference}\n"
        f"affine: greedy {_ALWAYS} {_AFFINE}\ndeformable: greedy {_ALWAYS} {_DEFORMABLE}\n"
    )


def _leave(output: str, files: Mapping[str, bytes]) -> None:
    """Write all files under temporary names, then rename them; the last one says "complete"."""
    final = {Path(f"{output}{suffix}"): content for suffix, content in files.items()}
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in final}
    try:
        for path, content in final.items():
            temporary[path].write_bytes(content)
        *_, last = final
        last.unlink(missing_ok=True)
        for path in final:
            temporary[path].replace(path)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
