"""The real program on this machine, which must leave no process behind."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests import processes
from tests.local.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tbss(tmp_path: Path) -> Iterator[Program]:
    """The program in a fresh folder, for one test."""
    with leaving_nothing(tmp_path) as program:
        yield program


@pytest.fixture(scope="module")
def shared_tbss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program in a fresh folder, for all tests of a file that look at one run."""
    with leaving_nothing(tmp_path_factory.mktemp("shared")) as program:
        yield program


@contextmanager
def leaving_nothing(root: Path) -> Iterator[Program]:
    """Lend the program; afterwards every process of its folder must end by itself."""
    program = Program(root)
    try:
        yield program
        ended = processes.until(lambda: not list(program.processes()))
        left = [processes.command_line(pid) for pid in program.processes()]
        assert ended, f"left running: {left}"
    finally:
        processes.kill_all(program.processes)
