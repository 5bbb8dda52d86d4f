"""The journal of a run: one file per epoch, each with one writer."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from tbss_hpc.core.actions import Entry
from tbss_hpc.errors import StoppedError
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.lines import LineReader, LineWriter

_DECODER: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def newest_epoch(run: RunFolder) -> int:
    """Give the highest epoch that a controller has claimed; 0 before the first."""
    return max((int(p.stem) for p in run.journal.glob("*.jsonl")), default=0)


class Journal:
    """The writing end of one epoch."""

    def __init__(self, run: RunFolder, epoch: int) -> None:
        """Claim the epoch by creating its file, which only one process can.

        Raises StoppedError if another controller was quicker.
        """
        self._run = run
        self.epoch = epoch
        self._path = run.journal / f"{epoch:06d}.jsonl"
        try:
            self._writer = LineWriter(self._path, flags=os.O_EXCL)
        except FileExistsError as error:
            raise StoppedError(
                "Another controller has just taken over this run.",
                why=f"{self._path} exists",
                fix="look at it with `tbss-hpc status`, or go on with `tbss-hpc attach`",
            ) from error

    def append(self, entries: list[Entry]) -> None:
        """Write entries and make certain that they are on disk before anybody acts on them."""
        self._writer.append(entries)

    def superseded(self) -> bool:
        """Tell whether a newer controller has claimed the run; then nobody obeys this one."""
        return newest_epoch(self._run) > self.epoch

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class JournalReader:
    """The reading end of all epochs; follows those that are still written."""

    def __init__(self, run: RunFolder) -> None:
        """Start before the first entry."""
        self._run = run
        self._readers: dict[str, LineReader[Entry]] = {}

    def new(self) -> Iterator[Entry]:
        """Yield entries since the last look, oldest first.

        Torn lines and entries that this version does not know are left out.
        """
        for path in sorted(self._run.journal.glob("*.jsonl")):
            reader = self._readers.setdefault(path.name, LineReader(path, _DECODER))
            yield from reader.new()


def read_journal(run: RunFolder) -> Iterator[Entry]:
    """Yield every entry of a run, oldest first."""
    return JournalReader(run).new()
