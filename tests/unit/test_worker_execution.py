"""Commands are run, measured, limited and stopped, with all that they start."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tbss_hpc.core.attempt import AttemptId, Order
from tbss_hpc.core.command import Command
from tbss_hpc.core.outcome import Cut, Failed, Killed, Outcome, OutOfMemory, Succeeded, TimedOut
from tbss_hpc.worker import oom
from tbss_hpc.worker.execution import CannotStart, Execution, Raw

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

#: Generous: it only matters when something is broken.
DEADLINE_SECONDS = 60.0


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; a deadline that passes is a failure."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.005)


@dataclass
class Bench:
    """A folder to run commands in, whose processes can be told by a marker."""

    folder: Path
    marker: str = field(default_factory=lambda: f"marker-{uuid.uuid4().hex}")
    commands: Iterator[int] = field(default_factory=itertools.count)

    @property
    def log(self) -> Path:
        return self.folder / "command.log"

    def execution(
        self, text: str, *, timeout: float | None = None, grace: float = 0.3, folder: str = ""
    ) -> Execution:
        name = f"{next(self.commands):016x}"
        command = Command(name, 1, "L1", text, folder or str(self.folder))
        order = Order(AttemptId(command.id, 2), 1, command, self.log.name, timeout_seconds=timeout)
        environment = {
            **os.environ,
            "MARKER": self.marker,
            "STRAY": 'exec -a "$MARKER" sleep 86400',
        }
        return Execution(order, self.log, environment, grace_seconds=grace)

    def run(self, text: str, *, timeout: float | None = None, grace: float = 0.3) -> Raw:
        return self.execution(text, timeout=timeout, grace=grace).run()

    def start(self, execution: Execution) -> Future[Raw]:
        """Run in a thread, as a slot does."""
        future: Future[Raw] = Future()

        def run() -> None:
            try:
                future.set_result(execution.run())
            except BaseException as error:  # noqa: BLE001 -- handed to who waits
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future

    def strays(self) -> list[int]:
        """List the living processes that go by the marker."""
        found = []
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                name = (process / "cmdline").read_bytes() if process.name.isdigit() else b""
                if name.startswith(self.marker.encode()):
                    found.append(int(process.name))
        return found

    def printed(self) -> str:
        return self.log.read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    if sys.platform == "linux":
        for pid in bench.strays():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("text", "outcome", "code"),
    [
        ("true", Succeeded(), 0),
        ("false", Failed(1), 1),
        ("exit 3", Failed(3), 3),
        ("no-such-program-anywhere", Failed(127), 127),
        ("kill -TERM $$; sleep 60", Killed(15), -15),
        ("kill -KILL $$; sleep 60", Killed(9), -9),
        ("bash -c 'kill -SEGV $$'; exit $?", Failed(139), 139),
        ("false | true", Succeeded(), 0),
        ("set -o pipefail; false | true", Failed(1), 1),
        ("yes | head -n 1 >/dev/null", Succeeded(), 0),
    ],
)
def test_the_exit_code_decides(bench: Bench, text: str, outcome: Outcome, code: int) -> None:
    raw = bench.run(text)

    assert (raw.outcome, raw.exit_code) == (outcome, code)


def test_the_line_is_bashs_and_runs_in_its_folder(bench: Bench) -> None:
    bench.run(
        """x=( one "two  words" ); echo "${x[1]}" '$HOME' | cat - <(pwd -P); cat; echo e >&2"""
    )

    assert bench.printed() == f"two  words $HOME\n{bench.folder.resolve()}\ne\n"


def test_the_log_is_appended_to(bench: Bench) -> None:
    bench.log.write_text("before\n")
    bench.run("echo after")

    assert bench.printed() == "before\nafter\n"


def test_the_command_knows_its_attempt_and_its_environment(bench: Bench) -> None:
    bench.run('echo "$TBSS_HPC_ATTEMPT"; echo "$MARKER"')

    assert bench.printed() == f"0000000000000000.2.{os.getpid()}\n{bench.marker}\n"


def test_a_hundred_megabytes_of_output_are_kept(bench: Bench) -> None:
    raw = bench.run("yes 0123456789 | head -c 100000000")

    assert raw.outcome == Succeeded()
    assert bench.log.stat().st_size == 100_000_000


def test_what_a_command_takes_is_measured(bench: Bench) -> None:
    # Larger than this process, whose size is the least that Linux reports for its children.
    program = "import time\nmemory = b'x' * 400_000_000\nwhile time.process_time() < 0.5: pass"
    before = time.time()
    raw = bench.run(f"{sys.executable} -c {shlex.quote(program)}; true")

    assert 0.5 <= raw.measures.cpu_seconds < 30
    assert 400_000_000 <= raw.measures.peak_memory_bytes < 2_000_000_000
    assert before <= raw.measures.start < raw.measures.end <= time.time()
    assert 0.4 <= raw.measures.seconds < DEADLINE_SECONDS


def test_a_command_over_its_time_limit_is_ended(bench: Bench) -> None:
    raw = bench.run("sleep 86400; sleep 86400", timeout=0.2)

    assert (raw.outcome, raw.exit_code) == (TimedOut(0.2), -signal.SIGTERM)
    assert raw.measures.seconds >= 0.2


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace(bench: Bench) -> None:
    raw = bench.run("trap '' TERM; sleep 86400; sleep 86400", timeout=0.2, grace=0.4)

    assert (raw.outcome, raw.exit_code) == (TimedOut(0.2), -signal.SIGKILL)
    assert raw.measures.seconds >= 0.6


def test_a_command_within_its_time_limit_is_left_alone(bench: Bench) -> None:
    threads = threading.active_count()
    raw = bench.run("true", timeout=3600)
    until(lambda: threading.active_count() <= threads)

    assert raw.outcome == Succeeded()


def test_a_command_may_tidy_up_when_it_is_stopped(bench: Bench) -> None:
    execution = bench.execution(
        "trap 'sleep 0.3; echo tidied; exit 0' TERM; touch ready; while :; do sleep 0.01; done",
        grace=DEADLINE_SECONDS,
    )
    future = bench.start(execution)
    until((bench.folder / "ready").exists)
    execution.stop(Cut("the allocation ends"))

    assert future.result(DEADLINE_SECONDS).outcome == Cut("the allocation ends")
    assert bench.printed().endswith("tidied\n")


@linux
def test_the_grace_outlives_the_shell(bench: Bench) -> None:
    # The shell dies of SIGTERM at once; the program that it waited for tidies up.
    (bench.folder / "tidy.sh").write_text(
        "trap 'sleep 0.5; echo tidied; exit' TERM; touch ready; while :; do sleep 0.01; done"
    )
    execution = bench.execution("bash tidy.sh; echo not reached", grace=DEADLINE_SECONDS)
    future = bench.start(execution)
    until((bench.folder / "ready").exists)
    execution.stop(Cut("cancelled"))
    raw = future.result(DEADLINE_SECONDS)

    assert (raw.outcome, raw.exit_code) == (Cut("cancelled"), -signal.SIGTERM)
    assert bench.printed().endswith("tidied\n")


def test_the_first_reason_for_stopping_counts(bench: Bench) -> None:
    execution = bench.execution("touch ready; sleep 86400")
    future = bench.start(execution)
    until((bench.folder / "ready").exists)
    execution.stop(Cut("first"))
    execution.stop(Cut("second"))

    assert future.result(DEADLINE_SECONDS).outcome == Cut("first")


def test_a_command_that_was_stopped_before_its_start_is_never_started(bench: Bench) -> None:
    execution = bench.execution("touch started")
    execution.stop(Cut("too late"))
    raw = execution.run()

    assert (raw.outcome, raw.exit_code) == (Cut("too late"), None)
    assert raw.measures.start > 0
    assert not (bench.folder / "started").exists()


def test_stopping_a_command_that_has_ended_changes_nothing(bench: Bench) -> None:
    execution = bench.execution("true")
    raw = execution.run()
    execution.stop(Cut("too late"))

    assert raw.outcome == Succeeded()
    assert execution.stopped is None


STRAYS = {
    "background": 'bash -c "$STRAY" &',
    "nohup": 'nohup bash -c "$STRAY" >/dev/null 2>&1 &',
    "job control": 'set -m; bash -c "$STRAY" & set +m',
    "double fork": '( ( bash -c "$STRAY" & ) & )',
    "setsid": 'setsid bash -c "$STRAY" &',
    "setsid and double fork": "( setsid bash -c '( eval \"$STRAY\" ) & exit' & )",
    "frozen": "setsid bash -c 'kill -STOP $$; sleep 86400' & setsid bash -c \"$STRAY\" &",
    "deaf": 'setsid bash -c \'trap "" TERM; eval "$STRAY"\' &',
    "no environment, same session": "env -i bash -c \"exec -a '$MARKER' sleep 86400\" &",
}


@linux
@pytest.mark.parametrize("text", STRAYS.values(), ids=STRAYS.keys())
def test_what_a_command_leaves_behind_ends_with_it(bench: Bench, text: str) -> None:
    execution = bench.execution(f"{text}\nuntil [ -e go ]; do sleep 0.01; done; exit 3")
    future = bench.start(execution)
    until(bench.strays)
    (bench.folder / "go").touch()

    assert future.result(DEADLINE_SECONDS).outcome == Failed(3)
    # Killed when `run` returns, and gone as soon as the kernel has taken them apart.
    until(lambda: not bench.strays())


@linux
@pytest.mark.parametrize("text", STRAYS.values(), ids=STRAYS.keys())
def test_what_a_command_started_is_stopped_with_it(bench: Bench, text: str) -> None:
    execution = bench.execution(f"{text}\nsleep 86400; sleep 86400")
    future = bench.start(execution)
    until(bench.strays)
    execution.stop(Cut("cancelled"))

    assert future.result(DEADLINE_SECONDS).outcome == Cut("cancelled")
    until(lambda: not bench.strays())


@linux
def test_another_commands_processes_are_left_alone(bench: Bench) -> None:
    neighbour = bench.execution('setsid bash -c "$STRAY" & sleep 86400; sleep 86400')
    future = bench.start(neighbour)
    until(bench.strays)
    bench.run("true")
    alive = bench.strays()
    neighbour.stop(Cut("the test is over"))
    future.result(DEADLINE_SECONDS)

    assert len(alive) == 1


@pytest.mark.parametrize(
    ("prepare", "named"),
    [
        ("folder", "gone"),
        ("log", "no/such/folder"),
        ("bash", "bash"),
        ("text", "null"),
    ],
)
def test_what_cannot_start_says_why(bench: Bench, prepare: str, named: str) -> None:
    execution = bench.execution("true\0" if prepare == "text" else "true", timeout=3600)
    if prepare == "folder":
        execution = bench.execution("true", folder=str(bench.folder / "gone"))
    if prepare == "log":
        execution.log = bench.folder / "no/such/folder/command.log"
    if prepare == "bash":
        execution = Execution(execution.order, bench.log, {"PATH": str(bench.folder)})

    with pytest.raises(CannotStart) as caught:
        execution.run()
    assert named in caught.value.why


@linux
def test_the_kernel_is_told_to_choose_the_command_before_the_worker(bench: Bench) -> None:
    # Written right after the start, while the command already runs.
    score = "until [ $(</proc/$$/oom_score_adj) = 500 ]; do sleep 0.01; done"

    assert bench.run(score, timeout=DEADLINE_SECONDS).outcome == Succeeded()


@pytest.mark.parametrize("text", ["kill -KILL $$; sleep 60", "bash -c 'kill -KILL $$'; exit $?"])
def test_a_kill_is_put_down_to_memory_only_with_evidence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    counts = iter([7, 8])
    monkeypatch.setattr(oom, "count_kills", lambda: next(counts))

    assert bench.run(text).outcome == OutOfMemory()


@pytest.mark.parametrize("counts", [(7, 7), (None, None), (None, 8)])
def test_a_kill_without_evidence_stands_as_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, counts: tuple[int | None, int | None]
) -> None:
    answers = iter(counts)
    monkeypatch.setattr(oom, "count_kills", lambda: next(answers))

    assert bench.run("bash -c 'kill -KILL $$'; exit $?").outcome == Failed(137)


@pytest.mark.parametrize(
    ("membership", "file", "content"),
    [
        ("0::/slurm/job_1\n", "slurm/job_1/memory.events", "max 3\noom 2\noom_kill 2\n"),
        (
            "5:cpu,memory:/slurm/job_1\n0::/\n",
            "memory/slurm/job_1/memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        ),
        ("4:memory:/x\n0::/y:z\n", "y:z/memory.events", "oom_kill 2\n"),
    ],
    ids=["version 2", "version 1", "version 1 that does not tell"],
)
def test_the_kernels_count_is_read_from_our_own_cgroup(
    tmp_path: Path, membership: str, file: str, content: str
) -> None:
    (tmp_path / "cgroup").write_text(membership)
    (tmp_path / "mount" / file).parent.mkdir(parents=True)
    (tmp_path / "mount" / file).write_text(content)

    assert oom.count_kills(tmp_path / "cgroup", tmp_path / "mount") == 2


def test_a_machine_that_does_not_count_is_no_evidence(tmp_path: Path) -> None:
    assert oom.count_kills(tmp_path / "cgroup", tmp_path) is None


def test_many_commands_run_side_by_side(bench: Bench) -> None:
    futures = [bench.start(bench.execution(f"exit {code}")) for code in range(1, 41)]

    assert [future.result(DEADLINE_SECONDS).exit_code for future in futures] == list(range(1, 41))
