"""Reading the project's documents: their code, their links, their tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


class Piece(NamedTuple):
    """A piece of code in a document: a span between backticks, or a line of a block."""

    where: str
    text: str


def documents() -> list[Path]:
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [path for path in top if path.exists()] + sorted((ROOT / "docs").rglob("*.md"))


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


def sections(path: Path) -> dict[str, str]:
    """Give the text under each heading of the second level."""
    parts = re.split(r"^## +(.*)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        title.replace("`", ""): text for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def rows(text: str) -> list[list[str]]:
    """Give the rows of the tables in a text, without their headings; code without backticks."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in lines]


def blocks(path: Path, language: str) -> list[str]:
    """Give the blocks of code of a language."""
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def complain(problems: list[str]) -> None:
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
