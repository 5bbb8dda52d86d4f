"""The life of one attempt, with real commands."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tbss_hpc.core.attempt import AttemptId, Measures, Order, Report
from tbss_hpc.core.command import Check, Command, Fingerprint, Output
from tbss_hpc.core.outcome import Cut, Failed, Invalid, Succeeded, TimedOut
from tbss_hpc.store.logfile import read_attempts
from tbss_hpc.tbss.proof import Unproved
from tbss_hpc.worker.attempt import make_attempt
from tbss_hpc.worker.execution import Execution
from tbss_hpc.worker.outputs import aside, discard_aside, move_aside

DEADLINE_SECONDS = 60.0


def good(output: Output, folder: Path) -> Fingerprint:
    """Stand in for the proofs: what starts with "good" counts."""
    path = folder / output.path
    if not path.exists():
        raise Unproved(output.path, "is missing.")
    if not path.read_text().startswith("good"):
        raise Unproved(output.path, "is broken.")
    return fingerprint(folder, output.path)


def fingerprint(folder: Path, path: str) -> Fingerprint:
    found = (folder / path).stat()
    return Fingerprint(path, found.st_size, found.st_mtime_ns)


@dataclass
class Desk:
    """A study folder and a run folder, and what happened there."""

    folder: Path
    run: Path
    starts: list[str] = field(default_factory=list)
    number: int = 0

    @property
    def log(self) -> Path:
        return self.run / "logs" / "F" / "G_to_F.log"

    def order(self, text: str, *outputs: str, **more: Any) -> Order:  # noqa: ANN401 -- passed on
        self.number += 1
        declared = tuple(Output(path, Check.FILE) for path in outputs)
        command = Command("0123456789abcdef", 1, "G_to_F", text, str(self.folder), declared)
        log = str(self.log.relative_to(self.run))
        return Order(AttemptId(command.id, self.number), 1, command, log, **more)

    def make(self, order: Order, **more: Any) -> Report:  # noqa: ANN401 -- passed on
        given = {"prove": good, "on_start": lambda: self.starts.append("started"), **more}
        return make_attempt(
            order,
            run=self.run,
            allocation="tb-12ab-003",
            node="node7",
            environment=os.environ,
            **given,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    folders = tmp_path / "study", tmp_path / "run"
    for folder in folders:
        folder.mkdir()
    return Desk(*folders)


def test_exit_code_0_and_proved_outputs_make_a_success(desk: Desk) -> None:
    report = desk.make(desk.order("echo good > a; echo good > b; echo said", "a", "b"))
    (found,) = read_attempts(desk.log)

    assert report.outcome == Succeeded()
    assert report.proofs == (fingerprint(desk.folder, "a"), fingerprint(desk.folder, "b"))
    assert (report.allocation, report.node, report.found) == ("tb-12ab-003", "node7", False)
    assert 0 < report.measures.seconds <= report.measures.end - report.measures.start + 1
    assert desk.starts == ["started"]
    assert (found.header["node"], found.trailer["outcome"]) == ("node7", "succeeded")
    assert desk.log.read_bytes()[found.output_begin : found.output_end] == b"said\n"


@pytest.mark.parametrize(
    ("text", "why"), [("true", "a is missing."), ("echo bad > a", "a is broken.")]
)
def test_exit_code_0_without_a_proof_is_invalid(desk: Desk, text: str, why: str) -> None:
    report = desk.make(desk.order(text, "a"))

    assert (report.outcome, report.proofs) == (Invalid(why), ())
    assert read_attempts(desk.log)[0].trailer["outcome"] == f"left an invalid output: {why}"


def test_a_good_output_does_not_excuse_an_exit_code(desk: Desk) -> None:
    report = desk.make(desk.order("echo good > a; exit 3", "a"))

    assert (report.outcome, report.proofs) == (Failed(3), ())


def test_an_earlier_attempts_output_proves_nothing(desk: Desk) -> None:
    (desk.folder / "a").write_text("good, but of an earlier attempt")
    report = desk.make(desk.order("true", "a"))

    assert report.outcome == Invalid("a is missing.")
    assert aside(desk.folder / "a").read_text() == "good, but of an earlier attempt"


def test_what_was_set_aside_goes_when_there_is_something_better(desk: Desk) -> None:
    (desk.folder / "a").write_text("good, but of an earlier attempt")
    desk.make(desk.order("exit 1", "a"))
    report = desk.make(desk.order("echo good > a", "a"))

    assert report.outcome == Succeeded()
    assert [path.name for path in desk.folder.iterdir()] == ["a"]


def test_results_that_are_there_are_accepted_where_that_was_asked_for(desk: Desk) -> None:
    (desk.folder / "a").write_text("good")
    report = desk.make(desk.order("echo never > ran", "a", accept_found=True))

    assert (report.outcome, report.found) == (Succeeded(), True)
    assert report.proofs == (fingerprint(desk.folder, "a"),)
    assert report.measures.seconds == 0
    assert not (desk.folder / "ran").exists()
    assert not desk.starts


def test_results_of_which_one_is_broken_are_made_again(desk: Desk) -> None:
    (desk.folder / "a").write_text("good")
    (desk.folder / "b").write_text("bad")
    report = desk.make(desk.order("echo good | tee a > b", "a", "b", accept_found=True))

    assert (report.outcome, report.found) == (Succeeded(), False)
    assert desk.starts == ["started"]


def test_a_command_that_declares_nothing_is_never_found_done(desk: Desk) -> None:
    report = desk.make(desk.order("touch ran", accept_found=True))

    assert (report.outcome, report.found) == (Succeeded(), False)
    assert (desk.folder / "ran").exists()


@pytest.mark.parametrize("change", ["size", "time", "gone"])
def test_a_changed_input_is_noticed_before_anything_runs(desk: Desk, change: str) -> None:
    path = desk.folder / "in"
    path.write_text("input")
    planned = fingerprint(desk.folder, "in")
    if change == "size":
        path.write_text("longer input")
        os.utime(path, ns=(planned.mtime_ns, planned.mtime_ns))
    if change == "time":
        os.utime(path, ns=(planned.mtime_ns, planned.mtime_ns + 1))
    if change == "gone":
        path.unlink()
    report = desk.make(desk.order("echo good > a", "a", inputs=(planned,)))

    assert isinstance(report.outcome, Invalid)
    assert report.outcome.why.startswith("the input in c")
    assert not desk.starts
    assert not (desk.folder / "a").exists()
    assert not desk.log.exists()


def test_an_unchanged_input_is_no_obstacle(desk: Desk) -> None:
    (desk.folder / "in").write_text("good")
    order = desk.order("cp in a", "a", inputs=(fingerprint(desk.folder, "in"),))

    assert desk.make(order).outcome == Succeeded()


def test_an_input_that_changes_while_the_command_runs_undoes_the_result(desk: Desk) -> None:
    (desk.folder / "in").write_text("good")
    order = desk.order("cp in a; echo more >> in", "a", inputs=(fingerprint(desk.folder, "in"),))

    assert desk.make(order).outcome == Invalid("the input in changed while the command ran")


def test_nothing_has_changed_when_the_start_is_refused(desk: Desk) -> None:
    class RefusedError(Exception):
        pass

    def refuse() -> None:
        raise RefusedError

    (desk.folder / "a").write_text("good")
    with pytest.raises(RefusedError):
        desk.make(desk.order("echo new > a", "a"), on_start=refuse)

    assert (desk.folder / "a").read_text() == "good"
    assert not desk.log.exists()


def test_a_time_limit_is_kept(desk: Desk) -> None:
    report = desk.make(desk.order("sleep 86400", timeout_seconds=0.1))

    assert report.outcome == TimedOut(0.1)


def test_an_attempt_that_was_stopped_before_it_began_starts_nothing(desk: Desk) -> None:
    def make_stopped(*arguments: Any) -> Execution:  # noqa: ANN401 -- passed on
        execution = Execution(*arguments)
        execution.stop(Cut("the allocation ends"))
        return execution

    report = desk.make(desk.order("touch ran"), execution=make_stopped)

    assert report.outcome == Cut("the allocation ends")
    assert not desk.starts
    assert not (desk.folder / "ran").exists()


def test_an_attempt_can_be_stopped_from_outside(desk: Desk) -> None:
    made: list[Execution] = []

    def make(*arguments: Any) -> Execution:  # noqa: ANN401 -- passed on
        made.append(Execution(*arguments))
        return made[0]

    def stop_when_it_runs() -> None:
        until((desk.folder / "ready").exists)
        made[0].stop(Cut("cancelled"))

    stopper = threading.Thread(target=stop_when_it_runs)
    stopper.start()
    report = desk.make(desk.order("touch ready; sleep 86400; sleep 86400"), execution=make)
    stopper.join()

    assert report.outcome == Cut("cancelled")
    assert read_attempts(desk.log)[0].trailer["outcome"] == "was cut: cancelled"


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.005)


def test_a_vanished_folder_is_put_down_to_the_node(desk: Desk) -> None:
    order = desk.order("true")
    desk.folder.rmdir()
    report = desk.make(order)

    assert isinstance(report.outcome, Cut)
    assert "could not be started" in report.outcome.why
    assert str(desk.folder) in report.outcome.why
    assert report.measures == Measures(report.measures.start, report.measures.end)
    assert "could not be started" in read_attempts(desk.log)[0].trailer["outcome"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_a_log_that_takes_nothing_is_put_down_to_the_node(desk: Desk) -> None:
    desk.log.parent.mkdir(parents=True)
    desk.log.symlink_to("/dev/full")
    report = desk.make(desk.order("touch ran"))

    assert isinstance(report.outcome, Cut)
    assert "No space left" in report.outcome.why
    assert not (desk.folder / "ran").exists()


def test_a_log_that_vanishes_undoes_no_result(desk: Desk) -> None:
    report = desk.make(desk.order(f"echo good > a; rm -r '{desk.run}'", "a"))

    assert report.outcome == Succeeded()


# ---------------------------------------------------------------------------------- setting aside


def outputs(*paths: str) -> tuple[Output, ...]:
    return tuple(Output(path, Check.FILE) for path in paths)


def test_a_file_set_aside_is_in_nobodys_glob(tmp_path: Path) -> None:
    (tmp_path / "G_to_F_FA.nii.gz").touch()
    moved = move_aside(outputs("G_to_F_FA.nii.gz"), tmp_path)

    assert moved == [tmp_path / ".G_to_F_FA.nii.gz.before"]
    assert moved[0].exists()
    assert not (tmp_path / "G_to_F_FA.nii.gz").exists()
    shell = f"cd '{tmp_path}' && ls *_FA.* G_to_F* *.nii.gz 2>/dev/null"
    assert os.popen(shell).read() == ""  # noqa: S605 -- a shell's globs are what is tested


def test_outputs_elsewhere_are_set_aside_where_they_are(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a").touch()

    assert move_aside(outputs(str(elsewhere / "a")), tmp_path) == [elsewhere / ".a.before"]


def test_only_the_last_generation_is_kept(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "a").write_text(text)
        move_aside(outputs("a"), tmp_path)

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {".a.before": "second"}


def test_a_dangling_link_is_set_aside_too(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("nowhere")
    move_aside(outputs("a"), tmp_path)

    assert (tmp_path / ".a.before").is_symlink()


def test_what_is_not_there_is_not_set_aside(tmp_path: Path) -> None:
    assert move_aside(outputs("a", "no/such/folder/b"), tmp_path) == []


def test_folders_and_inputs_stay(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "in-place").touch()

    assert move_aside(outputs("folder", "in-place"), tmp_path, keep=["in-place"]) == []
    assert (tmp_path / "in-place").exists()


def test_discarding_removes_what_any_attempt_set_aside(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    move_aside(outputs("a"), tmp_path)
    discard_aside(outputs("a", "b"), tmp_path)

    assert list(tmp_path.iterdir()) == []
