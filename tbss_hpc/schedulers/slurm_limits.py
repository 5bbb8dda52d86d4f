"""What SLURM says of its queues, nodes and reservations: scontrol's one-line records, as data.

Ask in the environment of `limits_environment`, so that times come as Unix time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product

from msgspec import Struct

PARTITIONS = ("scontrol", "--all", "--oneliner", "show", "partition")
NODES = ("scontrol", "--all", "--oneliner", "show", "node")
RESERVATIONS = ("scontrol", "--oneliner", "show", "reservation")

#: A field begins where a word with an equals sign does; a value may hold blanks.
_FIELD = re.compile(r"(?:^|\s)([A-Za-z][A-Za-z0-9_:/]*)=")
_NOTHING = {"", "(null)", "N/A", "NONE", "None"}
_MEGABYTE = 1 << 20
#: Words in a node's state that mean it takes no new jobs for now.
_OUT = {"DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "NO_RESPOND"} | {
    *("MAINT", "FUTURE", "UNKNOWN", "POWERING_DOWN", "REBOOT", "INVAL"),
}


class Partition(Struct, frozen=True):
    """A queue and what it allows; None stands for no limit."""

    name: str
    is_default: bool
    state: str  #: UP, DOWN, DRAIN (takes no new jobs) or INACTIVE
    max_seconds: float | None
    max_nodes: int | None
    max_cores_per_node: int | None
    max_memory_per_node: int | None  #: bytes
    max_memory_per_core: int | None  #: bytes
    allowed_accounts: frozenset[str] | None
    denied_accounts: frozenset[str]
    allowed_qos: frozenset[str] | None
    allowed_groups: frozenset[str] | None
    root_only: bool
    needs_reservation: bool


class Node(Struct, frozen=True):
    """A node and what it has."""

    name: str
    partitions: frozenset[str]
    cores: int  #: that jobs can have
    memory: int  #: bytes that jobs can have
    features: frozenset[str]
    state: str  #: SLURM's own words
    in_service: bool  #: not down, drained or being repaired

    def offers(self, cores: int, memory: int) -> bool:
        """Tell whether an allocation fits into the node when it is empty."""
        return self.cores >= cores and self.memory >= memory


class Reservation(Struct, frozen=True):
    """Nodes that are kept for somebody for a while."""

    name: str
    begin: float  #: Unix time
    end: float
    nodes: frozenset[str]
    whole: bool  #: of the nodes, not only some of their cores
    maintenance: bool


def limits_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the environment to run scontrol in: somebody's profile may ask for other times."""
    kept = {k: v for k, v in environ.items() if not k.startswith("SCONTROL_")}
    return {**kept, "SLURM_TIME_FORMAT": "%s"}


# -- reading ------------------------------------------------------------------------------------


def read_partitions(text: str) -> list[Partition]:
    """Read what `PARTITIONS` prints."""
    return [_partition(fields) for fields in _records(text, "PartitionName")]


def read_nodes(text: str) -> list[Node]:
    """Read what `NODES` prints."""
    return [_node(fields) for fields in _records(text, "NodeName")]


def read_reservations(text: str) -> list[Reservation]:
    """Read what `RESERVATIONS` prints; nothing where nothing is reserved."""
    return [_reservation(fields) for fields in _records(text, "ReservationName")]


def _records(text: str, first: str) -> Iterator[dict[str, str]]:
    """Take the lines that begin with this field; others are banners, or say there is nothing."""
    for line in text.splitlines():
        if line.startswith(f"{first}="):
            found = list(_FIELD.finditer(line))
            ends = [*(field.start() for field in found[1:]), len(line)]
            fields: dict[str, str] = {}
            for field, end in zip(found, ends, strict=True):
                # A comment may look like a field; the true one comes before it.
                fields.setdefault(field[1], line[field.end() : end].strip())
            yield fields


def _partition(fields: Mapping[str, str]) -> Partition:
    return Partition(
        name=fields["PartitionName"],
        is_default=fields.get("Default") == "YES",
        state=fields.get("State", ""),
        max_seconds=read_time_limit(fields.get("MaxTime", "")),
        max_nodes=_count(fields, "MaxNodes"),
        max_cores_per_node=_count(fields, "MaxCPUsPerNode"),
        max_memory_per_node=_megabytes(fields, "MaxMemPerNode"),
        max_memory_per_core=_megabytes(fields, "MaxMemPerCPU"),
        allowed_accounts=_allowed(fields, "AllowAccounts"),
        denied_accounts=_names(fields, "DenyAccounts"),
        allowed_qos=_allowed(fields, "AllowQos"),
        allowed_groups=_allowed(fields, "AllowGroups"),
        root_only=fields.get("RootOnly") == "YES",
        needs_reservation=fields.get("ReqResv") == "YES",
    )


def _node(fields: Mapping[str, str]) -> Node:
    state = fields.get("State", "")
    # `IDLE+DRAIN`, `DOWN*` (does not answer), `MIXED+PLANNED`.
    words = set(re.findall(r"[A-Z_]+", state))
    memory = _count(fields, "RealMemory") or 0
    return Node(
        name=fields["NodeName"],
        partitions=_names(fields, "Partitions"),
        cores=_count(fields, "CPUEfctv") or _count(fields, "CPUTot") or 0,
        memory=(memory - (_count(fields, "MemSpecLimit") or 0)) * _MEGABYTE,
        features=_names(fields, "ActiveFeatures") | _names(fields, "AvailableFeatures"),
        state=state,
        in_service=not words & _OUT and "*" not in state,
    )


def _reservation(fields: Mapping[str, str]) -> Reservation:
    flags = _names(fields, "Flags")
    nodes = _count(fields, "NodeCnt") or 0
    cores = _count(fields, "CoreCnt")
    return Reservation(
        name=fields["ReservationName"],
        begin=_moment(fields.get("StartTime", "")),
        end=_moment(fields.get("EndTime", "")),
        nodes=frozenset(expand(fields.get("Nodes", ""))),
        # One that was made with a number of cores may have one core on each node.
        whole=bool(flags & {"MAINT", "ALL_NODES", "SPEC_NODES"}) or cores is None or cores > nodes,
        maintenance="MAINT" in flags,
    )


def _count(fields: Mapping[str, str], name: str) -> int | None:
    text = fields.get(name, "")
    return int(text) if text.isdigit() else None


def _megabytes(fields: Mapping[str, str], name: str) -> int | None:
    count = _count(fields, name)
    return None if count is None else count * _MEGABYTE


def _names(fields: Mapping[str, str], name: str) -> frozenset[str]:
    text = fields.get(name, "")
    return frozenset() if text in _NOTHING else frozenset(text.split(","))


def _allowed(fields: Mapping[str, str], name: str) -> frozenset[str] | None:
    return None if fields.get(name, "ALL") in {"ALL", *_NOTHING} else _names(fields, name)


def _moment(text: str) -> float:
    if text.isdigit():
        return float(text)
    try:  # a SLURM that knows no SLURM_TIME_FORMAT says it in local time
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return float("inf")


_TIME_LIMIT = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", re.ASCII)


def read_time_limit(text: str) -> float | None:
    """Read a limit such as `2-00:00:00` or `00:05:00`; None for none, and for what is new to us."""
    found = _TIME_LIMIT.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


# -- lists of nodes -----------------------------------------------------------------------------

_MANY = 1_000_000  #: more nodes than any cluster has; a broken list must not fill the memory


def expand(text: str) -> list[str]:
    """Write out a list of nodes: `a[01-03,7],b` becomes a01, a02, a03, a7, b."""
    if text in _NOTHING:
        return []
    return [name for part in _split(text) for name in _expand_one(part)]


def _split(text: str) -> Iterator[str]:
    """Split at the commas that stand outside brackets."""
    yield from (part for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text) if part)


def _expand_one(text: str) -> Iterator[str]:
    pieces = re.split(r"\[([^\]]*)\]", text)
    choices = [
        list(_numbers(piece)) if position % 2 else [piece] for position, piece in enumerate(pieces)
    ]
    return ("".join(chosen) for chosen in product(*choices))


def _numbers(text: str) -> Iterator[str]:
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if dash and low.isdigit() and high.isdigit() and int(high) - int(low) < _MANY:
            yield from (str(number).zfill(len(low)) for number in range(int(low), int(high) + 1))
        else:
            yield part


# -- what is reserved ahead ---------------------------------------------------------------------


def fitting_walltime(
    now: float, reservations: Sequence[Reservation], nodes: Collection[str] = ()
) -> float | None:
    """Say how long an allocation may be that starts now and ends before nodes are reserved.

    nodes -- those it could run on: one that is free for longer is enough. Without them, maintenance
    counts wherever it is. None: nothing is reserved ahead; 0: it has begun.
    """
    if not nodes:
        ahead = [_seconds_until(now, r) for r in reservations if r.maintenance and r.end > now]
        return min(ahead, default=None)
    free = [_free_for(now, reservations, node) for node in nodes]
    return None if None in free else max(seconds for seconds in free if seconds is not None)


def _free_for(now: float, reservations: Sequence[Reservation], node: str) -> float | None:
    ahead = [
        _seconds_until(now, r) for r in reservations if node in r.nodes and r.whole and r.end > now
    ]
    return min(ahead, default=None)


def _seconds_until(now: float, reservation: Reservation) -> float:
    return max(0.0, reservation.begin - now)
