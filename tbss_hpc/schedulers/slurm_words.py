"""SLURM's states, pending reasons and refusals in plain sentences."""

from __future__ import annotations

import re

_WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}

_STATES = {
    "BOOT_FAIL": "ended: its node could not be started",
    "CANCELLED": "ended: it was cancelled",
    "COMPLETED": "ended",
    "COMPLETING": "ending",
    "CONFIGURING": "starting: its node is being made ready",
    "DEADLINE": "ended: its deadline passed",
    "FAILED": "ended: it failed",
    "NODE_FAIL": "ended: its node failed",
    "OUT_OF_MEMORY": "ended: it ran out of memory",
    "PREEMPTED": "ended: it had to make room for a job of higher priority",
    "RESIZING": "running: its size is being changed",
    "REVOKED": "taken over by another cluster",
    "RUNNING": "running",
    "SIGNALING": "running: a signal is being sent",
    "STAGE_OUT": "ending: files are being copied",
    "STOPPED": "stopped by a signal, its cores kept",
    "SUSPENDED": "suspended, its cores given to other jobs",
    "TIMEOUT": "ended: time limit",
}

_REASONS = {
    "": "SLURM has not looked at it yet",
    "AccountNotAllowed": "your account may not use this queue",
    "AssociationJobLimit": "your account's job limit is reached",
    "AssociationResourceLimit": "your account's limit of some resource is reached",
    "AssociationTimeLimit": "your account's time limit is reached",
    "BadConstraints": "no node has what it asks for; look at constraint, cores and memory",
    "BeginTime": "it may not start before a given time",
    "Cleaning": "SLURM is still cleaning up after it",
    "Dependency": "it depends on another job that is not done",
    "DependencyNeverSatisfied": "it depends on another job that failed, so it will never start",
    "FrontEndDown": "the cluster's front end is down",
    "InvalidAccount": "your account is not valid; look at account in the site file",
    "InvalidQOS": "the QOS is not valid; look at qos in the site file",
    "JobArrayTaskLimit": "only so many elements of an array may run at a time",
    "JobHeldAdmin": "an administrator holds it; ask them why",
    "JobHeldUser": "it is held; `scontrol release` lets it go",
    "JobLaunchFailure": "it could not be started on its node",
    "Licenses": "a licence it asks for is in use",
    "MaxMemPerLimit": "it asks for more memory than the queue allows for a core",
    "NodeDown": "a node it needs is down",
    "PartitionConfig": "the queue cannot ever give what it asks for; look at cores, memory and"
    " walltime",
    "PartitionDown": "the queue is switched off",
    "PartitionInactive": "the queue does not start jobs at present",
    "PartitionNodeLimit": "it asks for more nodes than the queue gives, or they are down",
    "PartitionTimeLimit": "its walltime is longer than the queue allows; look at walltime",
    "Priority": "others come first",
    "Prolog": "its node is being made ready",
    "QOSJobLimit": "the QOS's job limit is reached",
    "QOSNotAllowed": "the queue does not take this QOS; look at qos and queue",
    "QOSResourceLimit": "the QOS's limit of some resource is reached",
    "QOSTimeLimit": "the QOS's time limit is reached",
    "QOSUsageThreshold": "you have used too much of late for this QOS",
    "ReqNodeNotAvail": "nodes it could use are down, reserved or taken",
    "Reservation": "its reservation has not begun",
    "ReservationDeleted": "its reservation was deleted; look at reservation in the site file",
    "Resources": "it is next, as soon as enough cores and memory are free",
    "SystemFailure": "SLURM, a file system or the network failed",
    "WaitingForScheduling": "SLURM has not looked at it yet",
}

#: Reasons that are sentences of SLURM's own, or carry more after their first word.
_LONG_REASONS = (
    (
        r"maintenance",
        "nodes are reserved for maintenance before it could end; a shorter walltime may fit before",
    ),
    (
        r"DOWN, DRAINED or reserved",
        "the nodes it could use are down, or kept for others",
    ),
    (
        r"launch.failed.requeued.held",
        "it could not be started on its node and is held now; cancel it",
    ),
    (
        r"user.env.retrieval.failed",
        "SLURM could not read your login environment on the node and holds it now; cancel it",
    ),
)

_LIMIT = re.compile(
    r"(?P<who>Assoc|QOS)(?P<scope>Grp|Max|Min)(?P<submit>Submit)?"
    r"(?P<what>CPU|Cpu|Memory|Mem|Node|Jobs|Job|WallDuration|Wall|GRES|License|Energy|BB|Billing"
    r"|Unknown)"
    r"(?P<minutes>(?:Run)?Minutes)?(?P<each>Per(?:Job|Node|User|Account))?(?:Limit|NotSatisfied)?"
)
_WHOSE = {"Assoc": "your account", "QOS": "the QOS"}
#: As one of them; what can be counted gets its plural where many are meant.
_COUNTED = {"core", "node", "job", "GPU", "licence"}
_WHAT = {
    **dict.fromkeys(("CPU", "Cpu"), "core"),
    **dict.fromkeys(("Memory", "Mem"), "memory"),
    "Node": "node",
    **dict.fromkeys(("Jobs", "Job"), "job"),
    **dict.fromkeys(("WallDuration", "Wall"), "time"),
    "GRES": "GPU",
    "License": "licence",
    "Energy": "energy",
    "BB": "burst buffer",
    "Billing": "billing",
    "Unknown": "resource",
}


def in_words(state: str, reason: str) -> str:
    """Say in a sentence what SLURM does with a job; words that we do not know stay as they are."""
    if state not in _WAITING:
        words = _STATES.get(state, state)
        # "None" and a node's exit code say nothing that the state does not.
        return f"{words} ({reason})" if reason and state not in _STATES else words
    sentence = _reason_in_words(reason)
    if not reason:
        return f"waiting: {sentence}"
    return f"waiting: {sentence} ({reason})" if sentence else f"waiting: {reason}"


def _reason_in_words(reason: str) -> str:
    for pattern, sentence in _LONG_REASONS:
        if re.search(pattern, reason, re.IGNORECASE):
            return sentence
    first = re.split(r"[,\s(]", reason, maxsplit=1)[0]
    return _REASONS.get(first) or _limit_in_words(first)


def _limit_in_words(word: str) -> str:
    """Take SLURM's names of limits apart: there are more than a hundred."""
    found = _LIMIT.fullmatch(word)
    if found is None:
        return ""
    who, what = _WHOSE[found["who"]], _WHAT[found["what"]]
    many = f"{what}s" if what in _COUNTED else what
    if found["minutes"]:
        what = many = f"{what}-hours"
    if found["scope"] == "Min":
        fewer = "fewer" if what in _COUNTED else "less"
        return f"it asks for {fewer} {many} than {who} wants, so it will never start"
    if found["each"] in {"PerJob", "PerNode"} or (found["scope"], what) == ("Max", "time"):
        return f"it asks for more {many} than {who} allows, so it will never start"
    limit = f"limit of submitted {many}" if found["submit"] else f"{what} limit"
    each = " for one user" if found["each"] == "PerUser" else ""
    return f"{who}'s {limit}{each} is reached"


#: What sbatch says when it refuses, and what to edit or type next. The first that fits counts.
_FIXES = (
    (
        r"partition not available",
        "choose another `queue`: `sinfo -s` lists which are up",
    ),
    (
        r"invalid partition|partition name",
        "set `queue` to a partition that `sinfo -s` lists, or pass --queue",
    ),
    (
        r"Invalid account",
        "set `account` to one of `sacctmgr show associations user=$USER`, or pass --account",
    ),
    (
        r"Invalid qos",
        "set `qos` to one of `sacctmgr show associations user=$USER format=account,qos`",
    ),
    (
        r"SubmitJob",
        "wait until some of your jobs have ended, or ask for fewer allocations at once (`workers`)",
    ),
    (
        r"WallDuration|TimeLimit|[Rr]equested time limit",
        "shorten `walltime`; `sinfo -o '%P %l'` and `sacctmgr show qos` list the longest allowed",
    ),
    (
        r"Memory specification|Mem(ory)?Per|MemLimit|[Mm]emory required",
        "lower `memory`; `sinfo -o '%P %m'` lists what the nodes of each partition have, in MB",
    ),
    (
        r"Cpu\w*Limit",
        "lower `cores`; `sacctmgr show qos` lists how many are allowed",
    ),
    (
        r"CPU count|[Nn]ode count|node configuration|More processors",
        "lower `cores` or `memory`, or choose another `queue`; see `sinfo -o '%P %c %m'`",
    ),
    (
        r"Invalid feature",
        "set `constraint` to features that `sinfo -o '%P %f'` lists, or remove it",
    ),
    (
        r"reservation",
        "set `reservation` to one that `scontrol show reservations` lists for you, or remove it",
    ),
    (
        r"accounting/QOS policy",
        "ask for less: fewer `workers`, or lower `walltime`, `cores` or `memory`",
    ),
    (
        r"not permitted|not allowed|permission denied",
        "choose a `queue` and an `account` that you may use, or ask the administrators",
    ),
    (
        r"nrecognized option|invalid option|Invalid --",
        "look at `directives` in the site file: sbatch does not take one of them",
    ),
    (
        r"Unable to contact|timed out|refused|Transport endpoint|DNS SRV|cannot stat file",
        "wait until `sinfo` answers on this machine",
    ),
)


def refusal_fix(stderr: str) -> str:
    """Say what to edit or type after sbatch has refused; nothing for words we do not know."""
    return next((fix for pattern, fix in _FIXES if re.search(pattern, stderr)), "")
