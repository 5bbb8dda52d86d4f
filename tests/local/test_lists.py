"""Lists of commands, friendly and hostile, from the typing to the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import processes

if TYPE_CHECKING:
    from tests.local.program import Program

MEGABYTES_100 = 100_000_000

#: Line number, the line, its verdict, its last outcome, its attempts.
LINES = (
    ("true\r", "done", "succeeded", 1),
    ("", "", "", 0),
    ("# a comment", "", "", 0),
    ("false", "failed", "failed", 3),
    ("echo one two | tr a-z A-Z; echo err >&2", "done", "succeeded", 1),
    ("echo again >> again", "done", "succeeded", 1),
    ("echo again >> again", "done", "succeeded", 1),
    ('echo >> tries; [ "$(wc -l < tries)" -gt 2 ]', "done", "succeeded", 3),
    (f"yes | head -c {MEGABYTES_100}", "done", "succeeded", 1),
    ("kill -9 $$", "failed", "killed", 3),
    ("(sleep 321 &); echo parent", "done", "succeeded", 1),
    ("setsid sleep 322 & sleep 0.2", "done", "succeeded", 1),
    ("(setsid bash -c 'setsid sleep 323 & exec sleep 324' &); sleep 0.3", "done", "succeeded", 1),
    ("env -i setsid sleep 325 & sleep 0.2", "done", "succeeded", 1),
    ("cat", "done", "succeeded", 1),
    ("exec >&- 2>&-; true", "done", "succeeded", 1),
    ("echo 'blanks  kept' \"$HOME\"", "done", "succeeded", 1),
    ("exit 3", "failed", "failed", 3),
)
COMMANDS = {f"L{n}": line for n, line in enumerate(LINES, start=1) if line[1]}


@pytest.fixture(scope="module")
def ended(shared_tbss: Program) -> Program:
    """A run of all these lines that has ended; the last line has no newline."""
    (shared_tbss.folder / "a b").mkdir()
    (shared_tbss.folder / "a b" / "list").write_text("\n".join(line for line, *_ in LINES))
    answer = shared_tbss("submit", "a b/list", "--wait")
    assert answer.code == 1, answer.err
    return shared_tbss


def test_every_line_comes_to_what_bash_makes_of_it(ended: Program) -> None:
    found = {r["name"]: (r["verdict"], r["outcome"], int(r["attempts"])) for r in ended.table()}

    assert found == {name: tuple(rest) for name, (_, *rest) in COMMANDS.items()}


def test_each_attempt_has_a_row(ended: Program) -> None:
    wanted = sum(attempts for _, _, _, attempts in LINES)

    assert len(ended.table("attempts.tsv")) == wanted


def test_duplicates_are_run_each_in_the_folder_of_the_list(ended: Program) -> None:
    assert (ended.folder / "a b" / "again").read_text() == "again\nagain\n"


def test_what_failed_is_a_list_that_can_be_submitted(ended: Program) -> None:
    failed = (ended.run_folder() / "failed.commands").read_text()
    plan = ended("plan", ended.run_folder() / "failed.commands", "--json")

    assert [line for line in failed.splitlines() if not line.startswith("#")] == [
        text for text, verdict, *_ in COMMANDS.values() if verdict == "failed"
    ]
    assert '"commands": 3' in plan.out


def test_the_counts_add_up(ended: Program) -> None:
    counts = ended.status()["counts"]

    assert counts == {
        "total": len(COMMANDS),
        "done": len(COMMANDS) - 3,
        "failed": 3,
        "cancelled": 0,
        "running": 0,
        "waiting": 0,
    }


def test_a_log_holds_what_was_printed_and_how_it_ended(ended: Program) -> None:
    log = ended("logs", "L5").out

    assert "ONE TWO\nerr\n" in log
    assert "# outcome      succeeded\n" in log


def test_one_attempt_of_a_log_can_be_asked_for(ended: Program) -> None:
    log = ended("logs", "L8", "--attempt", 2).out

    assert log.count("begins") == 1
    assert "# outcome      failed with exit code 1\n" in log


def test_the_failed_logs_are_the_last_attempts_of_what_failed(ended: Program) -> None:
    log = ended("logs", "--failed").out

    assert log.count("begins") == 3
    assert log.count("attempt 3 of") == 6


def test_a_hundred_megabytes_of_output_are_kept_whole(ended: Program) -> None:
    log = ended.run_folder() / "logs" / "L9.log"

    assert log.stat().st_size > MEGABYTES_100
    assert log.stat().st_size < MEGABYTES_100 + 2000


def test_no_descendant_outlives_the_run(ended: Program) -> None:
    left = [
        pid
        for pid in processes.living()
        if processes.command_line(pid).startswith(("sleep 32", "/usr/bin/sleep 32"))
        and str(ended.root) in str(processes.open_files(pid))
    ]

    assert left == []


def test_a_command_over_its_time_is_killed_though_it_ignores_sigterm(tbss: Program) -> None:
    tbss.write("list", "trap '' TERM; sleep 331 & sleep 332; sleep 333", "true")
    answer = tbss("submit", "list", "--wait", "--timeout", "1 s", "--retries", 0)

    assert answer.code == 1
    assert [(r["verdict"], r["outcome"]) for r in tbss.table()] == [
        ("failed", "timed-out"),
        ("done", "succeeded"),
    ]


def test_what_a_first_attempt_left_does_not_prove_a_second_one(tbss: Program) -> None:
    tbss.write(
        "list",
        'echo >> n; if [ "$(wc -l < n)" = 1 ]; then echo good > out; exit 1; fi  # out',
        "echo fine > $0; exit 0",
    )
    tbss.write("outputs", "out", "")
    answer = tbss("submit", "list", "--wait", "--expect-file", "outputs", "--retries", 1)

    assert answer.code == 1
    assert [r["outcome"] for r in tbss.table("attempts.tsv") if r["name"] == "L1"] == [
        "failed",
        "invalid",
    ]
    assert "out is missing" in tbss("logs", "L1").out


def test_expected_outputs_are_named_by_the_words_of_the_line(tbss: Program) -> None:
    tbss.write("list", "cp source a.txt", "cp source b.txt", "true source c.txt")
    tbss.write("source", "something")
    answer = tbss("submit", "list", "--wait", "--expect", "{2}", "--retries", 0)

    assert answer.code == 1
    assert list(tbss.verdicts().values()) == ["done", "done", "failed"]


def test_a_list_comes_from_standard_input_too(tbss: Program) -> None:
    elsewhere = tbss.folder / "else where"
    elsewhere.mkdir()
    answer = tbss("submit", "-", "--wait", "--chdir", elsewhere, stdin="echo x > here\n")

    assert answer.code == 0
    assert (elsewhere / "here").read_text() == "x\n"


def test_a_run_in_which_all_fails_alike_stops_early(tbss: Program) -> None:
    tbss.write("list", *(f"echo {n}; exit 7" for n in range(40)))
    answer = tbss("submit", "list", "--wait", "--retries", 0)
    status = tbss.status()

    assert answer.code == 4
    assert status["state"] == "stopped"
    assert "exit code 7" in status["why"]
    assert status["counts"]["failed"] < 20
    assert status["counts"]["failed"] + status["counts"]["waiting"] == 40
