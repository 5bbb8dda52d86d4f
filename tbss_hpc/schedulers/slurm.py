"""SLURM's dialect: what sbatch, squeue and scancel want to hear, and what they answer.

Tried with 22.05; the options used here are in every version since 20.11.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from tbss_hpc.core.site import Problem, Site, passed_names
from tbss_hpc.core.units import format_walltime
from tbss_hpc.schedulers.answers import DontKnow, Gone, Seen
from tbss_hpc.schedulers.reply import Reply
from tbss_hpc.schedulers.slurm_words import in_words, refusal_fix

__all__ = [
    "cancel_commands",
    "directive_problems",
    "in_words",
    "lost_the_answer",
    "may_wait_for_maintenance",
    "query_environment",
    "queue_query",
    "read_native_id",
    "read_queue",
    "refusal_fix",
    "submission_environment",
    "submission_options",
]

#: States of a job that is over: nothing of it is left on a node. COMPLETING is not among them (its
#: processes may still be alive), nor REVOKED (it may run on a sibling cluster that is silent just
#: now), nor any word that we do not know.
_OVER = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "TIMEOUT"),
}
#: The reason comes last, because a site's own may hold any character.
_COLUMNS = {
    "%i": "JOBID",
    "%T": "STATE",
    "%L": "TIME_LEFT",
    "%N": "NODELIST",
    "%j": "NAME",
    "%r": "REASON",
}
_HEADING = "|".join(_COLUMNS.values())
_CLUSTER = "CLUSTER:"
_CLUSTERS = "--clusters="
_NOT_ANY_MORE = "not in the queue any more"

# -- submitting -------------------------------------------------------------------------------

#: What sbatch needs to find and convince the cluster, besides what travels to the commands.
_SBATCH_NEEDS = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT", "KRB5CCNAME")
#: sbatch's own variables outrank a script's directives, so each counts only where the site file
#: leaves its key empty. All others (SBATCH_REQUEUE, SBATCH_EXPORT …) never reach sbatch.
_SBATCH_VARIABLES = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_PARTITION": "queue",
    "SBATCH_QOS": "qos",
    "SBATCH_RESERVATION": "reservation",
}

#: Options that we set ourselves, and the key of the site file to use instead; "" where there is
#: none because no other value would do.
_OWN_OPTIONS = {
    **dict.fromkeys(("--partition", "-p"), "queue"),
    **dict.fromkeys(("--account", "-A"), "account"),
    **dict.fromkeys(("--qos", "-q"), "qos"),
    "--reservation": "reservation",
    **dict.fromkeys(("--constraint", "-C"), "constraint"),
    **dict.fromkeys(("--cpus-per-task", "-c"), "cores"),
    **dict.fromkeys(("--mem", "--mem-per-cpu"), "memory"),
    **dict.fromkeys(("--time", "-t"), "walltime"),
    "--time-min": "shortest-walltime",
    "--mail-user": "mail",
    "--export": "environment",
    **dict.fromkeys(("--ntasks", "-n", "--ntasks-per-node", "--nodes", "-N", "--array", "-a"), ""),
    **dict.fromkeys(("--job-name", "-J", "--output", "-o", "--error", "-e"), ""),
    **dict.fromkeys(("--requeue", "--no-requeue", "--wait", "-W", "--wrap", "--test-only"), ""),
    **dict.fromkeys(("--clusters", "-M", "--export-file"), ""),
}


def submission_options(site: Site, walltime_seconds: float) -> list[str]:
    """Give the directives that come after dask-jobqueue's own, without `#SBATCH`.

    walltime_seconds -- of this allocation; a plan may ask for less than the site allows.
    """
    shortest = site.shortest_walltime
    options = {
        "--qos": site.qos,
        "--reservation": site.reservation,
        "--constraint": site.constraint,
        "--time-min": shortest and format_walltime(min(shortest, walltime_seconds)),
        "--mail-user": site.mail,
        # One message for each allocation that goes wrong; not one for each that ends.
        "--mail-type": site.mail and "FAIL",
    }
    # The environment that sbatch gets is made to be passed on whole (`submission_environment`). A
    # list of names would make SLURM run the user's login scripts on the node, which fails on a
    # slow home folder and leaves the job held.
    always = ["--no-requeue", "--export=ALL"]
    return [*always, *(f"{k}={v}" for k, v in options.items() if v), *site.directives]


def submission_environment(site: Site, environ: Mapping[str, str]) -> dict[str, str]:
    """Give the environment to run sbatch in, which is also what the commands start with."""
    overrides = [name for name, key in _SBATCH_VARIABLES.items() if not getattr(site, key)]
    kept = {*passed_names(site, environ), *_SBATCH_NEEDS, *overrides}
    # A site that passes everything on still must not pass the traces of a job that we may be in,
    # nor what would outrank the script.
    allowed = {*_SBATCH_NEEDS, *overrides}
    foreign = {n for n in kept if n.startswith(("SLURM_", "SLURMD_", "SBATCH_"))} - allowed
    return {name: environ[name] for name in environ if name in kept - foreign}


def directive_problems(site: Site) -> Iterator[Problem]:
    """Find directives that would undo what we say to sbatch ourselves."""
    for directive in site.directives:
        for word in _words(directive):
            option = word.split("=", 1)[0] if word.startswith("--") else word[:2]
            if option in _OWN_OPTIONS:
                key = _OWN_OPTIONS[option]
                fix = f"use the key `{key}`" if key else "remove it"
                text = f"{option} is set by tbss-hpc; {fix}"
                yield Problem(("directives",), text)
        if not directive.startswith("-"):
            text = f"{directive!r} is not an option of sbatch, such as --exclusive"
            yield Problem(("directives",), text)


def _words(directive: str) -> list[str]:
    try:
        return [word for word in shlex.split(directive) if word.startswith("-")]
    except ValueError:  # an open quotation mark: sbatch will say so
        return []


_SUBMITTED = re.compile(r"\bSubmitted batch job (\d+)(?: on cluster (\S+))?", re.ASCII)
_PARSABLE = re.compile(r"^\s*(\d+)(?:;(\S+))?\s*$", re.ASCII | re.MULTILINE)


def read_native_id(stdout: str) -> str:
    """Find the number of a job in what sbatch printed: `77`, or `77;east` on another cluster.

    Banners, and what wrappers of sbatch print, stand beside it. Raises ValueError with the whole
    text if there is none or more than one.
    """
    found = {*_SUBMITTED.findall(stdout)} or {*_PARSABLE.findall(stdout)}
    if len(found) != 1:
        raise ValueError(f"no job number, or more than one, in what sbatch printed: {stdout!r}")
    number, cluster = found.pop()
    return f"{number};{cluster}" if cluster else number


def lost_the_answer(reply: Reply) -> bool:
    """Tell whether sbatch gave up waiting for an answer; slurmctld may have taken the job."""
    return reply.exit_code != 0 and "timed out" in reply.stderr


def may_wait_for_maintenance(reason: str) -> bool:
    """Tell whether a job may be pending because nodes are reserved for maintenance."""
    return reason.startswith("ReqNodeNotAvail") or "aintenance" in reason


def cancel_commands(native_ids: Sequence[str]) -> list[list[str]]:
    """Give the calls of scancel that end these jobs: one, or one for each cluster."""
    clusters: dict[str, list[str]] = {}
    for native_id in native_ids:
        number, _, cluster = native_id.partition(";")
        clusters.setdefault(cluster, []).append(number)
    return [
        ["scancel", *([f"--clusters={cluster}"] if cluster else []), *numbers]
        for cluster, numbers in clusters.items()
    ]


# -- asking -----------------------------------------------------------------------------------


def queue_query(names: Sequence[str], clusters: str = "") -> list[str]:
    """Give the one call of squeue that asks for all allocations of these names.

    clusters -- what SLURM_CLUSTERS says where the run submits: one name, or several with commas.

    Run it in `query_environment`.
    """
    return [
        "squeue",
        "--me",
        # Without --all, jobs in a hidden partition would seem to be gone.
        "--all",
        "--states=all",
        f"--name={','.join(names)}",
        # With the heading, which shows that squeue has answered even when nothing follows it.
        f"--format={'|'.join(_COLUMNS)}",
        *([_CLUSTERS + clusters] if clusters else []),
    ]


def query_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the environment to run squeue and scancel in.

    A SQUEUE_PARTITION in somebody's profile would hide jobs that run, and a hidden job looks like
    one that is gone.
    """
    kept = {k: v for k, v in environ.items() if not k.startswith(("SQUEUE_", "SCANCEL_"))}
    # In a federation a job may start on a sibling; the copy here then says REVOKED.
    return {**kept, "SQUEUE_FEDERATION": "1"}


def read_queue(reply: Reply, names: Sequence[str]) -> dict[str, Seen | Gone] | DontKnow:
    """Say what is known of each allocation from the answer to `queue_query`."""
    if reply.exit_code != 0 or re.search(r"\berror:", reply.stderr):
        return DontKnow(reply.complaint)
    found: dict[str, list[Seen | Gone]] = {}
    cluster, answered = "", set()
    for line in (line.strip() for line in reply.stdout.splitlines()):
        if line.startswith(_CLUSTER):
            cluster = line.removeprefix(_CLUSTER).strip()
        elif line == _HEADING:
            answered.add(cluster)
        elif "|" in line:  # without a bar it is a banner
            parts = line.split("|", len(_COLUMNS) - 1)
            if len(parts) != len(_COLUMNS) or not parts[0][:1].isdigit():
                return DontKnow(f"squeue's answer cannot be read: {_excerpt(line)}")
            found.setdefault(parts[4].strip(), []).append(_answer(parts, cluster))
    if silent := _asked(reply) - answered:
        where = "" if silent == {""} else f" for the cluster {', '.join(sorted(silent))}"
        return DontKnow(f"squeue gave no answer{where}: {_excerpt(reply.stdout)}")
    return {name: max(found.get(name, [Gone(_NOT_ANY_MORE)]), key=_weight) for name in names}


def _asked(reply: Reply) -> set[str]:
    """Name the clusters that have to answer; "" for the one that is asked when none is named.

    squeue leaves out a cluster that is silent, without a complaint and with exit code 0.
    """
    named = [word.removeprefix(_CLUSTERS) for word in reply.argv if word.startswith(_CLUSTERS)]
    return set(named[0].split(",")) if named else {""}


def _answer(parts: Sequence[str], cluster: str) -> Seen | Gone:
    number, state, left, node, _, reason = (part.strip() for part in parts)
    if state in _OVER:
        return Gone(state)
    return Seen(
        state=state,
        reason="" if reason == "None" else reason,
        node=node,
        native_id=f"{number};{cluster}" if cluster else number,
        seconds_left=_seconds_left(left) if node else None,
    )


def _weight(answer: Seen | Gone) -> int:
    """Order rows of one name: where a copy of an allocation may be alive, that row counts."""
    match answer:
        case Seen("REVOKED"):  # of a job that another cluster took; there it has a row of its own
            return 0
        case Gone():
            return 1
        case Seen(node=""):
            return 2
        case _:
            return 3


_LEFT = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", re.ASCII)


def _seconds_left(text: str) -> float | None:
    """Read squeue's %L: `1-02:00:00`, `59:30`; None for UNLIMITED and what we do not know."""
    if text == "INVALID":  # what squeue makes of a negative time: the walltime is over
        return 0.0
    found = _LEFT.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _excerpt(text: str) -> str:
    words = " ".join(text.split()) or "it is empty"
    return words if len(words) <= 200 else words[:200] + " …"  # noqa: PLR2004 - about three lines
