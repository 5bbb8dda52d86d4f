"""The records of allocations: written on the node, read by controllers and by `status`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from tbss_hpc.core.attempt import AttemptId
from tbss_hpc.core.record import AllDead, Closed, Ended, Heartbeat, Opened, Record, Started
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.lines import LineReader

_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


class Evidence:
    """What the records of one allocation say so far."""

    def __init__(self, path: Path) -> None:
        """Start before the first record."""
        self.allocation = path.stem
        self._reader = LineReader(path, _DECODER)
        self.opened: Opened | None = None
        self.started: dict[AttemptId, Started] = {}  #: without an `ended` record so far
        self.heartbeat: Heartbeat | None = None
        self.closed: Closed | None = None
        self.all_dead: AllDead | None = None
        self.last_at = 0.0  #: Unix time, by the node's clock, of the newest record

    def look(self) -> list[Record]:
        """Take in what was written since the last look, and give it back."""
        new = list(self._reader.new())
        for record in new:
            self._take(record)
        return new

    def _take(self, record: Record) -> None:
        self.last_at = max(self.last_at, record.at)
        match record:
            case Opened():
                # One allocation's name is used once; a second `opened` would be a new process.
                self.opened, self.all_dead = record, None
            case Started(attempt=attempt):
                self.started[attempt] = record
            case Ended(report=report):
                self.started.pop(report.attempt, None)
            case Heartbeat():
                self.heartbeat = record
            case Closed():
                self.closed = record
            case AllDead():
                self.all_dead = record


def all_evidence(run: RunFolder) -> Iterator[Evidence]:
    """Yield the evidence of each allocation that has written any, not looked at yet."""
    for path in sorted(run.records.glob("*.jsonl")):
        yield Evidence(path)
