"""The journal: one writer per epoch, and one story for every reader."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tbss_hpc.core import actions, events
from tbss_hpc.core.actions import Entry, RunState
from tbss_hpc.core.attempt import AttemptId, Measures, Report
from tbss_hpc.core.command import Fingerprint
from tbss_hpc.core.outcome import Cut, Invalid, Succeeded
from tbss_hpc.errors import FilesError, StoppedError
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.journal import Journal, JournalReader, newest_epoch


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "runs" / "one")
    run.create()
    return run


def left(name: str) -> Entry:
    return events.WorkerLeft(at=1.0, allocation=name)


def names(run: RunFolder) -> list[str]:
    return [e.allocation for e in JournalReader(run).new() if isinstance(e, events.WorkerLeft)]


ENTRIES: list[Entry] = [
    events.ControllerStarted(at=1.0, epoch=1, host="h", pid=2, version="1", opened=("a",)),
    events.FoundDone(at=1.0, command="c", proofs=(Fingerprint("x", 1, 2, "d"),)),
    events.Undone(at=1.0, command="c", why="ü\nü"),
    events.AllocationFenced(at=1.5, allocation="a", evidence="e", started=(AttemptId("c", 1),)),
    events.AttemptReported(
        at=2.0,
        report=Report(
            AttemptId("c", 1), Succeeded(), "a", "n", Measures(1.0, 2.0), (Fingerprint("x", 1, 2),)
        ),
    ),
    events.AttemptReported(at=2.0, report=Report(AttemptId("c", 2), Invalid("why"), "a", "n")),
    events.AttemptReported(
        at=2.0, report=Report(AttemptId("c", 3), Cut("why", walltime=True), "a", "n")
    ),
    actions.Issue(at=3.0, attempt=AttemptId("c", 4)),
    actions.End(at=3.0, state=RunState.STOPPED, why="w", cluster=True),
]


def test_entries_are_read_as_they_were_written(run: RunFolder) -> None:
    journal = Journal(run, 1)
    journal.append(ENTRIES)
    journal.close()

    assert list(JournalReader(run).new()) == ENTRIES


def test_before_the_first_controller_there_is_nothing(run: RunFolder) -> None:
    assert newest_epoch(run) == 0
    assert list(JournalReader(run).new()) == []


def test_an_epoch_belongs_to_whoever_claims_it_first(run: RunFolder) -> None:
    Journal(run, 1)

    with pytest.raises(StoppedError, match="Another controller has just taken over"):
        Journal(run, 1)


def test_of_many_processes_one_gets_the_epoch(run: RunFolder) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from tbss_hpc.store.folder import RunFolder; from tbss_hpc.store.journal import Journal\n"
        "from tbss_hpc.errors import StoppedError\n"
        "sys.stdin.read()\n"
        "try: Journal(RunFolder(Path(sys.argv[1])), 1)\n"
        "except StoppedError: print('late')\n"
        "else: print('mine')"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(run.root)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    said = [process.communicate("go", timeout=60)[0].strip() for process in processes]

    assert sorted(said) == ["late", "late", "late", "mine"]


def test_a_newer_controller_supersedes_an_older_one(run: RunFolder) -> None:
    first = Journal(run, 1)

    assert not first.superseded()
    second = Journal(run, 2)
    assert first.superseded()
    assert not second.superseded()
    assert newest_epoch(run) == 2


def test_epochs_are_read_one_after_the_other(run: RunFolder) -> None:
    for epoch in (1, 2, 10, 11):
        Journal(run, epoch).append([left(f"a{epoch}")])

    assert names(run) == ["a1", "a2", "a10", "a11"]


def test_a_reader_follows_controllers_as_they_write(run: RunFolder) -> None:
    reader = JournalReader(run)
    first = Journal(run, 1)
    first.append([left("a")])

    assert list(reader.new()) == [left("a")]
    first.append([left("b")])
    second = Journal(run, 2)
    second.append([left("c")])
    assert list(reader.new()) == [left("b"), left("c")]
    assert list(reader.new()) == []


def test_what_a_replaced_controller_writes_is_believed_by_nobody(run: RunFolder) -> None:
    first = Journal(run, 1)
    first.append([left("a")])
    second = Journal(run, 2)
    first.append([left("too late")])
    second.append([left("b")])
    third = Journal(run, 3)
    second.append([left("too late")])
    third.append([left("c")])

    assert names(run) == ["a", "b", "c"]


def test_a_claim_that_came_to_nothing_cuts_nothing_off(run: RunFolder) -> None:
    first = Journal(run, 1)
    first.append([left("a")])
    (run.journal / "000002.jsonl").touch()
    first.append([left("b")])
    third = Journal(run, 3)
    third.append([left("c")])

    assert names(run) == ["a", "b", "c"]


def test_a_claimer_that_wakes_up_late_cannot_cut_off_what_counts(run: RunFolder) -> None:
    first = Journal(run, 1)
    first.append([left("a")])
    stopped = run.journal / "000002.jsonl"
    stopped.touch()
    first.append([left("b")])
    Journal(run, 3).append([left("c")])
    # Epoch 2 goes on where it was stopped: behind its claim, before its first line.
    stopped.write_bytes(b'{"event":"inherited","sizes":{"000001.jsonl":0}}\n')

    assert names(run) == ["a", "b", "c"]


def test_a_torn_last_line_is_left_out(run: RunFolder) -> None:
    journal = Journal(run, 1)
    journal.append([left("a"), left("b")])
    path = run.journal / "000001.jsonl"
    os.truncate(path, path.stat().st_size - 3)

    assert names(run) == ["a"]
    Journal(run, 2).append([left("c")])
    assert names(run) == ["a", "c"]


def test_entries_and_fields_of_a_newer_version_are_skipped(run: RunFolder) -> None:
    Journal(run, 1).append([left("a")])
    with (run.journal / "000001.jsonl").open("ab") as file:
        file.write(b'{"event":"from-the-future","at":1}\n')
        file.write(b'{"event":"worker-left","at":1.0,"allocation":"b","mood":"sad"}\n')

    assert names(run) == ["a", "b"]


def test_a_journal_without_its_first_line_can_be_read(run: RunFolder) -> None:
    (run.journal / "000001.jsonl").write_bytes(
        b'{"event":"worker-left","at":1.0,"allocation":"a"}\n'
    )
    Journal(run, 2).append([left("b")])

    assert names(run) == ["a", "b"]


def test_files_that_somebody_puts_beside_the_epochs_do_no_harm(run: RunFolder) -> None:
    Journal(run, 1).append([left("a")])
    (run.journal / "000001 (copy).jsonl").write_bytes((run.journal / "000001.jsonl").read_bytes())

    assert newest_epoch(run) == 1
    assert names(run) == ["a"]


def test_a_folder_that_takes_nothing_is_told_in_words(run: RunFolder) -> None:
    run.journal.rmdir()

    with pytest.raises(FilesError, match="The journal cannot be written"):
        Journal(run, 1)
