"""Append-only lines: whole or not there, whatever happens to their writers."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from tbss_hpc.store.lines import LineReader, LineWriter


class Note(Struct, frozen=True):
    """What these tests write."""

    text: str


DECODER = msgspec.json.Decoder(Note)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.jsonl"


def write(path: Path, *texts: str) -> None:
    with LineWriter(path) as writer:
        writer.append([Note(text) for text in texts])


def read(path: Path) -> list[str]:
    return [note.text for note in LineReader(path, DECODER).new()]


def test_what_was_written_is_read_in_order(path: Path) -> None:
    write(path, "one", "two")
    write(path, "three")

    assert read(path) == ["one", "two", "three"]
    assert path.read_text() == '{"text":"one"}\n{"text":"two"}\n{"text":"three"}\n'


def test_a_reader_gives_each_line_once(path: Path) -> None:
    reader = LineReader(path, DECODER)
    write(path, "one")

    assert list(reader.new()) == [Note("one")]
    assert list(reader.new()) == []
    write(path, "two")
    assert list(reader.new()) == [Note("two")]


def test_a_file_that_is_not_there_yet_has_no_lines(path: Path) -> None:
    reader = LineReader(path, DECODER)

    assert list(reader.new()) == []
    write(path, "one")
    assert list(reader.new()) == [Note("one")]


def test_a_line_breaks_nothing_by_what_it_says(path: Path) -> None:
    write(path, 'a\nb\r\t"\0 ü \u2028')

    assert path.read_bytes().count(b"\n") == 1
    assert read(path) == ['a\nb\r\t"\0 ü \u2028']


def test_others_may_not_read_the_lines(path: Path) -> None:
    write(path, "one")

    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("lost", range(1, len('{"text":"two"}\n')))
def test_a_torn_last_line_is_left_out_and_costs_no_other(path: Path, lost: int) -> None:
    write(path, "one", "two")
    os.truncate(path, path.stat().st_size - lost)

    reader = LineReader(path, DECODER)
    assert list(reader.new()) == [Note("one")]
    write(path, "three")
    assert list(reader.new())[-1] == Note("three")
    assert read(path)[0] == "one"
    assert read(path)[-1] == "three"


def test_a_last_line_that_only_lacks_its_end_is_kept_by_the_next_writer(path: Path) -> None:
    write(path, "one")
    os.truncate(path, path.stat().st_size - 1)

    assert read(path) == []
    write(path, "two")
    assert read(path) == ["one", "two"]


def test_lines_of_a_newer_version_are_kept_in_the_file_and_skipped(path: Path) -> None:
    write(path, "one")
    with path.open("ab") as file:
        file.write(b'{"new":1}\nnot json at all\n\0\0\0\n{"text":"two","more":2}\n')
    reader = LineReader(path, DECODER)

    assert list(reader.new()) == [Note("one"), Note("two")]
    assert reader.unread == [b'{"new":1}', b"not json at all", b"\0\0\0"]


def test_a_reader_stops_at_its_limit(path: Path) -> None:
    write(path, "one")
    limit = path.stat().st_size
    write(path, "two")
    reader = LineReader(path, DECODER)

    assert list(reader.new(limit)) == [Note("one")]
    assert list(reader.new(limit)) == []
    assert list(reader.new()) == [Note("two")]


def test_a_full_disk_is_told_to_the_writer() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")

    with pytest.raises(OSError, match="No space left"):
        LineWriter(Path("/dev/full")).append([Note("one")])


@contextmanager
def small_files(size: int = 40) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as on a disk that is nearly full.

    Not a fixture: pytest itself writes, perhaps to a file, before it ends one.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_line_that_does_not_fit_is_taken_back(path: Path) -> None:
    with small_files(), LineWriter(path) as writer:
        writer.append([Note("one")])
        with pytest.raises(OSError, match="too large") as caught:
            writer.append([Note("two"), Note("x" * 40)])
        writer.append([Note("three")])

    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b'{"text":"one"}\n{"text":"three"}\n'


def test_a_reader_that_saw_a_line_before_it_was_taken_back_goes_on_where_it_was(
    path: Path,
) -> None:
    reader = LineReader(path, DECODER)
    write(path, "one", "two")

    assert len(list(reader.new())) == 2
    os.truncate(path, len('{"text":"one"}\n'))
    assert list(reader.new()) == []
    write(path, "three")
    assert list(reader.new()) == [Note("three")]


def test_a_reader_sees_only_whole_lines_while_a_writer_appends(path: Path) -> None:
    texts = ["x" * (number % 700) + str(number) for number in range(400)]
    reader = LineReader(path, DECODER)
    seen: list[str] = []

    def append() -> None:
        with LineWriter(path) as writer:
            for text in texts:
                writer.append([Note(text)], sync=False)

    thread = threading.Thread(target=append)
    thread.start()
    while thread.is_alive():
        seen += [note.text for note in reader.new()]
    thread.join()
    seen += [note.text for note in reader.new()]

    assert seen == texts
    assert reader.unread == []


def test_what_a_killed_writer_had_appended_is_there(path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from tbss_hpc.store.lines import LineWriter\n"
        "writer = LineWriter(Path(sys.argv[1]))\n"
        "writer.append([{'text': 'one'}]); os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, str(path)], cwd=root, check=False, timeout=60)

    assert read(path) == ["one"]


def test_a_torn_line_that_could_not_be_taken_back_does_not_spoil_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with LineWriter(path) as writer:
        writer.append([Note("one")])
        with monkeypatch.context() as patch, small_files(20):
            patch.setattr(os, "ftruncate", refuse)
            with pytest.raises(OSError, match="too large"):
                writer.append([Note("two")])
        writer.append([Note("three")])

    assert read(path) == ["one", "three"]


pieces = st.lists(st.one_of(st.text(max_size=8), st.integers(1, 12)), max_size=12)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(history=pieces)
def test_no_tear_costs_more_than_what_was_torn(tmp_path: Path, history: list[str | int]) -> None:
    path = tmp_path / "history.jsonl"
    path.unlink(missing_ok=True)
    reader, seen, written = LineReader(path, DECODER), [], []
    for piece in history:
        if isinstance(piece, str):
            write(path, piece)
            written.append(piece)
            seen += [note.text for note in reader.new()]
        else:
            # A writer that died: a part of a line, without its end.
            with path.open("ab") as file:
                file.write(b'{"text":"torn"}'[:piece])

    assert seen == written
    assert read(path) == written
