"""SLURM's dialect, against what a real SLURM said (tests/golden/slurm)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbss_hpc.core.site import Site
from tbss_hpc.schedulers.answers import DontKnow, Gone, Seen
from tbss_hpc.schedulers.reply import Reply
from tbss_hpc.schedulers.slurm import (
    cancel_commands,
    directive_problems,
    in_words,
    query_environment,
    queue_query,
    read_native_id,
    read_queue,
    refusal_fix,
    submission_environment,
    submission_options,
)

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "slurm"
HEADING = "JOBID|STATE|TIME_LEFT|NODELIST|NAME|REASON\n"


def reply(name: str, *argv: str) -> Reply:
    """Give a captured reply."""
    text = (GOLDEN / f"{name}.txt").read_text()
    parts = re.fullmatch(r"# .*\n-- exit (\d+)\n-- stdout\n(.*)-- stderr\n(.*)", text, re.DOTALL)
    assert parts is not None, name
    return Reply(argv or ("squeue",), int(parts[1]), parts[2], parts[3])


def slurm(**values: object) -> Site:
    usual = {"scheduler": "slurm", "cores": 4, "memory": 8 << 30, "walltime": 14400.0}
    return Site(**{**usual, **values})  # type: ignore[arg-type]


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number}" for number in range(1, count + 1)]


# -- what sbatch is told ------------------------------------------------------------------------


def test_an_allocation_is_never_requeued_and_gets_the_environment_of_sbatch() -> None:
    assert submission_options(slurm(), 14400.0) == ["--no-requeue", "--export=ALL"]


def test_every_wish_of_the_site_becomes_a_directive_and_the_users_own_come_last() -> None:
    site = slurm(
        qos="high",
        reservation="tuesday",
        constraint="[rack1|rack2]",
        shortest_walltime=7200.0,
        mail="me@uni.de",
        directives=("--exclusive", "--comment=tbss"),
    )

    assert submission_options(site, 14400.0) == [
        "--no-requeue",
        "--export=ALL",
        "--qos=high",
        "--reservation=tuesday",
        "--constraint=[rack1|rack2]",
        "--time-min=02:00:00",
        "--mail-user=me@uni.de",
        "--mail-type=FAIL",
        "--exclusive",
        "--comment=tbss",
    ]


def test_the_shortest_walltime_is_not_longer_than_what_a_plan_asks_for() -> None:
    site = slurm(shortest_walltime=7200.0)

    assert "--time-min=01:00:00" in submission_options(site, 3600.0)


def test_sbatch_gets_what_commands_need_and_what_finds_the_cluster() -> None:
    environ = {
        "FSLDIR": "/opt/fsl",
        "PATH": "/usr/bin",
        "SLURM_CONF": "/etc/slurm.conf",
        "SECRET": "x",
        "MATLABPATH": "/m",
    }

    assert submission_environment(slurm(environment=("MATLAB*",)), environ) == {
        "FSLDIR": "/opt/fsl",
        "PATH": "/usr/bin",
        "SLURM_CONF": "/etc/slurm.conf",
        "MATLABPATH": "/m",
    }


def test_variables_of_sbatch_count_only_where_the_site_says_nothing() -> None:
    environ = {"SBATCH_ACCOUNT": "lab", "SBATCH_PARTITION": "long", "SBATCH_REQUEUE": "1"}

    assert submission_environment(slurm(queue="short"), environ) == {"SBATCH_ACCOUNT": "lab"}


def test_a_site_that_passes_all_on_does_not_pass_the_traces_of_a_job_around_us() -> None:
    environ = {
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_PER_TASK": "2",
        "SLURMD_NODENAME": "n1",
        "SBATCH_EXPORT": "NONE",
        "SECRET": "x",
    }

    assert submission_environment(slurm(environment=("*",)), environ) == {"SECRET": "x"}


@pytest.mark.parametrize(
    ("directive", "advice"),
    [
        ("--time=5", "use the key `walltime`"),
        ("-t 5", "use the key `walltime`"),
        ("-t5", "use the key `walltime`"),
        ("--exclusive --mem=8G", "use the key `memory`"),
        ("--mem-per-cpu=1G", "use the key `memory`"),
        ("-p long", "use the key `queue`"),
        ("--requeue", "remove it"),
        ("--array=1-3", "remove it"),
        ("-J mine", "remove it"),
        ("--export=NONE", "use the key `environment`"),
        ("exclusive", "is not an option of sbatch"),
    ],
)
def test_directives_that_would_undo_ours_are_found(directive: str, advice: str) -> None:
    [problem] = directive_problems(slurm(directives=(directive,)))

    assert problem.keys == ("directives",)
    assert advice in problem.text


@pytest.mark.parametrize(
    "directive",
    ["--exclusive", "--gres=tmp:10G", "--comment='a -t 5'", "--mail-type=ALL", "-x node7", "--x='"],
)
def test_other_directives_are_the_users_business(directive: str) -> None:
    assert list(directive_problems(slurm(directives=(directive,)))) == []


# -- what sbatch answers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "native_id"),
    [
        ("submit-accepted", "49"),
        ("submit-parsable", "50"),
        ("submit-with-clusters", "7;testbed"),
        ("submit-parsable-with-clusters", "8;testbed"),
        ("submit-federated", "67108873"),
        ("submit-banner", "4812345"),
        ("submit-parsable-banner", "4812345;east"),
    ],
)
def test_the_number_of_a_job_is_found_in_whatever_stands_around_it(
    name: str, native_id: str
) -> None:
    assert read_native_id(reply(name).stdout) == native_id


@pytest.mark.parametrize("name", ["submit-nothing", "submit-two", "refused-partition"])
def test_no_number_or_more_than_one_is_not_guessed_at(name: str) -> None:
    stdout = reply(name).stdout

    with pytest.raises(ValueError, match="job number") as refusal:
        read_native_id(stdout)

    assert repr(stdout) in str(refusal.value)


def test_the_same_number_said_twice_is_one_job() -> None:
    assert read_native_id("Submitted batch job 7\nSubmitted batch job 7\n") == "7"


@given(st.text())
def test_any_words_of_sbatch_give_a_number_or_a_complaint(text: str) -> None:
    try:
        native_id = read_native_id(text)
    except ValueError:
        return
    assert native_id.partition(";")[0] in text


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("refused-partition", "`queue`"),
        ("refused-partition-inactive", "`queue`"),
        ("refused-group", "`queue`"),
        ("refused-account", "`account`"),
        ("refused-qos", "`qos`"),
        ("refused-qos-not-yours", "`qos`"),
        ("refused-submit-limit", "`workers`"),
        ("refused-policy-cores", "`cores`"),
        ("refused-policy-time", "`walltime`"),
        ("refused-memory", "`memory`"),
        ("refused-feature", "`constraint`"),
        ("refused-reservation", "`reservation`"),
        ("refused-option", "`directives`"),
        ("refused-mail-type", "`directives`"),
        ("refused-no-controller", "`sinfo`"),
    ],
)
def test_a_refusal_comes_with_what_to_edit(name: str, advice: str) -> None:
    refused = reply(name, "sbatch")

    assert refused.exit_code != 0
    assert advice in refusal_fix(refused.stderr).split(";", maxsplit=1)[0]


@pytest.mark.parametrize(
    ("stderr", "advice"),
    [
        ("Requested time limit is invalid (missing or exceeds some limit)", "`walltime`"),
        ("Job violates accounting/QOS policy (job submit limit, user's size and/or", "`workers`"),
        ("CPU count per node can not be satisfied", "`cores`"),
        ("Batch job submission failed: Socket timed out on send/recv operation", "`sinfo`"),
        ("sbatch: error: lua: you shall not pass", ""),
        ("", ""),
    ],
)
def test_refusals_that_were_not_captured(stderr: str, advice: str) -> None:
    assert advice in refusal_fix(stderr)
    assert bool(refusal_fix(stderr)) is bool(advice)


# -- the queue ----------------------------------------------------------------------------------


def test_one_query_asks_for_all_allocations() -> None:
    assert queue_query(["tb-1", "tb-2"]) == [
        "squeue",
        "--me",
        "--all",
        "--states=all",
        "--name=tb-1,tb-2",
        "--format=%i|%T|%L|%N|%j|%r",
    ]


def test_a_query_names_the_clusters_that_have_to_answer() -> None:
    assert queue_query(["tb-1"], "east,west")[-1] == "--clusters=east,west"


def test_nothing_in_a_profile_hides_jobs_from_a_query() -> None:
    hidden = reply("queue-filtered-by-profile")
    environ = {"SQUEUE_PARTITION": "short", "PATH": "/usr/bin", "SLURM_CONF": "/x"}

    assert read_queue(hidden, ["tb-h-1"]) == {"tb-h-1": Gone("not in the queue any more")}
    assert query_environment(environ) == {
        "PATH": "/usr/bin",
        "SLURM_CONF": "/x",
        "SQUEUE_FEDERATION": "1",
    }


def test_states_of_all_kinds_are_told_apart() -> None:
    answer = read_queue(reply("queue-states"), names("tb-k7m2p", 9))

    two_days = 2 * 86400.0 - 3
    assert answer == {
        "tb-k7m2p-1": Seen("RUNNING", "", "bed23885n1", "27", two_days),
        "tb-k7m2p-2": Seen("RUNNING", "", "bed23885n1", "28", None),
        "tb-k7m2p-3": Seen("RUNNING", "", "bed23885n1", "29", 117.0),
        "tb-k7m2p-4": Gone("FAILED"),
        "tb-k7m2p-5": Gone("COMPLETED"),
        "tb-k7m2p-6": Gone("CANCELLED"),
        "tb-k7m2p-7": Seen("COMPLETING", "", "bed23885n1", "33", 120.0),
        "tb-k7m2p-8": Seen("RUNNING", "", "bed23885n1", "34", 57.0),
        "tb-k7m2p-9": Gone("not in the queue any more"),
    }


@pytest.mark.parametrize(
    ("name", "allocation", "state"),
    [
        ("queue-time-limit", "tb-t-1", "TIMEOUT"),
        ("queue-node-failed", "tb-n-1", "NODE_FAIL"),
        ("queue-empty", "tb-k7m2p-1", "not in the queue any more"),
    ],
)
def test_what_is_over_is_gone(name: str, allocation: str, state: str) -> None:
    assert read_queue(reply(name), [allocation]) == {allocation: Gone(state)}


@pytest.mark.parametrize(
    "state", ["OUT_OF_MEMORY", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "CANCELLED"]
)
def test_states_that_cannot_be_had_here_are_gone_too(state: str) -> None:
    row = f"7|{state}|0:00|n1|tb-1|None\n"

    assert read_queue(Reply(("squeue",), 0, HEADING + row, ""), ["tb-1"]) == {"tb-1": Gone(state)}


def test_a_waiting_allocation_has_a_reason_and_no_end() -> None:
    answer = read_queue(reply("queue-reasons"), [*names("tb-r", 4), "tb-r-fill2"])

    assert answer == {
        "tb-r-1": Seen("PENDING", "Resources", "", "37", None),
        "tb-r-2": Seen("PENDING", "Priority", "", "38", None),
        "tb-r-3": Seen("PENDING", "JobHeldUser", "", "39", None),
        "tb-r-4": Seen("PENDING", "BeginTime", "", "40", None),
        "tb-r-fill2": Seen("PENDING", "BeginTime", "", "36", None),
    }


def test_words_that_nobody_knows_are_kept_and_never_mean_gone() -> None:
    assert read_queue(reply("queue-unknown"), names("tb-k7m2p", 3)) == {
        "tb-k7m2p-1": Seen("HIBERNATING", "Freezing|2 K", "c-17", "4812345", None),
        "tb-k7m2p-2": Seen("PENDING", "MoonNotFull", "", "4812346", None),
        "tb-k7m2p-3": Seen("RUNNING", "", "c-18", "4812347", 0.0),
    }


def test_banners_around_an_answer_do_not_matter() -> None:
    day = 86400 + 2 * 3600 + 3 * 60 + 4.0

    assert read_queue(reply("queue-banner"), names("tb-k7m2p", 2)) == {
        "tb-k7m2p-1": Seen("RUNNING", "", "c-17", "4812345", day),
        "tb-k7m2p-2": Gone("not in the queue any more"),
    }


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("queue-no-controller", "Unable to contact slurm controller"),
        ("queue-no-configuration", "Unable to process configuration file"),
        ("queue-cluster-unknown", "'east' can't be reached now"),
        ("queue-later", "Try again later"),
        ("queue-broken", "4812346|RUNN"),
    ],
)
def test_what_is_no_answer_says_nothing_about_any_allocation(name: str, why: str) -> None:
    answer = read_queue(reply(name), ["tb-k7m2p-1"])

    assert isinstance(answer, DontKnow)
    assert why in answer.why


def test_silence_is_no_answer() -> None:
    nothing = Reply(("squeue",), 0, "", "")

    assert read_queue(nothing, ["tb-1"]) == DontKnow("squeue gave no answer: it is empty")


def test_an_answer_with_an_error_beside_it_is_not_believed() -> None:
    doubtful = Reply(("squeue",), 0, HEADING, "squeue: error: Lost connection\n")

    assert read_queue(doubtful, ["tb-1"]) == DontKnow("squeue: error: Lost connection")


def test_a_program_that_dies_without_a_word_is_named() -> None:
    dead = Reply(("squeue", "--me"), -9, "", "")

    assert read_queue(dead, ["tb-1"]) == DontKnow("squeue ended with exit code -9 and said nothing")


def test_a_job_on_a_named_cluster_keeps_the_name_of_the_cluster() -> None:
    query = queue_query(["tb-q-1"], "testbed")

    assert read_queue(reply("queue-with-clusters", *query), ["tb-q-1"]) == {
        "tb-q-1": Seen("RUNNING", "", "node1", "2;testbed", 117.0)
    }


def test_a_cluster_that_is_silent_hides_its_jobs_and_is_noticed() -> None:
    query = queue_query(["tb-q-1", "tb-q-2"], "testbed,west")
    answer = read_queue(reply("queue-one-cluster-silent", *query), ["tb-q-1", "tb-q-2"])

    assert isinstance(answer, DontKnow)
    assert answer.why.startswith("squeue gave no answer for the cluster west")


def test_of_copies_in_a_federation_the_one_that_may_be_alive_counts() -> None:
    assert read_queue(reply("queue-siblings"), names("tb-k7m2p", 3)) == {
        "tb-k7m2p-1": Seen("RUNNING", "", "c-17", "67108873", 3 * 3600 + 59 * 60.0),
        "tb-k7m2p-2": Seen("REVOKED", "", "", "67108874", None),
        "tb-k7m2p-3": Gone("TIMEOUT"),
    }


def test_jobs_of_other_names_are_nobodys_business() -> None:
    assert read_queue(reply("queue-federated"), ["tb-f-1"]) == {
        "tb-f-1": Seen("PENDING", "AssocGrpCpuLimit", "", "67108873", None)
    }


WORDS = st.text(st.characters(exclude_characters="|\n\r", exclude_categories=["C", "Z"]))


@given(st.text(), st.text(), st.integers(-20, 20))
def test_any_answer_is_read_or_doubted(stdout: str, stderr: str, exit_code: int) -> None:
    answer = read_queue(Reply(("squeue",), exit_code, stdout, stderr), ["tb-1"])

    assert isinstance(answer, DontKnow) or list(answer) == ["tb-1"]
    if HEADING.strip() not in stdout:
        assert isinstance(answer, DontKnow)


@given(state=WORDS, left=WORDS, reason=WORDS)
def test_a_row_with_a_node_is_gone_only_for_a_word_that_says_so(
    state: str, left: str, reason: str
) -> None:
    row = f"7|{state}|{left}|n1|tb-1|{reason}\n"
    answer = read_queue(Reply(("squeue",), 0, HEADING + row, ""), ["tb-1"])

    assert isinstance(answer, dict)
    assert isinstance(answer["tb-1"], Seen)


def test_jobs_are_cancelled_by_number_on_their_own_cluster() -> None:
    assert cancel_commands(["7", "8;east", "9"]) == [
        ["scancel", "7", "9"],
        ["scancel", "--clusters=east", "8"],
    ]


def test_nothing_to_cancel_needs_no_call() -> None:
    assert cancel_commands([]) == []


# -- in words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("AssocGrpCpuLimit", "your account's core limit is reached"),
        ("AssocGrpCPUMinutesLimit", "your account's core-hours limit is reached"),
        ("AssocGrpMemLimit", "your account's memory limit is reached"),
        ("AssocGrpJobsLimit", "your account's job limit is reached"),
        ("AssocMaxJobsLimit", "your account's job limit is reached"),
        ("QOSMaxJobsPerUserLimit", "the QOS's job limit for one user is reached"),
        ("QOSMaxCpuPerUserLimit", "the QOS's core limit for one user is reached"),
        ("QOSGrpCPURunMinutesLimit", "the QOS's core-hours limit is reached"),
        ("QOSGrpNodeLimit", "the QOS's node limit is reached"),
        (
            "QOSMaxSubmitJobPerUserLimit",
            "limit of submitted jobs for one user",
        ),
        ("QOSMaxCpuPerJobLimit", "it asks for more cores than the QOS allows"),
        ("QOSMaxWallDurationPerJobLimit", "it asks for more time than the QOS allows"),
        ("QOSMinMemory", "it asks for less memory than the QOS wants"),
        ("QOSMinCpuNotSatisfied", "it asks for fewer cores than the QOS wants"),
        ("Priority", "others come first"),
        ("Resources", "it is next"),
        ("ReqNodeNotAvail, Reserved for maintenance", "a shorter walltime may fit before"),
        ("ReqNodeNotAvail, UnavailableNodes:bed23885n1", "down, reserved or taken"),
        ("ReqNodeNotAvail(Unavailable:n[1-3])", "down, reserved or taken"),
        ("PartitionTimeLimit", "look at walltime"),
        ("PartitionDown", "switched off"),
        ("PartitionInactive", "does not start jobs"),
        ("BeginTime", "before a given time"),
        ("Dependency", "another job"),
        ("JobHeldUser", "scontrol release"),
        ("launch failed requeued held", "cancel it"),
        ("launch_failed_requeued_held", "cancel it"),
        ("InvalidAccount", "look at account"),
        ("InvalidQOS", "look at qos"),
        ("Nodes required for job are DOWN, DRAINED or reserved for others", "kept for others"),
    ],
)
def test_a_reason_becomes_a_sentence_and_stays_to_be_read(reason: str, sentence: str) -> None:
    words = in_words("PENDING", reason)

    assert words.startswith("waiting: ")
    assert sentence in words
    assert words.endswith(f" ({reason})")


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (
            "PENDING",
            "AssocGrpCpuLimit",
            "waiting: your account's core limit is reached (AssocGrpCpuLimit)",
        ),
        ("PENDING", "", "waiting: SLURM has not looked at it yet"),
        ("PENDING", "MoonNotFull", "waiting: MoonNotFull"),
        ("RUNNING", "", "running"),
        ("COMPLETING", "NonZeroExitCode", "ending"),
        ("TIMEOUT", "TimeLimit", "ended: time limit"),
        ("NODE_FAIL", "NodeDown", "ended: its node failed"),
        ("HIBERNATING", "Freezing", "HIBERNATING (Freezing)"),
        ("HIBERNATING", "", "HIBERNATING"),
        ("SPECIAL_EXIT", "JobHeldUser", in_words("PENDING", "JobHeldUser")),
    ],
)
def test_a_state_becomes_a_few_words(state: str, reason: str, words: str) -> None:
    assert in_words(state, reason) == words


def test_every_reason_that_was_captured_has_a_sentence() -> None:
    for path in GOLDEN.glob("queue-*.txt"):
        for reason in re.findall(r"\|PENDING\|.*\|(.+)$", path.read_text(), re.MULTILINE):
            if reason != "MoonNotFull":
                assert in_words("PENDING", reason).endswith(f" ({reason})"), path.name


def test_every_captured_reply_tells_where_it_comes_from() -> None:
    for path in GOLDEN.glob("*.txt"):
        first = path.read_text().splitlines()[0]
        assert re.match(r"# (SLURM [\d.]+ .*, captured\.|Written by hand)", first), path.name
