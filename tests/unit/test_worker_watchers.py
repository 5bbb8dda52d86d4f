"""Whoever of outer, inner and worker dies, nothing of the allocation runs on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs prctl and /proc")

ROOT = Path(__file__).resolve().parents[2]

#: Generous: it only matters when something is broken.
DEADLINE_SECONDS = 60.0

#: What a worker does in these tests: `program.py MARKER FOLDER [end]`.
PROGRAM = """
import os, signal, subprocess, sys, time
from pathlib import Path
from tbss_hpc.worker.watchers import guard

marker, folder, *rest = sys.argv[1:]
folder = Path(folder)

def living():
    # The commands carry the marker as their own name; the worker and the watchers do not.
    count = 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                count += (process / "cmdline").read_bytes().startswith(marker.encode())
            except OSError:
                pass
    return count

def write_all_dead(code):
    with (folder / "all-dead").open("a") as file:
        file.write(f"{os.getpid()} {code} {living()}\\n")

def note(number, _frame):
    with (folder / "signals").open("a") as file:
        file.write(signal.Signals(number).name + "\\n")

guard(write_all_dead)

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, note)

COMMAND = '''
sleeper() { exec -a "$MARKER" sleep 86400; }
nohup bash -c 'exec -a "$MARKER" sleep 86400' &
sleeper &
setsid bash -c 'exec -a "$MARKER" sleep 86400' &
( ( sleeper & ) & )
( setsid bash -c '( exec -a "$MARKER" sleep 86400 ) & exec -a "$MARKER" sleep 86400' & )
[ "$1" = end ] || sleeper
'''
command = subprocess.Popen(
    ["bash", "-c", COMMAND, "command", *rest],
    env={**os.environ, "MARKER": marker}, start_new_session=True, stdin=subprocess.DEVNULL,
)
while living() < (6 if rest else 7):
    time.sleep(0.01)
(folder / "worker.part").write_text(f"{os.getppid()} {os.getpid()}")
(folder / "worker.part").rename(folder / "worker")
if rest:
    sys.exit(command.wait())
while not (folder / "leave").exists():
    time.sleep(0.01)
sys.exit(int((folder / "leave").read_text()))
"""


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; a deadline that passes is a failure."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.005)


@dataclass
class Allocation:
    """A script that runs the program above, as a batch system would start it."""

    folder: Path
    marker: str
    script: subprocess.Popen[bytes]
    inner: int = 0
    worker: int = 0

    @property
    def outer(self) -> int:
        return self.parent(self.inner)

    def wait_until_started(self) -> None:
        until((self.folder / "worker").exists)
        self.inner, self.worker = map(int, (self.folder / "worker").read_text().split())

    def living(self) -> list[str]:
        """List what carries the marker anywhere in its command line: commands and our three."""
        found = []
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes() if process.name.isdigit() else b""
                if self.marker.encode() in words:
                    found.append(f"{process.name} {words!r}")
        return found

    def all_dead(self) -> list[list[int]]:
        """Give what was written at the end: by whom, the worker's code, commands still living."""
        path = self.folder / "all-dead"
        lines = path.read_text().splitlines() if path.exists() else []
        return [[int(word) for word in line.split()] for line in lines]

    def signals(self) -> list[str]:
        path = self.folder / "signals"
        return path.read_text().split() if path.exists() else []

    def leave(self, code: int) -> None:
        part = self.folder / "leave.part"
        part.write_text(str(code))
        part.rename(self.folder / "leave")

    def assert_nothing_is_left(self, code: int, by: int) -> None:
        until(lambda: not self.living())
        until(self.all_dead)

        assert self.all_dead() == [[by, code, 0]]

    @staticmethod
    def parent(pid: int) -> int:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return int(stat.rpartition(b")")[2].split()[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Allocation]]:
    """Start allocations, and leave nothing of them behind whatever becomes of the test."""
    started: list[Allocation] = []
    (tmp_path / "program.py").write_text(PROGRAM)

    def start_one(*arguments: str, before: str = "", wait: bool = True) -> Allocation:
        marker = f"marker-{uuid.uuid4().hex}"
        program = f"'{sys.executable}' program.py {marker} '{tmp_path}' {' '.join(arguments)}"
        # Not exec'd: outer is a child of the script's shell, in its process group.
        script = subprocess.Popen(
            ["bash", "-c", f"{before}\n{program}\nexit $?"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        allocation = Allocation(tmp_path, marker, script)
        started.append(allocation)
        if wait:
            allocation.wait_until_started()
        return allocation

    yield start_one
    for allocation in started:
        for line in allocation.living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGKILL)
        allocation.script.wait(DEADLINE_SECONDS)


def test_a_killed_worker_takes_its_commands_along(start: Callable[..., Allocation]) -> None:
    allocation = start()
    os.kill(allocation.worker, signal.SIGKILL)

    assert allocation.script.wait(DEADLINE_SECONDS) == 128 + signal.SIGKILL
    allocation.assert_nothing_is_left(-signal.SIGKILL, by=allocation.inner)


def test_when_inner_is_killed_outer_cleans_up(start: Callable[..., Allocation]) -> None:
    allocation = start()
    outer = allocation.outer
    os.kill(allocation.inner, signal.SIGKILL)

    assert allocation.script.wait(DEADLINE_SECONDS) == 128 + signal.SIGKILL
    allocation.assert_nothing_is_left(-signal.SIGKILL, by=outer)


def test_when_outer_is_killed_inner_cleans_up(start: Callable[..., Allocation]) -> None:
    allocation = start()
    os.kill(allocation.outer, signal.SIGKILL)

    assert allocation.script.wait(DEADLINE_SECONDS) == 128 + signal.SIGKILL
    allocation.assert_nothing_is_left(-signal.SIGKILL, by=allocation.inner)


def test_when_the_scripts_process_group_is_killed_inner_cleans_up(
    start: Callable[..., Allocation],
) -> None:
    allocation = start()
    os.killpg(allocation.script.pid, signal.SIGKILL)

    assert allocation.script.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    allocation.assert_nothing_is_left(-signal.SIGKILL, by=allocation.inner)


def test_when_inners_process_group_is_killed_outer_cleans_up(
    start: Callable[..., Allocation],
) -> None:
    allocation = start()
    outer = allocation.outer
    os.killpg(allocation.inner, signal.SIGKILL)

    assert allocation.script.wait(DEADLINE_SECONDS) == 128 + signal.SIGKILL
    allocation.assert_nothing_is_left(-signal.SIGKILL, by=outer)


@pytest.mark.parametrize("victims", [("worker", "outer"), ("worker", "inner")])
def test_one_watcher_is_enough_when_the_worker_is_killed_with_the_other(
    start: Callable[..., Allocation], victims: tuple[str, str]
) -> None:
    allocation = start()
    survivor = allocation.inner if "outer" in victims else allocation.outer
    pids = [getattr(allocation, name) for name in victims]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # the first death may have been enough
            os.kill(pid, signal.SIGKILL)

    allocation.assert_nothing_is_left(-signal.SIGKILL, by=survivor)


def test_a_frozen_worker_and_frozen_commands_die_too(start: Callable[..., Allocation]) -> None:
    allocation = start()
    for line in allocation.living():
        pid = int(line.split()[0])
        if pid not in {allocation.inner, allocation.outer, allocation.script.pid}:
            os.kill(pid, signal.SIGSTOP)
    os.kill(allocation.outer, signal.SIGKILL)

    allocation.assert_nothing_is_left(-signal.SIGKILL, by=allocation.inner)


@pytest.mark.parametrize("code", [0, 1, 70])
def test_the_workers_exit_code_passes_through(start: Callable[..., Allocation], code: int) -> None:
    allocation = start()
    allocation.leave(code)

    assert allocation.script.wait(DEADLINE_SECONDS) == code
    allocation.assert_nothing_is_left(code, by=allocation.inner)


def test_a_worker_that_leaves_by_itself_leaves_no_stray_behind(
    start: Callable[..., Allocation],
) -> None:
    allocation = start("end")  # the command has ended, its background processes have not

    assert allocation.script.wait(DEADLINE_SECONDS) == 0
    allocation.assert_nothing_is_left(0, by=allocation.inner)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_the_worker_hears_what_outer_is_sent(start: Callable[..., Allocation], name: str) -> None:
    # A shell that has no terminal is free to ignore SIGINT for what it runs; ours does not.
    allocation = start()
    os.kill(allocation.outer, getattr(signal, name))
    until(allocation.signals)
    allocation.leave(0)

    assert allocation.script.wait(DEADLINE_SECONDS) == 0
    assert allocation.signals() == [name]
    allocation.assert_nothing_is_left(0, by=allocation.inner)


def test_a_term_to_every_process_is_survived_by_the_watchers_and_heard_by_the_worker(
    start: Callable[..., Allocation],
) -> None:
    # SLURM does this at the time limit and at scancel, KillWait seconds before SIGKILL.
    allocation = start(before="trap : TERM")
    for pid in (allocation.inner, allocation.outer, allocation.worker, allocation.script.pid):
        os.kill(pid, signal.SIGTERM)
    until(allocation.signals)
    allocation.leave(0)

    # One comes directly, one through outer; they may fall into one.
    assert allocation.script.wait(DEADLINE_SECONDS) == 0
    assert allocation.signals() in (["SIGTERM"], ["SIGTERM", "SIGTERM"])
    allocation.assert_nothing_is_left(0, by=allocation.inner)


def test_a_worker_without_a_handler_dies_of_the_signal(
    tmp_path: Path, start: Callable[..., Allocation]
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("signal.signal(number, note)", "pass"))
    allocation = start()
    os.kill(allocation.outer, signal.SIGTERM)

    assert allocation.script.wait(DEADLINE_SECONDS) == 128 + signal.SIGTERM
    allocation.assert_nothing_is_left(-signal.SIGTERM, by=allocation.inner)


def test_what_was_ignored_when_the_script_started_stays_ignored(
    start: Callable[..., Allocation],
) -> None:
    allocation = start(before="trap '' HUP")  # as nohup does
    os.kill(allocation.outer, signal.SIGHUP)
    os.kill(allocation.outer, signal.SIGUSR1)
    until(allocation.signals)
    allocation.leave(0)

    assert allocation.script.wait(DEADLINE_SECONDS) == 0
    assert allocation.signals() == ["SIGUSR1"]


def test_children_can_be_waited_for_where_the_script_ignores_sigchld(
    start: Callable[..., Allocation],
) -> None:
    allocation = start("end", before="trap '' CHLD")

    assert allocation.script.wait(DEADLINE_SECONDS) == 0
    allocation.assert_nothing_is_left(0, by=allocation.inner)


def test_orphans_are_reaped_while_the_worker_lives(start: Callable[..., Allocation]) -> None:
    allocation = start()
    orphans = [pid for pid in children(allocation.inner) if pid != allocation.worker]
    for orphan in orphans:
        os.kill(orphan, signal.SIGKILL)
    until(lambda: not set(orphans) & set(children(allocation.inner)))

    assert orphans, "double forks should have become children of inner"
    assert not allocation.all_dead()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_watchers_sleep_while_the_worker_lives(start: Callable[..., Allocation]) -> None:
    allocation = start()
    watchers = (allocation.inner, allocation.outer)
    before = {pid: switches(pid) for pid in watchers}
    rounds = switches(allocation.worker)
    until(lambda: switches(allocation.worker) > rounds + 200)  # it polls, and they do not

    # Inner may wake for an orphan or two that end late.
    assert all(switches(pid) - before[pid] < 10 for pid in watchers)


def switches(pid: int) -> int:
    """Count how often a process has gone to sleep of its own will."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_a_watcher_that_cannot_write_still_passes_the_exit_code_on(
    tmp_path: Path, start: Callable[..., Allocation]
) -> None:
    (tmp_path / "all-dead").mkdir()
    allocation = start()
    allocation.leave(3)

    assert allocation.script.wait(DEADLINE_SECONDS) == 3
    until(lambda: not allocation.living())


def test_the_module_imports_only_the_standard_library() -> None:
    code = "import sys; import tbss_hpc.worker.watchers; print(*sys.modules)"
    reply = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    loaded = {name for name in reply.stdout.split() if not name.startswith("_")}
    ours = {name for name in loaded if name.startswith("tbss_hpc")}

    assert ours == {"tbss_hpc", "tbss_hpc.worker", "tbss_hpc.worker.watchers"}
    assert {name.partition(".")[0] for name in loaded - ours} <= sys.stdlib_module_names
