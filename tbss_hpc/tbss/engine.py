"""Engines: what registers a pair. FSL itself, or greedy where there is no FSL."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from tbss_hpc.errors import UsageError
from tbss_hpc.tbss.nifti import NotAnImageError, read_header
from tbss_hpc.tbss.study import file_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tbss_hpc.tbss.study import Study

#: How the description in the header of our own warps begins; FSL writes something else.
GREEDY_MARK = "tbss-hpc greedy"
#: What to type when the optional extra is missing.
INSTALL_EXTRA = "pip install 'tbss-hpc[engine]'"

_NAMES = ("fsl", "greedy")
_WARP = re.compile(r".+_to_.+_warp\.nii(\.gz)?")
#: Headers looked at, at most; 10,000 would take minutes on a busy network file system.
_MOST_HEADERS = 200
_SUFFIX_BY_TYPE = {"": ".nii.gz", "NIFTI_GZ": ".nii.gz", "NIFTI": ".nii"}


class Engine(Struct, frozen=True):
    """What registers a pair."""

    name: str  #: `fsl` or `greedy`
    program: str  #: absolute; takes the arguments of fsl_reg
    version: str

    @property
    def fingerprint(self) -> str:
        """What proofs say of the engine; results of different engines are not comparable."""
        return f"{self.name} {self.version}"


def find_engine(name: str | None, study: Study, environ: Mapping[str, str]) -> Engine:
    """Find the engine that was named, or that the study's results came from, or FSL if loaded.

    Nothing stands in for an engine that is missing: numbers of two engines are not comparable.
    """
    held = held_engine(study)
    if name is not None and name not in _NAMES:
        raise UsageError(f"There is no engine called {name!r}.", fix="--engine fsl|greedy")
    if name and held and name != held:
        raise _mixed(study, named=name, held=held)
    chosen = name or held or ("fsl" if _fsl_reg(environ) else None)
    if chosen is None:
        raise _no_engine(environ)
    return _fsl(environ) if chosen == "fsl" else _greedy()


def held_engine(study: Study) -> str | None:
    """Say which engine made the warps that are already there; None if there are none.

    The header of a warp tells. In a large study 200 of them are read, spread evenly over the
    sorted names; empty and unreadable files say nothing and are passed over.
    """
    kinds: dict[str, str] = {}
    for path, description in _descriptions(study):
        kinds.setdefault("greedy" if description.startswith(GREEDY_MARK) else "fsl", path.name)
    if len(kinds) > 1:
        raise UsageError(
            "The study already holds results of both engines, which cannot be compared.",
            why=f"{kinds['fsl']} is FSL's, {kinds['greedy']} is greedy's (in {study.fa})",
            fix="remove the results (`*_to_*`) of one of them",
        )
    return next(iter(kinds), None)


def image_suffix(engine: Engine, environ: Mapping[str, str]) -> str:
    """Say what the engine appends to the name of an image it writes."""
    if engine.name == "greedy":
        return ".nii.gz"
    wanted = environ.get("FSLOUTPUTTYPE", "")
    if wanted not in _SUFFIX_BY_TYPE:
        raise UsageError(
            "FSL is set to write images that come in two files.",
            why=f"FSLOUTPUTTYPE={wanted}",
            fix="export FSLOUTPUTTYPE=NIFTI_GZ",
        )
    return _SUFFIX_BY_TYPE[wanted]


def _descriptions(study: Study) -> Iterator[tuple[Path, str]]:
    """Read the headers of warps until enough of them were readable."""
    names = sorted(n for n in file_names(study.fa) if _WARP.fullmatch(n))
    readable = 0
    for name in _spread(names):
        path = Path(study.fa, name)
        try:
            description = read_header(path).description
        except (NotAnImageError, OSError):
            continue
        yield path, description
        readable += 1
        if readable == _MOST_HEADERS:
            return


def _spread(names: list[str]) -> Iterator[str]:
    """Order names so that any beginning of the order is spread over the whole list."""
    stride = max(1, len(names) // _MOST_HEADERS)
    for start in range(stride):
        yield from names[start::stride]


def _fsl_reg(environ: Mapping[str, str]) -> Path | None:
    """Give FSL's fsl_reg, if FSL is loaded."""
    home = environ.get("FSLDIR")
    program = Path(home or "/", "bin", "fsl_reg")
    return program if home and os.access(program, os.X_OK) and program.is_file() else None


def _fsl(environ: Mapping[str, str]) -> Engine:
    program = _fsl_reg(environ)
    if program is None or not program.is_absolute():
        home = environ.get("FSLDIR")
        raise UsageError(
            "FSL is not loaded here.",
            why=f"FSLDIR={home}: no program bin/fsl_reg there" if home else "FSLDIR is not set",
            fix="load FSL first (such as `module load fsl`), and check `echo $FSLDIR`",
        )
    return Engine("fsl", str(program), _fsl_version(program.parents[1]))


def _fsl_version(home: Path) -> str:
    try:
        return (home / "etc" / "fslversion").read_text().split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        return "of unknown version"


def _greedy() -> Engine:
    try:
        version = importlib.metadata.version("picsl-greedy")
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(
            "The greedy engine is not installed.",
            why=f"no package picsl-greedy for {sys.executable}",
            fix=INSTALL_EXTRA,
        ) from None
    # Not resolved: behind a virtual environment's link lies a Python that knows nothing of us.
    program = Path(sys.executable).parent / "tbss-hpc-greedy"
    if not os.access(program, os.X_OK):
        raise UsageError(
            "The program of the greedy engine is missing.",
            why=f"no {program}",
            fix=INSTALL_EXTRA,
        )
    return Engine("greedy", str(program.absolute()), version)


def _mixed(study: Study, *, named: str, held: str) -> UsageError:
    return UsageError(
        f"The study's results were made by {held}, and {named} was asked for.",
        why=f"results of both in {study.fa} could not be compared",
        fix=f"--engine {held}, or remove the results (`*_to_*`) first",
    )


def _no_engine(environ: Mapping[str, str]) -> UsageError:
    home = environ.get("FSLDIR")
    return UsageError(
        "There is nothing to register images with: FSL is not loaded.",
        why=f"FSLDIR={home}: no program bin/fsl_reg there" if home else "FSLDIR is not set",
        fix="load FSL (such as `module load fsl`) and pass --engine fsl,"
        f"\nor pass --engine greedy, which needs no FSL ({INSTALL_EXTRA})",
    )
