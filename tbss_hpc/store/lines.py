"""Append-only files of JSON lines, each with one writer at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import msgspec

T = TypeVar("T")


class LineWriter:
    """Appends synced lines; a line that could not be written whole is taken back."""

    def __init__(self, path: Path, *, flags: int = 0) -> None:
        """Open the file at its end; `flags` are added to those of os.open."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | flags, 0o600)
        self._encoder = msgspec.json.Encoder()
        self._torn = False  #: there may be a part of a line at the end
        self._mend_torn_end()

    def append(self, items: Iterable[object], *, sync: bool = True) -> None:
        """Write one line for each item, and make certain that they are on disk.

        Raises OSError (no space, say); the file then ends as it did before.
        """
        content = b"".join(self._encoder.encode(item) + b"\n" for item in items)
        if self._torn:
            self._mend_torn_end()
        before = os.fstat(self._descriptor).st_size
        try:
            self._write(content)
            if sync:
                os.fsync(self._descriptor)
        except OSError:
            self._take_back(before)
            raise

    def _take_back(self, size: int) -> None:
        try:
            os.ftruncate(self._descriptor, size)
        except OSError:
            # What was wrong with the writing is what the caller is to hear of.
            self._torn = True

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """Give the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def _write(self, content: bytes) -> None:
        # A nearly full disk takes a part of what is asked and reports the rest only next time.
        view = memoryview(content)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _mend_torn_end(self) -> None:
        """End a line that an earlier writer left torn, so that ours starts on its own."""
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            self._write(b"\n")
        self._torn = False


class LineReader(Generic[T]):
    """Reads what was appended since the last look.

    The file is opened anew for each look: an NFS client may serve an open file from its cache.
    """

    def __init__(self, path: Path, decoder: msgspec.json.Decoder[T]) -> None:
        """Start before the first line."""
        self.path = path
        self._decoder = decoder
        self._offset = 0
        #: Lines that were torn or that this version does not know.
        self.unread: list[bytes] = []

    def new(self, limit: int | None = None) -> Iterator[T]:
        """Yield each complete new line, decoded; a missing file has none.

        limit -- what stands behind so many bytes of the file is not read.
        """
        for line in self._new_lines(limit):
            try:
                yield self._decoder.decode(line)
            except msgspec.DecodeError:
                # A torn end that a later writer closed, or an entry of a newer version: kept in
                # the file, counted here, and no reason to distrust the lines around it.
                self.unread.append(line)

    def _new_lines(self, limit: int | None) -> list[bytes]:
        try:
            with self.path.open("rb") as file:
                # A writer takes back what it could not write whole, and goes on from there.
                self._offset = min(self._offset, file.seek(0, os.SEEK_END))
                file.seek(self._offset)
                content = file.read(-1 if limit is None else max(limit - self._offset, 0))
        except FileNotFoundError:
            return []
        complete = content[: content.rfind(b"\n") + 1]
        self._offset += len(complete)
        return [line for line in complete.split(b"\n") if line]
