"""At a terminal: the question, the moving picture, Ctrl-C, and a closed window."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests import processes
from tests.local.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.program import Program

CTRL_C = b"\x03"


class Terminal:
    """A window in which the program runs; what it shows is kept."""

    def __init__(self, tbss: Program, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self._shown = b""
        self._closed = threading.Event()
        self.program = subprocess.Popen(
            # A session of its own whose terminal this is, as a window gives it to a program.
            # And with all signals as a login leaves them, though the tests may run under nohup.
            ["env", "--default-signal", "setsid", "--ctty", "--wait", str(PROGRAM), *words],
            cwd=tbss.folder,
            env={**tbss.environment, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def shows(self, text: str) -> bool:
        """Wait until a text was shown."""
        return processes.until(lambda: text in self._shown.decode(errors="replace"))

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def code(self) -> int:
        """Wait for the end of the program; give its exit code."""
        return self.program.wait(timeout=processes.PATIENCE_SECONDS)

    def close(self) -> None:
        """Close the window: the kernel hangs up on everybody in it."""
        self._closed.set()
        self._reader.join(timeout=processes.PATIENCE_SECONDS)
        os.close(self._ours)

    def _read(self) -> None:
        # Never blocked in a read: that would keep the window open for those in it.
        with suppress(OSError):
            while not self._closed.is_set():
                if select.select([self._ours], [], [], 0.1)[0]:
                    self._shown += os.read(self._ours, 4096)


@pytest.fixture
def listed(tbss: Program) -> Iterator[Program]:
    """A list of commands whose time can be told."""
    tbss.write("list", "until [ -e go ]; do sleep 0.2; done", "true", "true")
    yield tbss
    (tbss.folder / "go").touch()


def test_a_question_is_asked_and_ctrl_c_or_no_starts_nothing(listed: Program) -> None:
    for keys, code in ((CTRL_C, 130), (b"n\n", 130)):
        terminal = Terminal(listed, "submit", "list")
        assert terminal.shows("3 commands")
        assert terminal.shows("Start? [Y/n]")
        terminal.press(keys)

        assert terminal.shows("nothing was started")
        assert terminal.code() == code
    assert not listed.run_folder().exists()
    assert list(listed.processes()) == []


def test_progress_moves_ctrl_c_detaches_and_a_closed_window_ends_nothing(listed: Program) -> None:
    first = Terminal(listed, "submit", "list", "--run", "mine")
    assert first.shows("Start?")
    first.press(b"\n")
    assert first.shows("2 of 3 done")
    assert first.shows("running:")
    assert first.shows("dashboard: http://127.0.0.1:")
    first.press(CTRL_C)
    assert first.shows("tbss-hpc attach --run mine")
    assert first.code() == 0

    second = Terminal(listed, "attach", "--run", "mine")
    assert second.shows("2 of 3 done")
    second.close()
    second.program.wait(timeout=processes.PATIENCE_SECONDS)
    assert listed.status()["state"] == "running"

    third = Terminal(listed, "attach")
    assert third.shows("2 of 3 done")
    (listed.folder / "go").touch()
    assert third.shows("Run mine: finished")
    assert third.code() == 0
