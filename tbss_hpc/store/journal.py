"""The journal of a run: one file per epoch, each with one writer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from tbss_hpc.core.actions import Entry
from tbss_hpc.errors import FilesError, StoppedError
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.lines import LineReader, LineWriter


class Inherited(Struct, frozen=True, tag="inherited", tag_field="event"):
    """The first line of an epoch: how much of the earlier ones its controller has taken in.

    A controller that was stopped may write once more when it wakes up, after the next one has read
    its journal. Nobody acts on that, so nobody may believe it later either.
    """

    sizes: dict[str, int]  #: bytes, by the name of the file


_DECODER: msgspec.json.Decoder[Entry | Inherited] = msgspec.json.Decoder(Entry | Inherited)
_FIRST: msgspec.json.Decoder[Inherited] = msgspec.json.Decoder(Inherited)


def newest_epoch(run: RunFolder) -> int:
    """Give the highest epoch that a controller has claimed; 0 before the first."""
    return max((int(path.stem) for path in _files(run)), default=0)


def _files(run: RunFolder) -> list[Path]:
    """List the files of all epochs in order, and none that somebody has put beside them."""
    return sorted(path for path in run.journal.glob("*.jsonl") if path.stem.isdecimal())


class Journal:
    """The writing end of one epoch."""

    def __init__(self, run: RunFolder, epoch: int) -> None:
        """Claim the epoch by creating its file, which only one process can.

        Raises StoppedError if another controller was quicker, FilesError if nothing can be written.
        """
        self._run = run
        self.epoch = epoch
        self._path = run.journal / f"{epoch:06d}.jsonl"
        try:
            self._writer = LineWriter(self._path, flags=os.O_EXCL)
            self._writer.append([Inherited({p.name: _size(p) for p in self._earlier()})])
        except FileExistsError as error:
            raise StoppedError(
                "Another controller has just taken over this run.",
                why=f"{self._path} exists",
                fix="look at it with `tbss-hpc status`, or go on with `tbss-hpc attach`",
            ) from error
        except OSError as error:
            raise FilesError(
                "The journal cannot be written, so the run cannot be controlled.",
                why=f"{self._path}: {error.strerror}",
                fix="make room, then `tbss-hpc resume`",
            ) from error

    def _earlier(self) -> list[Path]:
        return [path for path in _files(self._run) if int(path.stem) < self.epoch]

    def append(self, entries: list[Entry]) -> None:
        """Write entries and make certain that they are on disk before anybody acts on them."""
        self._writer.append(entries)

    def superseded(self) -> bool:
        """Tell whether a newer controller has claimed the run; then nobody obeys this one."""
        return newest_epoch(self._run) > self.epoch

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def _size(path: Path) -> int:
    # Opened, not just asked for: an NFS client asks its server anew when a file is opened.
    with path.open("rb") as file:
        return file.seek(0, os.SEEK_END)


class JournalReader:
    """The reading end of all epochs; follows those that are still written."""

    def __init__(self, run: RunFolder) -> None:
        """Start before the first entry."""
        self._run = run
        self._readers: dict[str, LineReader[Entry | Inherited]] = {}
        #: The first line of each epoch, once it is there, and where it ends.
        self._first: dict[str, tuple[Inherited, int]] = {}

    def new(self) -> Iterator[Entry]:
        """Yield entries since the last look, oldest first.

        Torn lines, entries that this version does not know, and what a stopped controller wrote
        after it was replaced are left out.
        """
        files = _files(self._run)
        limits = self._limits(files)
        for path in files:
            reader = self._readers.setdefault(path.name, LineReader(path, _DECODER))
            for entry in reader.new(limits.get(path.name)):
                if not isinstance(entry, Inherited):
                    yield entry

    def unread(self) -> int:
        """Count the lines that were torn, or that this version does not know."""
        return sum(len(reader.unread) for reader in self._readers.values())

    def _limits(self, files: list[Path]) -> dict[str, int]:
        """Say how much of each file counts: as much as the next controller has taken in."""
        limits: dict[str, int] = {}
        for path in reversed(files):
            inherited, end = self._first_line(path)
            if end <= limits.get(path.name, end):
                limits.update(inherited.sizes)
        return limits

    def _first_line(self, path: Path) -> tuple[Inherited, int]:
        if path.name not in self._first:
            with path.open("rb") as file:
                line = file.readline()
            try:
                self._first[path.name] = (_FIRST.decode(line), len(line))
            except msgspec.DecodeError:
                return Inherited({}), len(line)  # still being written, or of an older version
        return self._first[path.name]
