"""Synthetic studies: subjects made from an FA template, among them one that is the most typical.

Each subject is the template, bent by a smooth random diffeomorphism, moved by a random affine,
scaled and made noisy. One of them is bent far less than the others, and the others come in twos
that are bent in opposite directions, so that it stands in the middle of them: that one must win.
"""

from __future__ import annotations

import gzip
import importlib.resources
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from tbss_hpc.errors import UsageError
from tbss_hpc.tbss.engine import INSTALL_EXTRA

#: Arrays of numpy; it is imported where it is needed, so that `--help` starts without it.
Array = Any

_SHIPPED_MM = (2, 4)
#: Coarser than 4 mm the planted subject does not always win (measured at 5 and 6 mm).
_RESAMPLED_MM = (3,)
_FEWEST = 2
_BEND_MM = (6.0, 8.0)  #: largest displacement of a subject, from and to
_PLANTED_BEND_MM = 0.5
_SMOOTHNESS_MM = 14.0
_SQUARINGS = 6
_TURN_DEGREES = 4.0
_STRETCH = 0.05
_SHIFT_MM = 4.0
_GAIN = 0.06
_NOISE = 0.03
_BRAIN_FROM = 0.03  #: FA; below it is background
_LOWEST_FA = 0.002  #: inside the brain, where real maps are never exactly 0


class _Bend(Struct, frozen=True):
    """A smooth deformation: which one, and how far."""

    seed: tuple[int, ...]
    peak_mm: float  #: largest displacement; negative for the opposite direction


class SyntheticStudy(Struct, frozen=True):
    """A study that was made up, and the subject that is the most typical by construction."""

    root: str
    planted: str  #: name as TBSS knows it, such as `pat_02_FA`
    subjects: tuple[str, ...]


def make_study(
    folder: Path,
    *,
    subjects: int = 8,
    voxel_mm: int = 4,
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
) -> SyntheticStudy:
    """Make a study as `tbss_1_preproc` leaves one; the same seed makes the same images.

    progress -- is told how many subjects are there, after each.
    """
    _require_scipy()
    _refuse(folder, subjects, voxel_mm)
    names = subject_names(subjects)
    planted = _planted(subjects, seed)
    template, affine = _template(voxel_mm)
    for name in ("FA", "origdata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index, (name, bend) in enumerate(zip(names, _bends(subjects, planted, seed), strict=True)):
        image = _subject(template, voxel_mm, (seed, index), bend)
        _write_subject(folder, name, image, affine)
        if progress is not None:
            progress(index + 1)
    line = f"tbss-hpc: {subjects} synthetic subjects at {voxel_mm} mm, seed {seed}\n"
    (folder / ".tbsslog").write_text(line)
    found = tuple(f"{name}_FA" for name in names)
    return SyntheticStudy(root=str(folder.absolute()), planted=found[planted], subjects=found)


def subject_names(count: int) -> list[str]:
    """Name controls and patients, `con_01` to `pat_<half>`, in sorted order."""
    controls = (count + 1) // 2
    digits = max(2, len(str(controls)))
    return [
        f"con_{i + 1:0{digits}}" if i < controls else f"pat_{i - controls + 1:0{digits}}"
        for i in range(count)
    ]


def _require_scipy() -> None:
    try:
        import scipy.ndimage  # noqa: F401, PLC0415 - an optional extra
    except ImportError as error:
        raise UsageError(
            "Synthetic studies need scipy.", why=str(error), fix=INSTALL_EXTRA
        ) from error


def _refuse(folder: Path, subjects: int, voxel_mm: int) -> None:
    choices = sorted(_SHIPPED_MM + _RESAMPLED_MM)
    if voxel_mm not in choices:
        raise UsageError(
            f"Synthetic subjects cannot have voxels of {voxel_mm} mm.",
            fix="choose " + ", ".join(map(str, choices[:-1])) + f" or {choices[-1]}",
        )
    if subjects < _FEWEST:
        raise UsageError(
            f"A study of {subjects} subjects has nothing to register.",
            fix=f"choose at least {_FEWEST} subjects",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} is there already, and nothing in it shall be overwritten.",
            fix="name a new or an empty folder",
        )


def _planted(subjects: int, seed: int) -> int:
    """Choose who is the most typical: neither the first nor the last, where a bug could pick it."""
    return 1 + seed % (subjects - 2) if subjects > _FEWEST else 1


def _template(voxel_mm: int) -> tuple[Array, Array]:
    """Give the template at this voxel size, and where its voxels lie."""
    if voxel_mm in _SHIPPED_MM:
        return _shipped(voxel_mm)
    import numpy as np  # noqa: PLC0415 - `--help` starts without it
    from scipy import ndimage  # noqa: PLC0415 - an optional extra

    fine, affine = _shipped(2)
    step = voxel_mm / 2
    shape = tuple(int(length // step) for length in fine.shape)
    smooth = ndimage.gaussian_filter(fine, 0.4 * step)
    coarse = ndimage.affine_transform(smooth, np.full(3, step), output_shape=shape, order=1)
    return coarse, affine @ np.diag([step, step, step, 1.0])


def _shipped(voxel_mm: int) -> tuple[Array, Array]:
    import nibabel as nib  # noqa: PLC0415 - `--help` starts without it

    file = importlib.resources.files("tbss_hpc.tbss") / "data" / f"fa_template_{voxel_mm}mm.nii.gz"
    image = nib.Nifti1Image.from_bytes(gzip.decompress(file.read_bytes()))
    return image.get_fdata(), image.affine


def _bends(subjects: int, planted: int, seed: int) -> list[_Bend]:
    """Bend everybody but the planted subject, each two of them in opposite directions."""
    bends = []
    for number in range(subjects - 1):
        twosome, second = divmod(number, 2)
        low, high = _BEND_MM
        # Even steps through the range, in an order that mixes large and small.
        peak = low + (high - low) * (twosome * 0.618 % 1)
        bends.append(_Bend((seed, 1, twosome), -peak if second else peak))
    bends.insert(planted, _Bend((seed, 2), _PLANTED_BEND_MM))
    return bends


def _subject(template: Array, voxel_mm: int, seed: tuple[int, int], bend: _Bend) -> Array:
    """Make one subject's FA map."""
    import numpy as np  # noqa: PLC0415 - `--help` starts without it
    from scipy import ndimage  # noqa: PLC0415 - an optional extra

    random = np.random.default_rng((0, *seed))
    where = _bent(bend, template.shape, voxel_mm)
    where = _moved(random, where, voxel_mm)
    image = ndimage.map_coordinates(template, where, order=1)
    brain = ndimage.binary_fill_holes(image > _BRAIN_FROM)
    noise = ndimage.gaussian_filter(random.standard_normal(template.shape), 0.5)
    image = image * random.uniform(1 - _GAIN, 1 + _GAIN) + noise * (_NOISE / noise.std())
    return np.where(brain, np.clip(image, _LOWEST_FA, 1.0), 0.0).astype(np.float32)


def _bent(bend: _Bend, shape: tuple[int, ...], voxel_mm: int) -> Array:
    """Give for each voxel the place it came from after a smooth diffeomorphism, in voxels.

    A stationary velocity field, integrated by squaring: it cannot fold.
    """
    import numpy as np  # noqa: PLC0415 - `--help` starts without it
    from scipy import ndimage  # noqa: PLC0415 - an optional extra

    random = np.random.default_rng(bend.seed)
    velocity = np.stack(
        [
            ndimage.gaussian_filter(random.standard_normal(shape), _SMOOTHNESS_MM / voxel_mm)
            for _ in shape
        ]
    )
    velocity *= bend.peak_mm / voxel_mm / np.sqrt((velocity**2).sum(axis=0)).max()
    grid = np.indices(shape, dtype=float)
    shift = velocity / 2**_SQUARINGS
    for _ in range(_SQUARINGS):
        ends = grid + shift
        shift = shift + np.stack(
            [ndimage.map_coordinates(part, ends, order=1, mode="nearest") for part in shift]
        )
    return grid + shift


def _moved(random: Array, where: Array, voxel_mm: int) -> Array:
    """Turn, stretch and shift places by a random affine about the middle of the image."""
    import numpy as np  # noqa: PLC0415 - `--help` starts without it

    turns = np.radians(random.uniform(-_TURN_DEGREES, _TURN_DEGREES, 3))
    stretch = np.diag(random.uniform(1 - _STRETCH, 1 + _STRETCH, 3))
    shift = random.uniform(-_SHIFT_MM, _SHIFT_MM, 3) / voxel_mm
    matrix = _rotation(*turns) @ stretch
    middle = (np.array(where.shape[1:]) - 1) / 2
    centred = where.reshape(3, -1) - middle[:, None]
    return (matrix @ centred + (middle + shift)[:, None]).reshape(where.shape)


def _rotation(x: float, y: float, z: float) -> Array:
    import numpy as np  # noqa: PLC0415 - `--help` starts without it

    (a, b, c), (d, e, f) = np.cos([x, y, z]), np.sin([x, y, z])
    about_x = np.array([[1, 0, 0], [0, a, -d], [0, d, a]])
    about_y = np.array([[b, 0, e], [0, 1, 0], [-e, 0, b]])
    about_z = np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def _write_subject(folder: Path, name: str, image: Array, affine: Array) -> None:
    """Write what tbss_1_preproc makes of a map: eroded, without end slices, and its weights."""
    import numpy as np  # noqa: PLC0415 - `--help` starts without it
    from scipy import ndimage  # noqa: PLC0415 - an optional extra

    cube = np.ones((3, 3, 3))
    inside = np.zeros(image.shape, dtype=bool)
    inside[1:-1, 1:-1, 1:-1] = True
    brain = ndimage.binary_erosion(image > 0, cube) & inside
    # Weights for flirt: 1 in the brain and 1 well outside it, 0 in the rim between the two.
    weights = brain | ~ndimage.binary_dilation(brain, cube, iterations=2)
    _write(folder / "origdata" / f"{name}.nii.gz", image, affine)
    _write(folder / "FA" / f"{name}_FA.nii.gz", image * brain, affine)
    _write(folder / "FA" / f"{name}_FA_mask.nii.gz", weights.astype(np.uint8), affine)


def _write(path: Path, image: Array, affine: Array) -> None:
    import nibabel as nib  # noqa: PLC0415 - `--help` starts without it

    nifti = nib.Nifti1Image(image, affine)
    nifti.set_qform(affine, 2)
    nifti.set_sform(affine, 2)
    # No time in the gzip header: the same seed makes the same bytes.
    path.write_bytes(gzip.compress(nifti.to_bytes(), compresslevel=6, mtime=0))
