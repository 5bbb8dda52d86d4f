"""How each key of a site file is written: text to value, and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import ceil
from typing import Any

from msgspec import Struct

from tbss_hpc.core.site import SCHEDULERS
from tbss_hpc.core.units import (
    format_memory,
    format_walltime,
    in_words,
    parse_count,
    parse_duration,
    parse_memory,
)


class Field(Struct, frozen=True):
    """One key: how its text is read, and how its value is written."""

    read: Callable[[str], object]  #: raises ValueError, whose text says what was expected
    write: Callable[[Any], str] = str
    is_list: bool = False  #: takes a list of texts, each read by itself


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; write something or remove the key")
    return text.strip()


def _line(text: str) -> str:
    if not text.strip():
        raise ValueError(
            "has an empty entry; '#' starts a comment in YAML, so `- #SBATCH --exclusive` is one:"
            " write `- --exclusive`"
        )
    return text.strip()


def _shell_line(text: str) -> str:
    """Keep what stands before the first word: it may matter to the shell."""
    return text.rstrip() if text.strip() else _line(text)


def _directive(text: str) -> str:
    """Take also what was copied from a batch script, in quotation marks."""
    return _line(re.sub(r"^\s*#(SBATCH|PBS|\$)\s", "", text))


def _scheduler(text: str) -> str:
    if text not in SCHEDULERS:
        raise ValueError(f"{text!r} is not one of {', '.join(SCHEDULERS)}")
    return text


def _walltime(text: str) -> float:
    """Read a walltime; schedulers know no fractions of a second."""
    return float(ceil(parse_duration(text)))


def _core_hours(text: str) -> float:
    if not re.fullmatch(r"\d{1,12}(\.\d{1,6})?", text, re.ASCII):
        raise ValueError(f"{text!r} is not a number of core-hours, such as 5000")
    return float(text)


def _ports(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})\s*[-:]\s*(\d{1,5})", text, re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is not a range of ports, such as 40000-40100")
    return int(found[1]), int(found[2])


def _write_ports(value: tuple[int, int]) -> str:
    low, high = value
    return f"{low}-{high}"


def _write_duration(seconds: float) -> str:
    """Write so that it reads back as the same time; `in_words` alone may round."""
    words = in_words(seconds)
    return words if parse_duration(words) == seconds else f"{_write_number(seconds)} s"


def _write_number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


_WORD = Field(_text)
_COUNT = Field(parse_count)
_MEMORY = Field(parse_memory, format_memory)
_WALLTIME = Field(_walltime, format_walltime)
_DURATION = Field(parse_duration, _write_duration)

#: Every key of a site file.
FIELDS: dict[str, Field] = {
    "scheduler": Field(_scheduler),
    "queue": _WORD,
    "account": _WORD,
    "qos": _WORD,
    "reservation": _WORD,
    "constraint": _WORD,
    "cores": _COUNT,
    "memory": _MEMORY,
    "walltime": _WALLTIME,
    "shortest-walltime": _WALLTIME,
    "cores-per-command": _COUNT,
    "memory-per-command": _MEMORY,
    "name": _WORD,
    "mail": _WORD,
    "directives": Field(_directive, is_list=True),
    "setup": Field(_shell_line, is_list=True),
    "wrap": _WORD,
    "environment": Field(_line, is_list=True),
    "interface": _WORD,
    "ports": Field(_ports, _write_ports),
    "scratch": _WORD,
    "workers": _COUNT,
    "submissions-per-minute": _COUNT,
    "core-hours": Field(_core_hours, _write_number),
    "start-patience": _DURATION,
    "controller-patience": _DURATION,
    "idle": _DURATION,
    "lease": _DURATION,
}
