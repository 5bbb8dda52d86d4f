"""Processes are told apart even when their numbers are used again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tbss_hpc.store.process import process_alive, process_identity

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_process_that_runs_is_alive(child: subprocess.Popen[bytes]) -> None:
    assert process_alive(process_identity(child.pid))


def test_a_zombie_is_dead(child: subprocess.Popen[bytes]) -> None:
    identity = process_identity(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert not process_alive(identity)


def test_a_process_that_was_reaped_is_dead(child: subprocess.Popen[bytes]) -> None:
    identity = process_identity(child.pid)
    child.kill()
    child.wait()

    assert not process_alive(identity)


def test_a_process_that_had_ended_before_it_was_named_is_dead(
    child: subprocess.Popen[bytes],
) -> None:
    child.kill()
    child.wait()

    assert not process_alive(process_identity(child.pid))


def test_a_process_of_the_same_number_that_started_at_another_time_is_another() -> None:
    pid, started, boot = process_identity(os.getpid()).split(":")

    assert not process_alive(f"{pid}:{int(started) + 1}:{boot}")


def test_a_process_of_before_the_last_boot_is_dead() -> None:
    pid, started, _boot = process_identity(os.getpid()).split(":")

    assert not process_alive(f"{pid}:{started}:00000000")


def test_a_process_may_be_called_anything(child: subprocess.Popen[bytes]) -> None:
    program = "import sys, ctypes; ctypes.CDLL(None).prctl(15, b'a) Z (b c'); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", f"{program}; print()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as odd:
        identity = process_identity(odd.pid)
        alive = process_alive(identity)
        odd.communicate(b"")

    assert alive
    assert identity.count(":") == 2
    assert child.poll() is None
