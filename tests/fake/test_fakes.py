"""The fakes behave as SLURM 22.05 was seen to; what they print is what it printed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests import processes
from tests.fake.fake_slurm import FakeSlurm
from tests.fake.programs import clock, seconds

if TYPE_CHECKING:
    from pathlib import Path

LONG = "exec sleep 1000"


def submit(fake: FakeSlurm, command: str = LONG, *options: str) -> str:
    reply = fake.run("sbatch", "--parsable", *options, f"--wrap={command}")
    assert reply.returncode == 0, reply.stderr
    return reply.stdout.strip()


def running(fake: FakeSlurm, command: str = LONG, *options: str) -> str:
    job = submit(fake, command, *options)
    fake.wait_until(job, "RUNNING")
    return job


def squeue(fake: FakeSlurm, *options: str) -> list[str]:
    reply = fake.run("squeue", "--noheader", *options)
    assert reply.returncode == 0, reply.stderr
    return reply.stdout.splitlines()


def content(file: Path) -> str:
    """Wait until there is something in a file."""
    assert processes.until(lambda: file.exists() and file.read_text())
    return file.read_text()


# -- sbatch -----------------------------------------------------------------------------------


def test_a_script_runs_with_its_directives_and_what_slurm_tells_it(
    fake_slurm: FakeSlurm, tmp_path: Path
) -> None:
    script = tmp_path / "job.sh"
    script.write_text(
        "#!/usr/bin/env bash\n#SBATCH -J name\n#SBATCH --output=out-%j.txt\n"
        "#SBATCH --cpus-per-task=3\n#SBATCH -t 00:30:00\n\n"
        "echo $SLURM_JOB_ID $SLURM_JOB_NAME $SLURMD_NODENAME $SLURM_CPUS_ON_NODE $1\n"
        "#SBATCH -J too-late\n"
    )

    reply = fake_slurm.run("sbatch", str(script), "argument")

    assert reply.stdout == "Submitted batch job 77\n"
    assert content(tmp_path / "slurm" / "out-77.txt") == "77 name fake1 3 argument\n"
    assert fake_slurm.wait_until("77", "COMPLETED").limit_seconds == 1800


def test_the_command_line_outranks_the_script(fake_slurm: FakeSlurm, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\n#SBATCH --job-name=inside\nexit 3\n")

    fake_slurm.run("sbatch", "-J", "outside", str(script))

    assert fake_slurm.wait_until("77", "FAILED").name == "outside"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sleep 1\n", "sbatch: error: This does not look like a batch script."),
        ("", "sbatch: error: Batch script is empty!"),
        (None, "sbatch: error: Unable to open file job.sh"),
        ("#!/bin/sh\n#SBATCH --no-such-thing\n", "sbatch: option --no-such-thing"),
    ],
)
def test_what_is_no_batch_script_is_refused(
    fake_slurm: FakeSlurm, text: str | None, complaint: str
) -> None:
    if text is not None:
        (fake_slurm.programs.parent / "job.sh").write_text(text)

    reply = fake_slurm.run("sbatch", "job.sh")

    assert reply.returncode == 1
    assert reply.stderr.startswith(complaint)
    assert fake_slurm.jobs == []


def test_so_many_submissions_are_refused_and_the_next_is_not(fake_slurm: FakeSlurm) -> None:
    fake_slurm.refuse(2, "sbatch: error: no\n")

    replies = [fake_slurm.run("sbatch", "--wrap=true") for _ in range(3)]

    assert [reply.returncode for reply in replies] == [1, 1, 0]
    assert replies[0].stderr == "sbatch: error: no\n"
    assert len(fake_slurm.jobs) == 1


def test_a_lost_reply_looks_like_a_refusal_but_the_job_runs(fake_slurm: FakeSlurm) -> None:
    fake_slurm.lose_replies()

    reply = fake_slurm.run("sbatch", "--wrap=true")

    assert reply.returncode == 1
    assert "Socket timed out" in reply.stderr
    fake_slurm.wait_until("77", "COMPLETED")


def test_a_banner_comes_before_the_number(fake_slurm: FakeSlurm) -> None:
    fake_slurm.greet("You have 35000 core hours left.")

    reply = fake_slurm.run("sbatch", "--wrap=true")

    assert reply.stdout == "You have 35000 core hours left.\nSubmitted batch job 77\n"


def test_a_job_whose_output_has_no_folder_fails_without_a_word(fake_slurm: FakeSlurm) -> None:
    job = submit(fake_slurm, "true", "--output=/nowhere/at/all")

    fake_slurm.wait_until(job, "FAILED")


def test_the_environment_is_passed_on_unless_it_must_not_be(
    fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "yes")
    folder = fake_slurm.programs.parent

    submit(fake_slurm, "echo ${MINE:-no}", "--output=all")
    submit(fake_slurm, "echo ${MINE:-no}", "--output=none", "--export=NONE")

    assert content(folder / "all") == "yes\n"
    assert content(folder / "none") == "no\n"


# -- squeue -----------------------------------------------------------------------------------


def test_squeue_answers_in_the_format_asked_for(fake_slurm: FakeSlurm) -> None:
    running(fake_slurm, LONG, "-J", "first", "-t", "2")
    fake_slurm.hold("Resources")
    submit(fake_slurm, LONG, "-J", "second", "-t", "60")
    user = fake_slurm.job("77").user

    lines = squeue(fake_slurm, "--format=%i|%j|%T|%r|%N|%u")
    waiting = squeue(fake_slurm, "-j", "78", "-o%L %R %.5i|%5i|%.2j")

    assert lines == [
        f"77|first|RUNNING|None|fake1|{user}",
        f"78|second|PENDING|Resources||{user}",
    ]
    assert waiting == ["1:00:00 (Resources)    78|78   |se"]
    left = squeue(fake_slurm, "--jobs=77", "-o", "%L")[0]
    assert left in {"2:00", *(f"1:{second:02}" for second in range(60))}


def test_squeue_heads_its_columns_unless_told_not_to(fake_slurm: FakeSlurm) -> None:
    reply = fake_slurm.run("squeue", "-o", "%.6i %T")

    assert reply.stdout == " JOBID STATE\n"


def test_squeue_chooses_by_name_state_and_user(fake_slurm: FakeSlurm) -> None:
    one = running(fake_slurm, LONG, "-J", "one")
    done = submit(fake_slurm, "true", "-J", "done")
    stranger = fake_slurm.add_stranger("one").id
    fake_slurm.wait_until(done, "COMPLETED")

    def chosen(*options: str) -> list[str]:
        return squeue(fake_slurm, "-o%i", *options)

    assert chosen() == [one, stranger]
    assert chosen("--me") == [one]
    assert chosen("-u", "somebody") == [stranger]
    assert chosen("--name=one,done") == [one, stranger]
    assert chosen("-n", "done") == []
    assert chosen("--states=all", "--name=done") == [done]
    assert chosen("-t", "R,PD") == [one, stranger]
    assert chosen("-t", "PENDING") == []
    # A job that ended is still known for a while: no complaint, and no line.
    assert chosen("-j", done) == []


def test_a_number_that_is_not_known_is_an_error_only_when_alone(fake_slurm: FakeSlurm) -> None:
    job = running(fake_slurm)

    alone = fake_slurm.run("squeue", "-h", "-j", "99")
    beside = squeue(fake_slurm, "-j", f"99,{job}", "-o%i")

    assert (alone.returncode, alone.stdout) == (1, "")
    assert alone.stderr == "slurm_load_jobs error: Invalid job id specified\n"
    assert beside == [job]


def test_queries_fail_for_a_while(fake_slurm: FakeSlurm) -> None:
    fake_slurm.fail_queries(2)

    replies = [fake_slurm.run("squeue") for _ in range(3)]

    assert [reply.returncode for reply in replies] == [1, 1, 0]
    assert replies[0].stderr.startswith("slurm_load_jobs error: Unable to contact slurm controller")


def test_a_job_is_pending_for_some_time_and_says_why(fake_slurm: FakeSlurm) -> None:
    fake_slurm.hold("QOSMaxJobsPerUserLimit")
    job = submit(fake_slurm)
    assert squeue(fake_slurm, "-o%T %r %M") == ["PENDING QOSMaxJobsPerUserLimit 0:00"]

    fake_slurm.release()

    fake_slurm.wait_until(job, "RUNNING")


def test_a_slow_start_ends_by_itself(fake_slurm: FakeSlurm) -> None:
    fake_slurm.start_after(0.5, "Priority")
    job = fake_slurm.wait_until(submit(fake_slurm), "RUNNING")

    assert job.started is not None
    assert job.started - job.submitted >= 0.5


def test_a_word_nobody_knows_is_shown_as_it_is(fake_slurm: FakeSlurm) -> None:
    job = running(fake_slurm)

    fake_slurm.show_as(job, "SPECIAL_EXIT")

    assert squeue(fake_slurm, "-o%i %T") == [f"{job} SPECIAL_EXIT"]


# -- the end of a job -------------------------------------------------------------------------


def test_cancelling_sends_sigterm_and_the_job_may_tidy_up(fake_slurm: FakeSlurm) -> None:
    out = fake_slurm.programs.parent / "out"
    job = running(
        fake_slurm,
        "trap 'echo tidy; exit' TERM; echo ready; while :; do sleep 0.1; done",
        "-o",
        "out",
    )
    content(out)

    fake_slurm.run("scancel", job)

    assert fake_slurm.wait_until(job, "CANCELLED").ended
    assert "tidy\n" in out.read_text()
    assert f"*** JOB {job} ON fake1 CANCELLED AT" in out.read_text()
    assert squeue(fake_slurm) == []


def test_what_ignores_sigterm_is_killed(fake_slurm: FakeSlurm) -> None:
    fake_slurm.wait_before_killing(0.3)
    out = fake_slurm.programs.parent / "out"
    job = running(fake_slurm, "trap '' TERM; echo $$; while :; do sleep 0.1; done", "-o", "out")
    pid = int(content(out))

    fake_slurm.run("scancel", job)

    fake_slurm.wait_until(job, "CANCELLED")
    assert not processes.alive(pid)


def test_pending_jobs_are_cancelled_by_name(fake_slurm: FakeSlurm) -> None:
    fake_slurm.hold()
    jobs = [submit(fake_slurm, LONG, "-J", name) for name in ("mine", "other")]

    fake_slurm.run("scancel", "--name=mine")

    fake_slurm.wait_until(jobs[0], "CANCELLED")
    assert squeue(fake_slurm, "-o%i") == [jobs[1]]


def test_cancelling_what_is_not_there_is_silent(fake_slurm: FakeSlurm) -> None:
    reply = fake_slurm.run("scancel", "99")

    assert (reply.returncode, reply.stdout, reply.stderr) == (0, "", "")


def test_the_walltime_ends_a_job(fake_slurm: FakeSlurm) -> None:
    job = running(fake_slurm, LONG, "-o", "out")

    fake_slurm.reach_walltime(job)

    fake_slurm.wait_until(job, "TIMEOUT")
    text = (fake_slurm.programs.parent / "out").read_text()
    assert text.endswith("DUE TO TIME LIMIT ***\n")


def test_a_hidden_job_goes_on(fake_slurm: FakeSlurm) -> None:
    job = running(fake_slurm)

    fake_slurm.hide(job)

    assert squeue(fake_slurm) == []
    assert fake_slurm.run("squeue", "-j", job).returncode == 1
    assert processes.alive(fake_slurm.job(job).pid)


@pytest.mark.parametrize("noticed", [True, False])
def test_a_node_without_power_takes_everything_with_it(
    fake_slurm: FakeSlurm, *, noticed: bool
) -> None:
    job = running(fake_slurm, "setsid sleep 1000 & setsid sleep 1001 & wait")
    assert processes.until(lambda: len(fake_slurm.processes_of(job)) >= 4)

    fake_slurm.kill(job, noticed=noticed)

    assert fake_slurm.processes_of(job) == set()
    assert squeue(fake_slurm, "-o%T") == ([] if noticed else ["RUNNING"])


@pytest.mark.parametrize("thorough", [True, False])
def test_what_left_the_process_group_survives_unless_cgroups_are_played(
    fake_slurm: FakeSlurm, *, thorough: bool
) -> None:
    if thorough:
        fake_slurm.kill_as_cgroups_do()
    out = fake_slurm.programs.parent / "out"
    job = running(fake_slurm, "setsid sh -c 'echo $$; exec sleep 1000' & wait", "-o", "out")
    runaway = int(content(out))

    fake_slurm.run("scancel", job)

    fake_slurm.wait_until(job, "CANCELLED")
    assert processes.alive(runaway) is not thorough


def test_nothing_is_left_when_the_fake_ends(tmp_path: Path) -> None:
    fake = FakeSlurm.create(tmp_path / "other")
    jobs = [running(fake, "setsid sleep 1000 & exec sleep 1000") for _ in range(2)]
    fake.hold()
    jobs.append(submit(fake))
    pids = set().union(*(fake.processes_of(job) for job in jobs))
    assert len(pids) >= 3

    fake.end()

    assert not any(processes.alive(pid) for pid in pids)


def test_the_programs_come_first_on_path(fake_slurm: FakeSlurm) -> None:
    assert os.environ["PATH"].split(os.pathsep)[0] == str(fake_slurm.programs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 300),
        ("5:30", 330),
        ("01:00:30", 3630),
        ("1-2", 93600),
        ("1-02:30", 95400),
        ("1-02:30:15", 95415),
        ("UNLIMITED", None),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text: str, expected: float | None) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (5, "0:05"),
        (120, "2:00"),
        (3600, "1:00:00"),
        (93600, "1-02:00:00"),
        (-3, "0:00"),
        (None, "UNLIMITED"),
    ],
)
def test_times_are_shown_as_slurm_shows_them(limit: float | None, expected: str) -> None:
    assert clock(limit) == expected
