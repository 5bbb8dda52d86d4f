"""Records: what an allocation said of itself, as evidence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tbss_hpc.core.attempt import AttemptId, Report
from tbss_hpc.core.outcome import Succeeded
from tbss_hpc.core.record import AllDead, Closed, Ended, Heartbeat, Opened, Record, Started
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.lines import LineWriter
from tbss_hpc.store.records import Evidence, all_evidence

ONE, TWO = AttemptId("c01", 1), AttemptId("c02", 1)
OPENED = Opened(1.0, "tb-1", "n1", 17, 4, "0.1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tb-1.jsonl"


def write(path: Path, *records: Record) -> None:
    with LineWriter(path) as writer:
        writer.append(records)


def ended(attempt: AttemptId, at: float = 3.0) -> Ended:
    return Ended(at, Report(attempt, Succeeded(), "tb-1", "n1"))


def test_an_allocation_that_wrote_nothing_has_said_nothing(path: Path) -> None:
    evidence = Evidence(path)

    assert evidence.look() == []
    assert evidence.allocation == "tb-1"
    assert evidence.opened is None


def test_what_has_started_and_not_ended_may_be_running(path: Path) -> None:
    write(path, OPENED, Started(2.0, ONE, 1), Started(2.0, TWO, 1), ended(ONE))
    evidence = Evidence(path)
    evidence.look()

    assert evidence.opened == OPENED
    assert list(evidence.started) == [TWO]


def test_an_end_without_a_start_is_no_trouble(path: Path) -> None:
    write(path, OPENED, ended(ONE))
    evidence = Evidence(path)

    assert evidence.look() == [OPENED, ended(ONE)]
    assert evidence.started == {}


def test_each_look_gives_what_is_new(path: Path) -> None:
    write(path, OPENED)
    evidence = Evidence(path)
    evidence.look()
    write(path, Heartbeat(5.0, 60.0))

    assert evidence.look() == [Heartbeat(5.0, 60.0)]
    assert evidence.look() == []
    assert evidence.heartbeat == Heartbeat(5.0, 60.0)


def test_the_newest_time_counts_whatever_the_order(path: Path) -> None:
    write(path, OPENED, Heartbeat(9.0), ended(ONE, at=8.0))
    evidence = Evidence(path)
    evidence.look()

    assert evidence.last_at == 9.0


def test_the_watchers_have_the_last_word(path: Path) -> None:
    write(path, OPENED, Closed(4.0, "drained"), AllDead(5.0, -9))
    evidence = Evidence(path)
    evidence.look()

    assert evidence.closed == Closed(4.0, "drained")
    assert evidence.all_dead == AllDead(5.0, -9)


def test_a_process_that_opens_again_is_not_dead(path: Path) -> None:
    write(path, OPENED, AllDead(5.0, 0), OPENED)
    evidence = Evidence(path)
    evidence.look()

    assert evidence.all_dead is None


def test_the_watchers_last_word_follows_a_line_that_the_worker_left_torn(path: Path) -> None:
    write(path, OPENED, Started(2.0, ONE, 1))
    with path.open("ab") as file:
        file.write(b'{"record":"ended","at":3.0,"rep')
    write(path, AllDead(5.0, -9))
    evidence = Evidence(path)
    evidence.look()

    assert list(evidence.started) == [ONE]
    assert evidence.all_dead == AllDead(5.0, -9)


def test_all_allocations_that_have_written_are_found(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create()
    for name in ("tb-2", "tb-1"):
        write(run.records_of(name), OPENED)

    assert [evidence.allocation for evidence in all_evidence(run)] == ["tb-1", "tb-2"]
