"""The log of a command: what it printed, attempt after attempt, each between two plain marks.

A header and a trailer are lines that a person can read and that `read_attempts` can find again.
The output in between is the command's own, byte for byte: it goes from the command to the file
without passing through us, so it may be of any size, may lack a last newline, may hold anything
that looks like a mark, and may stop anywhere when its allocation dies.
"""

from __future__ import annotations

import mmap
import os
import re
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from tbss_hpc.core.attempt import AttemptId, Measures
from tbss_hpc.core.outcome import Outcome, in_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The fields of a header, in their order; a look-alike in the output would need them all.
_HEADER = ("name", "command", "folder", "node", "allocation", "start")
_TRAILER = ("end", "outcome", "exit code", "seconds", "CPU seconds", "peak memory", "output")
_WIDTH = max(len(title) for title in _HEADER + _TRAILER)

_MEGABYTE = 1_000_000


class Header(Struct, frozen=True):
    """What is known of an attempt when its command is about to start."""

    attempt: AttemptId
    name: str
    text: str
    folder: str
    node: str
    allocation: str
    start: float  #: Unix time on the node


class Trailer(Struct, frozen=True):
    """What is known of an attempt when it has ended."""

    attempt: AttemptId
    outcome: Outcome
    exit_code: int | None  #: negative for a signal; None for a command that never started
    measures: Measures


class AttemptLog(Struct, frozen=True):
    """Where an attempt stands in a log, in bytes, and what its marks say."""

    attempt: AttemptId
    begin: int  #: of its header
    output_begin: int
    output_end: int
    end: int  #: of its trailer, or of what there is
    header: dict[str, str]  #: as written, by title: `node`, `start` ...
    trailer: dict[str, str]  #: as written; empty when the worker was lost before it could write it


def write_header(log: Path, header: Header) -> int:
    """Append the header of an attempt; give the place where its output begins."""
    log.parent.mkdir(parents=True, exist_ok=True)
    values = (
        header.name,
        header.text,
        header.folder,
        header.node,
        header.allocation,
        _moment(header.start),
    )
    return _append(log, _block(header.attempt, "begins", _HEADER, values))


def write_trailer(log: Path, trailer: Trailer, output_begin: int) -> None:
    """Append the trailer of an attempt whose output began at a place that the header gave."""
    took = trailer.measures
    values = (
        _moment(took.end),
        in_words(trailer.outcome),
        "none" if trailer.exit_code is None else str(trailer.exit_code),
        f"{took.seconds:.1f}",
        f"{took.cpu_seconds:.1f}",
        f"{took.peak_memory_bytes / _MEGABYTE:.0f} MB",
        f"{log.stat().st_size - output_begin} bytes",
    )
    _append(log, _block(trailer.attempt, "ended", _TRAILER, values))


def read_attempts(log: Path) -> list[AttemptLog]:
    """Find the attempts of a log; it may be long, and is not held in memory."""
    with log.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return []  # an empty file cannot be mapped
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            headers = list(_headers(content))
            ends = [*(header.start() for header in headers), len(content)][1:]
            return [
                _attempt(content, header, end) for header, end in zip(headers, ends, strict=True)
            ]


def _headers(content: mmap.mmap) -> Iterator[re.Match[bytes]]:
    """Find the headers that count: each of a later attempt than the one before it.

    A command that prints its own log (`cat`) shows the headers of earlier attempts, and its own.
    """
    last = 0
    for found in _pattern("begins", _HEADER).finditer(content):
        if int(found["number"]) > last:
            last = int(found["number"])
            yield found


def _attempt(content: mmap.mmap, header: re.Match[bytes], end: int) -> AttemptLog:
    attempt = AttemptId(header["id"].decode(), int(header["number"]))
    trailer = None
    # The last one that looks like it is the one we wrote: nothing is printed after it.
    for found in _pattern("ended", _TRAILER).finditer(content, header.end(), end):
        if (found["number"], found["id"]) == (header["number"], header["id"]):
            trailer = found
    return AttemptLog(
        attempt,
        header.start(),
        header.end(),
        trailer.start() if trailer else end,
        trailer.end() if trailer else end,
        _values(header, _HEADER),
        _values(trailer, _TRAILER) if trailer else {},
    )


def _block(attempt: AttemptId, verb: str, titles: tuple[str, ...], values: tuple[str, ...]) -> str:
    lines = [f"# tbss-hpc attempt {attempt.number} of {attempt.command} {verb}"]
    lines += [
        f"# {title:<{_WIDTH}}  {_one_line(value)}"
        for title, value in zip(titles, values, strict=True)
    ]
    return "\n".join(lines) + "\n"


def _pattern(verb: str, titles: tuple[str, ...]) -> re.Pattern[bytes]:
    mark = rf"^# tbss-hpc attempt (?P<number>[0-9]{{1,9}}) of (?P<id>\S+) {verb}\n"
    lines = [rf"# {title:<{_WIDTH}}  (?P<{_group(title)}>.*)\n" for title in titles]
    return re.compile((mark + "".join(lines)).encode(), re.MULTILINE)


def _values(found: re.Match[bytes], titles: tuple[str, ...]) -> dict[str, str]:
    return {title: found[_group(title)].decode(errors="surrogateescape") for title in titles}


def _group(title: str) -> str:
    return title.replace(" ", "_")


def _one_line(value: str) -> str:
    return value.replace("\n", "\\n")


def _moment(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time).astimezone().isoformat(timespec="seconds")


def _append(log: Path, block: str) -> int:
    """Append a block that starts on a line of its own; give the size of the log after it."""
    with log.open("a+b") as file:
        # Nobody else writes: a command of an earlier attempt is dead before the next one begins.
        if size := file.seek(0, os.SEEK_END):
            file.seek(size - 1)
            if file.read(1) != b"\n":
                block = "\n" + block
        file.write(block.encode(errors="surrogateescape"))
        file.flush()
        return os.fstat(file.fileno()).st_size
