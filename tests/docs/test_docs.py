"""What the documents say exists: links, commands, options, exit codes, make targets."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import pytest
import typer.main

from tbss_hpc.errors import ExitCode
from tests.docs.pages import (
    REFERENCE,
    ROOT,
    all_pieces,
    anchors,
    complain,
    documents,
    prose,
    sections,
)

if TYPE_CHECKING:
    from pathlib import Path

#: Options that documents name in passing and that are somebody else's.
FOREIGN_OPTIONS = {
    "--lifetime": "of `dask worker`",
    "--export": "of sbatch",
    "--signal": "of sbatch",
    "--folder": "of tests/cluster/slurm_bed.py",
    "--allocation": "of the worker program",
}

NO_PROGRAM = pytest.mark.skipif(
    find_spec("tbss_hpc.cli.main") is None, reason="tbss_hpc/cli/main.py is not there"
)


# -- links ------------------------------------------------------------------------------------


def test_every_link_inside_the_project_leads_somewhere() -> None:
    complain(
        [
            f"{path.relative_to(ROOT)}: the link to {target} leads nowhere."
            for path in documents()
            for target in re.findall(r"\]\(([^)\s]+)\)", prose(path))
            if not re.match(r"[a-z]+:", target) and not _resolves(path, target)
        ]
    )


def _resolves(path: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    aim = (path.parent / name) if name else path
    return aim.exists() and (not anchor or aim.suffix != ".md" or anchor in anchors(aim))


# -- exit codes -------------------------------------------------------------------------------


def test_every_exit_code_is_documented() -> None:
    page = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", page, re.MULTILINE)

    assert {name: int(code) for code, name in rows} == {one.name: one.value for one in ExitCode}


# -- make targets -----------------------------------------------------------------------------


def test_every_make_target_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))

    complain(
        [
            f"{piece.where}: there is no `make {target}`."
            for piece in all_pieces()
            for target in re.findall(r"^(?:\$ )?make ([a-z]+)", piece.text)
            if target not in targets
        ]
    )


# -- commands and options ---------------------------------------------------------------------


def program() -> dict[str, set[str]]:
    """Give the subcommands of tbss-hpc, each with its options; "" stands for none.

    A group (`site`) has the options of what is in it, which is listed as well (`site show`).
    """
    return _options_below("", typer.main.get_command(import_module("tbss_hpc.cli.main").app))


def _options_below(name: str, command: object) -> dict[str, set[str]]:
    params = getattr(command, "params", [])
    own = {"--help"}.union(*({*one.opts, *one.secondary_opts} for one in params))
    found: dict[str, set[str]] = {}
    for inner, below in getattr(command, "commands", {}).items():
        found |= _options_below(f"{name} {inner}".strip(), below)
    return {name: own.union(*found.values()) if name else own, **found}


class Call(NamedTuple):
    """A call of tbss-hpc that a document shows."""

    where: str
    command: str  #: the subcommand; "" without one
    options: list[str]


def calls() -> list[Call]:
    return [
        Call(piece.where, *_parts(words))
        for piece in all_pieces()
        for words in re.findall(
            r"(?:(?<=bin/)|(?<![\w/.-]))tbss-hpc((?: +[^|;&#\s]+)*)", piece.text
        )
    ]


def _parts(words: str) -> tuple[str, list[str]]:
    command = re.match(r" +([a-z][a-z-]*)(?= |$)", words)
    options = re.findall(r"(?<=[ \[])(--[a-z][a-z-]*)", words)
    return (command[1] if command else "", options)


@NO_PROGRAM
def test_every_subcommand_named_exists() -> None:
    known = program()

    complain(
        [
            f"{call.where}: there is no `tbss-hpc {call.command}`."
            for call in calls()
            if call.command not in known
        ]
    )


@NO_PROGRAM
def test_every_option_shown_with_its_subcommand_exists() -> None:
    known = program()

    complain(
        [
            f"{call.where}: `tbss-hpc {call.command}` has no {option}."
            for call in calls()
            for option in call.options
            if option not in known.get(call.command, set())
        ]
    )


@NO_PROGRAM
def test_every_option_named_alone_is_an_option_of_some_subcommand() -> None:
    known = set(FOREIGN_OPTIONS).union(*program().values())

    complain(
        [
            f"{piece.where}: no subcommand has {found[0]} (somebody else's options are listed in"
            " tests/docs/test_docs.py)."
            for piece in all_pieces()
            if (found := re.match(r"--[a-z][a-z-]*", piece.text)) and found[0] not in known
        ]
    )


@NO_PROGRAM
def test_every_subcommand_and_option_is_explained() -> None:
    page = sections(REFERENCE / "command-line.md")
    shared = page["Options that several commands share"]

    complain(
        [
            f"docs/reference/command-line.md: `tbss-hpc {command}` is not explained."
            for command in _runnable()
            if f"tbss-hpc {command}" not in page
        ]
        + [
            f"docs/reference/command-line.md: `tbss-hpc {command} {option}` is not explained."
            for command, options in _runnable().items()
            for option in options
            if f"`{option}`" not in shared + page.get(f"tbss-hpc {command}", "")
        ]
    )


def _runnable() -> dict[str, list[str]]:
    """Give what can be typed, without groups, and the long options of each."""
    known = program()
    groups = {name.rpartition(" ")[0] for name in known}
    return {
        name: sorted(one for one in options if one.startswith("--") and one != "--help")
        for name, options in known.items()
        if name not in groups and name
    }


@NO_PROGRAM
def test_no_subcommand_is_explained_that_is_not_there() -> None:
    explained = {
        title.removeprefix("tbss-hpc ") for title in sections(REFERENCE / "command-line.md")
    }

    assert explained - {"Options that several commands share"} == set(_runnable())


# -- the tests' own eyes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (" submit FA/.commands --site my.yaml", ("submit", ["--site"])),
        (" --version", ("", ["--version"])),
        (" status [--json]", ("status", ["--json"])),
        ("", ("", [])),
        (" RUN", ("", [])),
    ],
)
def test_calls_are_read(words: str, expected: tuple[str, list[str]]) -> None:
    assert _parts(words) == expected


def test_anchors_are_read_as_links_name_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A SLURM of your own\n\n## `status --check`, and why\n")

    assert anchors(page) == {"a-slurm-of-your-own", "status---check-and-why"}
