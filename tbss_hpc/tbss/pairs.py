"""Pairs: input G registered to reference F, as `tbss_2_reg -n` lists them."""

from __future__ import annotations

import shlex
from itertools import product
from typing import TYPE_CHECKING

from msgspec import Struct

from tbss_hpc.core.command import Command, Output, check_for, identity
from tbss_hpc.tbss.study import file_names, mask_of, split_at_to

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tbss_hpc.tbss.engine import Engine
    from tbss_hpc.tbss.study import Study

#: What follows the three names in a line of `tbss_2_reg`: only estimate, with the settings for FA.
_OPTIONS = ("-e", "-FA")


class Pair(Struct, frozen=True):
    """An input, and the reference it is registered to."""

    input: str  #: G
    reference: str  #: F

    @property
    def name(self) -> str:
        """The pair as FSL writes it, and as its results begin."""
        return pair_name(self.input, self.reference)


def pair_name(g: str, f: str) -> str:
    """Name the pair in which input G is registered to reference F."""
    return f"{g}_to_{f}"


def split_pair(name: str, subjects: Collection[str]) -> tuple[str, str] | None:
    """Give input and reference of a pair's name; None if it is not a pair of these subjects."""
    return split_at_to(name, set(subjects))


def pairs_of(study: Study) -> Iterable[Pair]:
    """Give all N x N pairs in the order of `tbss_2_reg`: reference by reference, self included."""
    return (Pair(g, f) for f, g in product(study.subjects, study.subjects))


def pair_commands(
    study: Study, engine: Engine, image_suffix: str = ".nii.gz"
) -> tuple[Command, ...]:
    """List the commands that register every subject to every subject, as `tbss_2_reg -n` does.

    image_suffix -- what the engine appends to an image's name; FSL goes by FSLOUTPUTTYPE.
    """
    inputs = _inputs_by_subject(study)
    program = shlex.quote(engine.program)
    return tuple(
        Command(
            id=identity(text := _text(program, pair), study.fa, 0),
            line=line,
            name=pair.name,
            text=text,
            folder=study.fa,
            outputs=pair_outputs(pair.name, image_suffix),
            inputs=_inputs(pair, inputs),
        )
        for line, pair in enumerate(pairs_of(study), start=1)
    )


def pair_outputs(name: str, image_suffix: str = ".nii.gz") -> tuple[Output, ...]:
    """Say what a pair must leave behind."""
    paths = (f"{name}_warp{image_suffix}", f"{name}_warp.msf", f"{name}.mat")
    return tuple(Output(path, check_for(path)) for path in paths)


def parse_pair(text: str) -> Pair | None:
    """Recognise a pair in a line such as `/fsl/bin/fsl_reg G F G_to_F -e -FA`."""
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    match words:
        case [_, g, f, name, *options] if name == pair_name(g, f) and set(options) == {*_OPTIONS}:
            return Pair(g, f)
        case _:
            return None


def log_path(command: Command) -> str:
    """Say where a command's log goes, relative to the run folder; pairs are kept by reference."""
    pair = parse_pair(command.text)
    if pair is None:
        return f"logs/{command.name}.log"
    return f"logs/{pair.reference}/{pair.name}.log"


def _text(program: str, pair: Pair) -> str:
    return " ".join((program, pair.input, pair.reference, pair.name, *_OPTIONS))


def _inputs_by_subject(study: Study) -> dict[str, tuple[str, ...]]:
    """Give each subject's image, and its mask if there is one: fsl_reg weights the input by it."""
    files = set(file_names(study.fa))
    masks = (mask_of(subject, files) for subject in study.subjects)
    return {
        subject: (image, mask) if mask else (image,)
        for subject, image, mask in zip(study.subjects, study.images, masks, strict=True)
    }


def _inputs(pair: Pair, by_subject: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    own, others = by_subject[pair.input], by_subject[pair.reference]
    return own if own == others else own + others
