"""What the documents say exists: links, commands, options, exit codes, make targets."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import typer.main

from tbss_hpc.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]

#: Options that documents name in passing and that are somebody else's.
FOREIGN_OPTIONS = {
    "--lifetime": "of `dask worker`",
    "--export": "of sbatch",
    "--signal": "of sbatch",
    "--folder": "of tests/cluster/slurm_bed.py",
}

NO_PROGRAM = pytest.mark.skipif(
    find_spec("tbss_hpc.cli.main") is None, reason="tbss_hpc/cli/main.py is not there"
)


def documents() -> list[Path]:
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [path for path in top if path.exists()] + sorted((ROOT / "docs").rglob("*.md"))


class Piece(NamedTuple):
    """A piece of code in a document: a span between backticks, or a line of a block."""

    where: str
    text: str


def pieces(path: Path) -> Iterator[Piece]:
    in_block = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path.relative_to(ROOT)}:{number}"
        if line.lstrip().startswith("```"):
            in_block = not in_block
        elif in_block:
            yield Piece(where, line.strip())
        else:
            yield from (Piece(where, span) for span in re.findall(r"`([^`]+)`", line))


def all_pieces() -> list[Piece]:
    return [piece for path in documents() for piece in pieces(path)]


def prose(path: Path) -> str:
    """Give a document without its code, in which brackets mean nothing."""
    text = re.sub(
        r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    return re.sub(r"`[^`\n]*`", "code", text)


def anchors(path: Path) -> set[str]:
    """Name the headings of a document as links to them do."""
    headings = re.findall(r"^#+\s+(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


def complain(problems: list[str]) -> None:
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


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
    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
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
    """Give the subcommands of tbss-hpc, each with its options; "" stands for none."""
    app = import_module("tbss_hpc.cli.main").app
    group = typer.main.get_command(app)
    commands = {"": group, **getattr(group, "commands", {})}
    return {
        name: {"--help"}.union(*({*one.opts, *one.secondary_opts} for one in command.params))
        for name, command in commands.items()
    }


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
