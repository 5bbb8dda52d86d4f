"""A study: the folder that `tbss_1_preproc` leaves behind, and the FA images in it."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from tbss_hpc.core.command import Fingerprint
from tbss_hpc.errors import UsageError
from tbss_hpc.tbss.nifti import SUFFIXES, Header, NotAnImageError, read_through, stem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_T = TypeVar("_T")

_FEWEST_SUBJECTS = 2
_SHOWN = 10
#: What a shell would split at or expand in an unquoted word; TBSS quotes nothing.
_UNSAFE = re.compile(r"""[\s\x00-\x1f\x7f|&;<>()$`\\"'*?\[\]{}!#~]|^-""")
#: Suffixes that FSL counts as images and that we cannot read.
_OTHER_SUFFIXES = (".hdr", ".img", ".hdr.gz", ".img.gz", ".mnc", ".mnc.gz")
_DIMENSIONS = 3
_READERS = 8  #: at once; zlib and sha256 leave the interpreter free


class Study(Struct, frozen=True):
    """A folder with FA/, whose images are to be registered to one another."""

    root: str  #: absolute; the folder that holds FA/
    fa: str  #: absolute; where the commands run
    subjects: tuple[str, ...]  #: names of the FA images without suffix, sorted by their bytes
    images: tuple[str, ...]  #: the files, in the same order


def find_study(path: Path) -> Study | None:
    """Find the study at a path, which may be the study's folder or its FA/; None if it is neither.

    Nothing is checked: the study may have no image at all. `read_study` complains.
    """
    folder = _fa_folder(path)
    return None if folder is None else _study_in(folder)


def read_study(path: Path) -> Study:
    """Read the study at a path, and refuse one that TBSS could not work with."""
    folder = _fa_folder(path)
    if folder is None:
        raise _no_study(path)
    _refuse_foreign_formats(folder)
    _refuse_doubles(folder)
    study = _study_in(folder)
    _refuse_unsafe_names(study)
    _refuse_pair_names(study)
    if len(study.subjects) < _FEWEST_SUBJECTS:
        raise _too_few(study)
    return study


def check_images(study: Study) -> None:
    """Read every FA image to its last byte; refuse broken ones, and ones of different sizes."""
    folder = Path(study.fa)
    found = _each(lambda name: _read_image(folder / name), study.images)
    broken = {name: text for name, text in found.items() if isinstance(text, str)}
    if broken:
        raise UsageError(
            f"{len(broken)} of {len(found)} FA images cannot be used.",
            why=_list(f"{study.fa}/{name}: {text}" for name, text in broken.items()),
            fix="copy these images again, or remove the subjects from FA/",
        )
    _refuse_different_sizes(study, {n: h for n, h in found.items() if isinstance(h, Header)})


def stale_target(study: Study) -> tuple[str, ...]:
    """Name the files FA/target*, which would make tbss_3_postreg ignore the registrations."""
    return tuple(sorted(n for n in file_names(study.fa) if n.startswith("target")))


def file_names(folder: str | Path) -> list[str]:
    """List the names in a folder, which may be tens of thousands, in no particular order."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def mask_of(subject: str, files: Iterable[str]) -> str | None:
    """Give the file name of a subject's mask, if it is among these files."""
    return next((m for s in SUFFIXES if (m := f"{subject}_mask{s}") in files), None)


def fingerprint_images(study: Study) -> dict[str, Fingerprint]:
    """Take the fingerprint of every FA image, and of the masks beside them, by file name."""
    files = set(file_names(study.fa))
    masks = [m for subject in study.subjects if (m := mask_of(subject, files))]
    return _each(lambda name: _fingerprint(Path(study.fa), name), [*study.images, *masks])


def _fa_folder(path: Path) -> Path | None:
    # Not resolved: nodes may know a folder by this name and not by the one behind a link.
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path has no way to drop `..` and keep links
    if (path / "FA").is_dir():
        return path / "FA"
    if path.is_dir() and (path.name == "FA" or _image_files(path)):
        return path
    return None


def _image_files(folder: Path) -> list[str]:
    """List the images that `imglob *_FA.*` finds: TBSS's subjects."""
    names = [n for n in file_names(folder) if "_FA." in n and not n.startswith(".")]
    return sorted((n for n in names if stem(n)), key=os.fsencode)


def _study_in(folder: Path) -> Study:
    # Of two files for one name the first is taken; `read_study` has refused them before.
    files: dict[str, str] = {}
    for name in _image_files(folder):
        files.setdefault(stem(name) or name, name)
    subjects = sorted(files, key=os.fsencode)
    return Study(
        root=str(folder.parent),
        fa=str(folder),
        subjects=tuple(subjects),
        images=tuple(files[subject] for subject in subjects),
    )


def _no_study(path: Path) -> UsageError:
    why = "it has no folder FA" if path.is_dir() else "there is no such folder"
    return UsageError(
        f"{path} is not a TBSS study.",
        why=f"{path}: {why}",
        fix="name the folder in which you ran `tbss_1_preproc *.nii.gz`; it holds FA/",
    )


def _too_few(study: Study) -> UsageError:
    held = f"only {study.images[0]}" if study.images else "no image called *_FA.nii.gz"
    return UsageError(
        "A study needs at least two subjects to register to one another.",
        why=f"{study.fa} holds {held}",
        fix="run `tbss_1_preproc *.nii.gz` in the folder of your FA images",
    )


def _refuse_foreign_formats(folder: Path) -> None:
    names = sorted(n for n in file_names(folder) if n.endswith(_OTHER_SUFFIXES) and "_FA." in n)
    if names:
        raise UsageError(
            "Some FA images are not in NIfTI files of one piece.",
            why=_list(f"{folder}/{name}" for name in names),
            fix="convert each with `fslchfiletype NIFTI_GZ IMAGE`",
        )


def _refuse_doubles(folder: Path) -> None:
    names = _image_files(folder)
    counts = Counter(stem(name) for name in names)
    doubles = [name for name in names if counts[stem(name)] > 1]
    if doubles:
        raise UsageError(
            "Two files claim the same subject.",
            why=_list(f"{folder}/{name}" for name in doubles),
            fix="keep one of them and move the other out of FA/",
        )


def _refuse_unsafe_names(study: Study) -> None:
    bad = [n for n in study.subjects if _UNSAFE.search(n) or not _is_unicode(n)]
    if bad:
        raise UsageError(
            "Some subjects have names that FSL's scripts cannot handle.",
            why=_list(f"{study.fa}/{name!r}" for name in bad)
            + "\n(blanks and characters with a meaning for the shell, or not UTF-8)",
            fix="rename the original images to letters, digits, '_', '-' and '.', and run"
            "\n`tbss_1_preproc` again",
        )


def _refuse_pair_names(study: Study) -> None:
    """Refuse what fsl_reg leaves if it is run without -e: TBSS would take it for a subject."""
    known = set(study.subjects)
    bad = [n for n in study.subjects if split_at_to(n, known)]
    if bad:
        raise UsageError(
            "Some images in FA/ are results of a registration, and TBSS would take them"
            " for subjects.",
            why=_list(f"{study.fa}/{name}" for name in bad),
            fix="move them out of FA/",
        )


def split_at_to(name: str, subjects: set[str]) -> tuple[str, str] | None:
    """Split `G_to_F` where both sides are subjects; names may hold `_to_` themselves."""
    parts = name.split("_to_")
    cuts = (("_to_".join(parts[:i]), "_to_".join(parts[i:])) for i in range(1, len(parts)))
    return next(((g, f) for g, f in cuts if g in subjects and f in subjects), None)


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_image(path: Path) -> Header | str:
    """Read an image to its end; give its header, or what is wrong with it."""
    try:
        with path.open("rb") as file:
            header = read_through(file, gzipped=path.name.endswith(".gz"))
    except NotAnImageError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    if len(_size(header)) != _DIMENSIONS:
        return f"it is not one 3D image: its size is {_by(header.shape)}"
    return header


def _size(header: Header) -> tuple[int, ...]:
    """Give the size of an image without trailing axes of length 1, but at least three axes."""
    shape = header.shape
    while len(shape) > _DIMENSIONS and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _refuse_different_sizes(study: Study, headers: dict[str, Header]) -> None:
    sizes = Counter(_size(header) for header in headers.values())
    if len(sizes) == 1:
        return
    usual, count = sizes.most_common(1)[0]
    odd = [f"{n}: {_by(_size(h))}" for n, h in headers.items() if _size(h) != usual]
    raise UsageError(
        "The FA images do not all have the same size.",
        why=f"{count} images in {study.fa} are {_by(usual)} voxels, but\n{_list(odd)}",
        fix="resample the odd ones, or run `tbss_1_preproc` on images of one size",
    )


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _fingerprint(folder: Path, name: str) -> Fingerprint:
    with (folder / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
        found = os.fstat(file.fileno())
    return Fingerprint(name, found.st_size, found.st_mtime_ns, digest)


def _each(work: Callable[[str], _T], names: Sequence[str]) -> dict[str, _T]:
    """Do the work for each name, several at a time; answers keep the order of the names."""
    with ThreadPoolExecutor(min(_READERS, len(names) or 1)) as pool:
        return dict(zip(names, pool.map(work, names), strict=True))


def _list(lines: Iterable[str]) -> str:
    """Show the first lines of a list, and say how many more there are."""
    lines = list(lines)
    more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join([*lines[:_SHOWN], *more])
