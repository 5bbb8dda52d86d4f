"""The choice of the target: the subject that all others are most easily warped to.

FSL's tbss_3_postreg counts a missing result as 0, so that the subject with the most failures wins.
Here every one of the N x N results must be valid first; then the rule is FSL's, to the digit.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal, localcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from tbss_hpc.core.command import Check, Output
from tbss_hpc.errors import StoppedError
from tbss_hpc.tbss.nifti import SUFFIXES
from tbss_hpc.tbss.pairs import pair_name, pairs_of
from tbss_hpc.tbss.proof import Unproved, prove, two_numbers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tbss_hpc.tbss.study import Study

_SHOWN = 10
#: tbss_3_postreg divides with `dc` and `10 k`: ten decimals, the rest cut off.
_LAST_DECIMAL = Decimal("1e-10")
_DIGITS = 400  #: carried along; the largest number that a file can hold has 309 before the point


class Scores(Struct, frozen=True):
    """How far each subject had to be warped to each, and who is the most typical."""

    subjects: tuple[str, ...]
    matrix: list[list[float]]  #: `matrix[g][f]`: input g to reference f, mean squared warp, mm^2
    means: tuple[float, ...]  #: by reference: the mean over all N inputs, itself included
    best: str  #: the reference with the lowest mean, which tbss_3_postreg takes as the target
    runner_up: str


def read_msf(path: Path) -> float:
    """Read a pair's mean squared warp, the first number in its `.msf`; Unproved if invalid."""
    return float(_read_exactly(path))


def score(study: Study, proved: Collection[str] | None = None) -> Scores:
    """Score every reference, or raise StoppedError with the pairs that are missing or broken.

    proved -- names of pairs whose proofs hold; their warps need not be read again.
    """
    proved = frozenset(proved or ())
    values: dict[str, Decimal] = {}
    bad: dict[str, str] = {}
    for pair in pairs_of(study):
        try:
            values[pair.name] = _value(Path(study.fa), pair.name, deep=pair.name not in proved)
        except Unproved as verdict:
            bad[pair.name] = str(verdict)
    if bad:
        raise _incomplete(bad, len(study.subjects) ** 2)
    return scores_of(study.subjects, values)


def scores_of(subjects: Sequence[str], values: Mapping[str, Decimal]) -> Scores:
    """Score references from the value of each pair, by tbss_3_postreg's arithmetic and order."""
    rows = [[values[pair_name(g, f)] for f in subjects] for g in subjects]
    means = [_mean(column) for column in zip(*rows, strict=True)]
    # For ties `sort` compares whole lines by their bytes: the names, which UTF-8 keeps in order.
    ranking = sorted(zip(means, subjects, strict=True))
    return Scores(
        subjects=tuple(subjects),
        matrix=[[float(value) for value in row] for row in rows],
        means=tuple(map(float, means)),
        best=ranking[0][1],
        runner_up=ranking[1][1],
    )


def as_dict(scores: Scores) -> dict[str, Any]:
    """Give the scores as plain data for JSON."""
    data: dict[str, Any] = msgspec.to_builtins(scores)
    return {"unit": "mm^2", **data}


def _read_exactly(path: Path) -> Decimal:
    prove(Output(path.name, Check.NUMBERS), path.parent)
    numbers = two_numbers(path.read_text("ascii", "replace"))
    if numbers is None:
        raise Unproved(path.name, "changed while it was read; something else writes it.")
    return Decimal(numbers[0])


def _value(folder: Path, name: str, *, deep: bool) -> Decimal:
    value = _read_exactly(folder / f"{name}_warp.msf")
    if deep:
        prove(Output(_warp_file(folder, name), Check.IMAGE), folder)
    return value


def _warp_file(folder: Path, name: str) -> str:
    """Name a pair's warp as it is there; the usual name if it is missing."""
    names = [f"{name}_warp{suffix}" for suffix in SUFFIXES]
    return next((n for n in names if (folder / n).is_file()), names[0])


def _mean(column: Sequence[Decimal]) -> Decimal:
    """Divide as dc does, with no digit rounded on the way."""
    with localcontext(prec=_DIGITS):
        total = sum(column, Decimal())
        return (total / len(column)).quantize(_LAST_DECIMAL, rounding=ROUND_DOWN)


def _incomplete(bad: dict[str, str], total: int) -> StoppedError:
    shown = [f"{name}: {why}" for name, why in list(bad.items())[:_SHOWN]]
    more = [f"... and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
    return StoppedError(
        f"The target cannot be chosen yet: {len(bad)} of {total} pairs have no valid result.",
        why="\n".join([*shown, *more]),
        fix="run `tbss-hpc submit` on the study again; it registers only what is missing",
    )
