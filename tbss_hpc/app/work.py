"""What is to be done: a study's pairs, or the lines of a command list."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path

from msgspec import Struct, structs

from tbss_hpc.core.command import Command, Fingerprint
from tbss_hpc.core.commandlist import parse_list, refuse_shared_outputs, with_outputs
from tbss_hpc.errors import FilesError, UsageError
from tbss_hpc.store.study_files import PairProof, StudyFiles
from tbss_hpc.tbss.engine import Engine, find_engine, image_suffix
from tbss_hpc.tbss.nifti import read_header
from tbss_hpc.tbss.pairs import pair_commands
from tbss_hpc.tbss.proof import only_times_differ, still_proved
from tbss_hpc.tbss.study import (
    Study,
    check_images,
    find_study,
    fingerprint_images,
    read_study,
    stale_target,
)


class Source(Struct, frozen=True):
    """Where the work comes from, as it was typed."""

    place: str = "."  #: a study folder, an FA/ folder, a command file, or `-`
    engine: str | None = None
    chdir: str | None = None
    expect: tuple[str, ...] = ()
    expect_file: str | None = None


class Work(Struct, frozen=True):
    """All commands of a run, and what is known of them before it starts."""

    commands: tuple[Command, ...]
    study: Study | None = None
    engine: Engine | None = None
    voxels: int = 0  #: of one image of the study
    #: Input files as they are now, by the path that commands name them with.
    inputs: dict[str, Fingerprint] = {}
    #: Proofs that hold, by the id of the command that they spare.
    done: dict[str, tuple[Fingerprint, ...]] = {}
    #: Commands whose outputs are there and only need to be proved, on a node: those that FSL made
    #: without us, and proved ones that were copied.
    found: set[str] = set()
    #: Seconds that pairs of this study took with this engine in earlier runs.
    seconds: tuple[float, ...] = ()
    #: What the user should know about the state of the study.
    notes: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """Say in a few words what this is."""
        if self.study is None:
            return f"{len(self.commands)} commands"
        return f"{len(self.commands)} pairs of {len(self.study.subjects)} subjects"


def find_work(source: Source, environ: Mapping[str, str]) -> Work:
    """Read what is to be done. Raises UsageError for what cannot be read as work."""
    if source.place == "-":
        return _list_work(source, sys.stdin.buffer.read(), "standard input", Path.cwd())
    place = Path(source.place)
    if place.is_dir():
        return _study_work(source, place, environ)
    return _list_work(source, _read(place), source.place, place.resolve().parent)


# -- command lists --------------------------------------------------------------------------------


def _list_work(source: Source, content: bytes, name: str, folder: Path) -> Work:
    if source.engine is not None:
        raise UsageError(
            "--engine is for studies; a command list says itself what to run.",
            why=f"{name} is a command list",
            fix="leave --engine out, or name the study's folder",
        )
    commands = parse_list(
        content, source=name, folder=str(_folder(source, folder)), expected=source.expect
    )
    if source.expect_file is not None:
        rows = _read(Path(source.expect_file))
        commands = with_outputs(commands, rows, source=source.expect_file)
    refuse_shared_outputs(commands, name)
    return Work(commands)


def _folder(source: Source, default: Path) -> Path:
    folder = Path(source.chdir).resolve() if source.chdir is not None else default
    if not folder.is_dir():
        raise UsageError(
            "The folder of the commands does not exist.",
            why=str(folder),
            fix="name a folder with --chdir in which the commands can run",
        )
    return folder


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            f"There is no {path}.",
            why=f"looked in {Path.cwd()}",
            fix="name a study folder, an FA/ folder or a file of commands",
        ) from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder, and a file is needed.", fix="name a file") from error
    except OSError as error:
        raise FilesError(f"{path} cannot be read.", why=str(error.strerror)) from error


# -- studies --------------------------------------------------------------------------------------


def _study_work(source: Source, place: Path, environ: Mapping[str, str]) -> Work:
    _refuse_list_options(source)
    study = read_study(place)
    _refuse_stale_target(study)
    engine = find_engine(source.engine, study, environ)
    check_images(study)
    commands = pair_commands(study, engine, image_suffix(engine, environ))
    inputs = fingerprint_images(study)
    voxels = prod(read_header(Path(study.fa) / study.images[0]).shape)
    return _with_proofs(Work(commands, study, engine, voxels, inputs), study, engine)


def _refuse_list_options(source: Source) -> None:
    given = {
        "--chdir": source.chdir,
        "--expect": source.expect,
        "--expect-file": source.expect_file,
    }
    for option, value in given.items():
        if value:
            raise UsageError(
                f"{option} is for command lists; a study's pairs and outputs are known.",
                why=f"{source.place} is a study",
                fix=f"leave {option} out, or name a file of commands",
            )


def _refuse_stale_target(study: Study) -> None:
    stale = stale_target(study)
    if stale:
        raise UsageError(
            "The study already has a target, which tbss_3_postreg would use instead of ours.",
            why=f"{study.fa}/{stale[0]} is left from an earlier registration",
            fix=f"if it is not wanted any more, remove it: rm {study.fa}/target*",
        )


def _with_proofs(work: Work, study: Study, engine: Engine) -> Work:
    """Find out which pairs are done already, and say why others are so no longer."""
    kept = StudyFiles(Path(study.fa)).proofs()
    done: dict[str, tuple[Fingerprint, ...]] = {}
    found: set[str] = set()
    again: Counter[str] = Counter()
    for command in work.commands:
        proof = kept.get(command.name)
        if proof is None:
            if engine.name == "fsl" and _newer_than_inputs(command):
                found.add(command.id)
        elif why := _why_not_comparable(proof, command, work.inputs, engine):
            again[f"will be made again: {why}"] += 1
        elif all(still_proved(output, Path(command.folder)) for output in proof.outputs):
            done[command.id] = proof.outputs
        elif all(only_times_differ(output, Path(command.folder)) for output in proof.outputs):
            found.add(command.id)
            again["will be proved again: their results were copied, or have new times"] += 1
        else:
            again["will be made again: their results were changed or removed"] += 1
    known = [p.seconds for p in kept.values() if p.engine == engine.fingerprint and p.seconds]
    notes = tuple(f"{count} pairs that were done {what}" for what, count in again.items())
    return structs.replace(work, done=done, found=found, seconds=tuple(known), notes=notes)


def _why_not_comparable(
    proof: PairProof, command: Command, inputs: Mapping[str, Fingerprint], engine: Engine
) -> str:
    """Say why a proof is of something else than what is wanted now; nothing if it is not."""
    if proof.engine != engine.fingerprint:
        return f"they were made by {proof.engine}, and this is {engine.fingerprint}"
    for path in command.inputs:
        if proof.inputs.get(path) != inputs[path].digest:
            return f"the image {path} has changed"
    if {o.path for o in command.outputs} != {o.path for o in proof.outputs}:
        return "other outputs are wanted now"
    return ""


def _newer_than_inputs(command: Command) -> bool:
    """Tell whether there are outputs, made outside, that are worth proving."""
    folder = Path(command.folder)
    try:
        made = [(folder / output.path).stat() for output in command.outputs]
        given = [(folder / path).stat() for path in command.inputs]
    except OSError:
        return False
    oldest = min(stat.st_mtime_ns for stat in made)
    return all(stat.st_size for stat in made) and oldest >= max(s.st_mtime_ns for s in given)


def study_of(place: Path) -> Study:
    """Read the study of a folder, for the choice of its target."""
    study = find_study(place)
    return study if study is not None else read_study(place)
