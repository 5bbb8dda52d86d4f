"""The fake's commands: sbatch, squeue and scancel, which speak as SLURM 22.05 does."""

from __future__ import annotations

import getopt
import os
import pwd
import re
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.fake import step
from tests.fake.state import IN_QUEUE, Job, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Long name -> short name, of what takes a value.
SUBMIT_VALUES = {
    "job-name": "J", "partition": "p", "ntasks": "n", "cpus-per-task": "c", "time": "t",
    "output": "o", "error": "e", "chdir": "D", "account": "A", "nodes": "N", "qos": "q",
    "nodelist": "w", "constraint": "C", "dependency": "d", "exclude": "x", "mem": "",
    "mem-per-cpu": "", "comment": "", "export": "", "signal": "", "gres": "", "reservation": "",
    "mail-type": "", "mail-user": "", "open-mode": "", "begin": "", "nice": "", "licenses": "L",
    "tmp": "", "ntasks-per-node": "", "wrap": "", "get-user-env": "",
}  # fmt: skip
SUBMIT_FLAGS = {"parsable": "", "hold": "H", "requeue": "", "no-requeue": "", "exclusive": "",
                "quiet": "Q"}  # fmt: skip
QUERY_VALUES = {"format": "o", "states": "t", "name": "n", "jobs": "j", "user": "u",
                "partition": "p"}  # fmt: skip
QUERY_FLAGS = {"noheader": "h", "all": "a", "me": "", "array": "r"}
CANCEL_VALUES = {"name": "n", "user": "u", "state": "t", "signal": "s"}
CANCEL_FLAGS = {"me": "", "batch": "b", "full": "f", "quiet": "Q", "verbose": "v"}

SHORT_STATES = {
    "PENDING": "PD", "RUNNING": "R", "COMPLETING": "CG", "COMPLETED": "CD", "CANCELLED": "CA",
    "FAILED": "F", "TIMEOUT": "TO", "NODE_FAIL": "NF",
}  # fmt: skip

POLICY = (
    "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
    " (job submit limit, user's size and/or time limits)\n"
)
LOST_REPLY = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"
NO_CONTROLLER = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
UNKNOWN_JOB = "slurm_load_jobs error: Invalid job id specified\n"
NOT_A_SCRIPT = (
    "sbatch: error: This does not look like a batch script.  The first\n"
    "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
    "sbatch: error: For instance: #!/bin/sh\n"
)


def main() -> None:
    """Be one of the programs: FOLDER PROGRAM ARGUMENTS…."""
    folder, program, *words = sys.argv[1:]
    state = State(Path(folder))
    match program:
        case "sbatch":
            sbatch(state, words)
        case "squeue":
            squeue(state, words)
        case "scancel":
            scancel(state, words)
        case "step":
            step.run(state, words[0])


def give_up(text: str) -> NoReturn:
    """Complain and end, as all of SLURM's commands do."""
    sys.stderr.write(text)
    sys.exit(1)


def options(
    program: str, words: Sequence[str], values: dict[str, str], flags: dict[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Read a command line: what was given, by its long name, and the other words."""
    short = "".join(f"{c}:" for c in values.values() if c) + "".join(flags.values())
    long = {c: name for name, c in {**values, **flags}.items() if c}
    # sbatch stops at the name of the script: what follows belongs to that.
    parse = getopt.getopt if program == "sbatch" else getopt.gnu_getopt
    try:
        given, rest = parse(list(words), short, [f"{name}=" for name in values] + list(flags))
    except getopt.GetoptError as error:
        give_up(f'{program}: {error}\nTry "{program} --help" for more information\n')
    named = {name[2:] if name.startswith("--") else long[name[1:]]: text for name, text in given}
    return named, rest


# -- sbatch -----------------------------------------------------------------------------------


def sbatch(state: State, words: Sequence[str]) -> None:
    """Accept a script, or refuse it."""
    given, rest = options("sbatch", words, SUBMIT_VALUES, SUBMIT_FLAGS)
    script = _script(given, rest)
    directed, _ = options("sbatch", _directives(script), SUBMIT_VALUES, SUBMIT_FLAGS)
    if state.control.banner:
        sys.stdout.write(state.control.banner.rstrip("\n") + "\n")
    if state.take("refusals"):
        give_up(state.control.refusal or POLICY)
    wanted = {"job-name": Path(rest[0]).name if rest else "wrap", **directed, **given}
    job = _accept(state, script, wanted, rest[1:])
    if state.take("lost_replies"):
        give_up(LOST_REPLY)
    sys.stdout.write(f"{job.id}\n" if "parsable" in given else f"Submitted batch job {job.id}\n")


def _script(given: dict[str, str], rest: Sequence[str]) -> str:
    if "wrap" in given:
        return f"#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{given['wrap']}\n"
    try:
        text = Path(rest[0]).read_text() if rest else sys.stdin.read()
    except OSError:
        give_up(f"sbatch: error: Unable to open file {rest[0]}\n")
    if not text:
        give_up("sbatch: error: Batch script is empty!\n")
    if not text.startswith("#!"):
        give_up(NOT_A_SCRIPT)
    return text


def _directives(script: str) -> list[str]:
    """Collect the #SBATCH lines above the first command."""
    words = []
    for line in script.splitlines():
        if line.startswith("#SBATCH"):
            words += shlex.split(line.removeprefix("#SBATCH"), comments=True)
        elif line.strip() and not line.startswith("#"):
            break
    return words


def _accept(state: State, script: str, wanted: dict[str, str], arguments: list[str]) -> Job:
    job = Job(
        id=state.next_id(),
        name=wanted["job-name"],
        user=pwd.getpwuid(os.getuid()).pw_name,
        partition=wanted.get("partition", "normal"),
        folder=str(Path(wanted.get("chdir", ".")).absolute()),
        output=wanted.get("output", "slurm-%j.out"),
        arguments=tuple(arguments),
        error=wanted.get("error", ""),
        limit_seconds=seconds(wanted["time"]) if "time" in wanted else None,
        cpus=int(wanted.get("cpus-per-task", "1")),
        memory=wanted.get("mem", ""),
        submitted=time.time(),
    )
    file = state.path(job.id, "script")
    file.write_text(script)
    file.chmod(0o700)
    state.save(job)
    bare = wanted.get("export") == "NONE"
    kept = {name: os.environ[name] for name in ("HOME", "USER", "PATH") if name in os.environ}
    step.launch(state, job, kept if bare else dict(os.environ))
    return job


def seconds(text: str) -> float | None:
    """Read a time limit: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S."""
    if text.upper() in {"UNLIMITED", "INFINITE"}:
        return None
    days, dash, clock = text.rpartition("-")
    numbers = [int(part) for part in clock.split(":")]
    if dash or len(numbers) == 3:
        hours, minutes, rest = (*numbers, 0, 0)[:3]
    else:
        hours, (minutes, rest) = 0, (*numbers, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60.0 + rest


# -- squeue -----------------------------------------------------------------------------------


def squeue(state: State, words: Sequence[str]) -> None:
    """List jobs."""
    given, _ = options("squeue", words, QUERY_VALUES, QUERY_FLAGS)
    if state.take("failing_queries"):
        give_up(NO_CONTROLLER)
    jobs = [job for job in state.jobs() if not state.override(job.id).hidden]
    if "jobs" in given:
        numbers = _listed(given["jobs"])
        jobs = [job for job in jobs if job.id in numbers]
        if not jobs:
            give_up(UNKNOWN_JOB)
    pattern = given.get("format", "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R")
    lines = [] if "noheader" in given else [_line(pattern, lambda letter: HEADINGS[letter])]
    lines += [_row(state, job, pattern) for job in jobs if _chosen(state, job, given)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _listed(text: str) -> set[str]:
    return {part.strip() for part in text.split(",")}


def _chosen(state: State, job: Job, given: dict[str, str]) -> bool:
    word = state.override(job.id).state or job.state
    wanted = {one.upper() for one in _listed(given.get("states", ""))}
    if wanted == {""}:
        # An unknown word is some state of a job that still is there.
        in_states = word in IN_QUEUE or word not in SHORT_STATES
    else:
        in_states = "ALL" in wanted or bool({word, SHORT_STATES.get(word)} & wanted)
    user = pwd.getpwuid(os.getuid()).pw_name if "me" in given else given.get("user")
    return (
        in_states
        and (user is None or job.user in _listed(user))
        and ("name" not in given or job.name in _listed(given["name"]))
        and ("partition" not in given or job.partition in _listed(given["partition"]))
    )


HEADINGS = {
    "i": "JOBID", "A": "JOBID", "j": "NAME", "T": "STATE", "t": "ST", "r": "REASON",
    "N": "NODELIST", "R": "NODELIST(REASON)", "L": "TIME_LEFT", "l": "TIME_LIMIT", "M": "TIME",
    "u": "USER", "P": "PARTITION", "D": "NODES", "C": "CPUS", "Z": "WORK_DIR", "m": "MIN_MEMORY",
}  # fmt: skip


def _row(state: State, job: Job, pattern: str) -> str:
    word = state.override(job.id).state or job.state
    reason = state.control.reason if job.state == "PENDING" else "None"
    limit = step.limit_seconds(state, job)
    ran = (job.ended or time.time()) - job.started if job.started else 0.0
    values = {
        "i": job.id, "A": job.id, "j": job.name, "T": word, "r": reason, "N": job.node,
        "t": SHORT_STATES.get(word, word[:2]), "u": job.user, "P": job.partition, "D": "1",
        "R": job.node or f"({reason})", "M": clock(ran), "l": clock(limit), "C": str(job.cpus),
        "L": clock(None if limit is None else limit - ran), "Z": job.folder, "m": job.memory,
    }  # fmt: skip
    return _line(pattern, lambda letter: values[letter])


def _line(pattern: str, value: Callable[[str], str]) -> str:
    def shown(found: re.Match[str]) -> str:
        right, width, letter = found.groups()
        if letter not in HEADINGS:
            give_up(f"squeue: error: Invalid job format specification: {letter}\n")
        text = value(letter)
        if not width:
            return text
        return (
            text[: int(width)].rjust(int(width)) if right else text[: int(width)].ljust(int(width))
        )

    return re.sub(r"%(\.?)(\d*)([A-Za-z])", shown, pattern)


def clock(limit: float | None) -> str:
    """Show seconds as squeue does: 0:05, 2:00, 1:00:00, 1-02:00:00, UNLIMITED."""
    if limit is None:
        return "UNLIMITED"
    minutes, rest = divmod(max(int(limit), 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


# -- scancel ----------------------------------------------------------------------------------


def scancel(state: State, words: Sequence[str]) -> None:
    """Ask the step daemons of some jobs to end them; silent about those that are not there."""
    given, rest = options("scancel", words, CANCEL_VALUES, CANCEL_FLAGS)
    if not given and not rest:
        give_up("scancel: error: No job identification provided\n")
    filters = {name: text for name, text in given.items() if name in {"name", "user", "me"}}
    if "state" in given:
        filters["states"] = given["state"]
    numbers = {part for word in rest for part in word.split(",")}
    for job in state.jobs():
        if (not rest or job.id in numbers) and _chosen(state, job, filters):
            state.set_override(job.id, cancelled=True)
