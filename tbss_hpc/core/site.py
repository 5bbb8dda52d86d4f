"""A site: a cluster, or this machine, as configured; and what its values allow together."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, get_args

from msgspec import Struct, structs

from tbss_hpc.core.units import format_memory, in_words
from tbss_hpc.errors import UsageError

Scheduler = Literal["slurm", "pbs", "sge", "local"]
SCHEDULERS: tuple[str, ...] = get_args(Scheduler)

#: Allocations at once where nobody said how many: few enough that no administrator minds.
BATCH_WORKERS = 10
LOCAL_WORKERS = 1

#: What of the submitter's environment always travels to the commands: who and where one is, what
#: FSL and its launcher need, and what makes `module load` work in a set-up line.
ALWAYS_PASSED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ"),
    "FSL*",
    *("MODULEPATH", "MODULESHOME", "MODULES_*", "LMOD_*", "BASH_ENV", "BASH_FUNC_*"),
)


class Site(Struct, frozen=True, kw_only=True):
    """Where allocations come from and what each of them is, every value resolved."""

    scheduler: Scheduler  #: which one takes our allocations
    queue: str | None = None  #: partition or queue; None: the cluster's default
    account: str | None = None  #: who is charged; None: the user's default
    qos: str | None = None  #: quality of service
    reservation: str | None = None  #: name of a reservation to run in
    constraint: str | None = None  #: features that a node must have, in the scheduler's syntax
    cores: int | None = None  #: of one allocation; None: all CPUs we may use (local only)
    memory: int | None = None  #: of one allocation, bytes
    walltime: float | None = None  #: of one allocation, seconds; None: it has no end (local only)
    shortest_walltime: float | None = None  #: seconds; start sooner with no less than this
    cores_per_command: int = 1  #: that one command uses; commands are told so
    memory_per_command: int | None = None  #: bytes that one command needs at most
    name: str = "tb"  #: how the names of allocations begin in the queue, which everybody sees
    mail: str | None = None  #: who hears from the scheduler of allocations that failed
    directives: tuple[str, ...] = ()  #: more options of the scheduler, without `#SBATCH` or `#$`
    setup: tuple[str, ...] = ()  #: shell lines that make the commands' environment
    wrap: str | None = None  #: words put before every command's `bash -c`
    environment: tuple[str, ...] = ()  #: names of variables to pass on, globs allowed
    interface: str | None = None  #: network interface for Dask; None: Dask finds one
    ports: tuple[int, int] | None = None  #: lowest and highest port to listen on; None: any
    scratch: str | None = None  #: folder on the node for temporary files; None: the node's own
    workers: int = LOCAL_WORKERS  #: allocations at once (see `default_workers`)
    submissions_per_minute: int = 30  #: never ask the scheduler for more
    core_hours: float | None = None  #: all that a run may use; None: no limit
    start_patience: float = 300.0  #: seconds from an allocation's start to its worker's joining
    controller_patience: float = 600.0  #: seconds that a worker waits for a lost controller
    idle: float = 60.0  #: seconds without work after which an allocation is given back
    lease: float = 600.0  #: seconds of silence after which a worker's commands count as dead


class Problem(Struct, frozen=True):
    """Values that cannot be used together."""

    keys: tuple[str, ...]  #: the guilty ones, as site files write them
    text: str  #: what is wrong, and what to write


def key_of(field: str) -> str:
    """Give the name that site files use for a field."""
    return field.replace("_", "-")


#: Every key of a site file, in the order of the fields.
KEYS = tuple(key_of(field) for field in Site.__struct_fields__)

_BATCH_NEEDS = {"cores": "4", "memory": "8G", "walltime": "04:00:00"}
#: What only a batch system can give. `workers` and `memory` have a meaning everywhere.
_BATCH_ONLY = (
    *("queue", "account", "qos", "reservation", "constraint", "walltime", "shortest-walltime"),
    *("mail", "directives"),
)
_ONE_WORD = (
    *("queue", "account", "qos", "reservation", "constraint", "mail", "interface", "scratch"),
)
_ONE_LINE = ("wrap", "directives", "setup", "environment")
_VARIABLE = re.compile(r"[A-Za-z_*?\[][A-Za-z0-9_*?\[\]!%-]*", re.ASCII)
#: Grid Engine and PBS take no digit first, and 15 characters in all.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,3}", re.ASCII)
_PORTS = (1024, 65535)


def default_workers(scheduler: str) -> int:
    """Say how many allocations to hold at once where nobody said."""
    return LOCAL_WORKERS if scheduler == "local" else BATCH_WORKERS


def passed_names(site: Site, names: Iterable[str]) -> tuple[str, ...]:
    """Choose what of the submitter's environment goes to the commands, by name."""
    patterns = (*ALWAYS_PASSED, *site.environment)
    return tuple(sorted(n for n in names if any(fnmatchcase(n, p) for p in patterns)))


def slots(site: Site) -> int:
    """Say how many commands run at a time in one allocation.

    Raises UsageError if that is none, or if the number of cores is not known yet.
    """
    if site.cores is None:
        raise UsageError(
            "Nobody said how many cores an allocation has.",
            fix="set `cores` in the site file, or pass --cores",
        )
    by_cores = site.cores // site.cores_per_command
    by_memory = by_cores
    if site.memory is not None and site.memory_per_command is not None:
        by_memory = site.memory // site.memory_per_command
    if min(by_cores, by_memory) < 1:
        validate(site)
    return min(by_cores, by_memory)


def validate(site: Site, origins: Mapping[str, str] | None = None) -> None:
    """Raise one UsageError that names all values that cannot be used together."""
    complain(problems(site), origins or {})


def complain(found: Sequence[Problem], origins: Mapping[str, str]) -> None:
    """Raise one UsageError for all of these problems, if there are any.

    origins -- where each key's value was written, as far as that is known.
    """
    if found:
        raise UsageError(
            "The values of this site do not go together.",
            why="\n".join(_line(problem, origins) for problem in found),
            fix="edit these keys; configs/README.md explains each",
        )


def _line(problem: Problem, origins: Mapping[str, str]) -> str:
    places = {origins[key]: None for key in problem.keys if key in origins}
    where = f"{', '.join(places)}: " if places else ""
    return f"{where}{', '.join(problem.keys)}: {problem.text}"


def problems(site: Site) -> list[Problem]:
    """Find every pair of values that cannot be used together."""
    return [
        *_scheduler_problems(site),
        *_size_problems(site),
        *_limit_problems(site),
        *_text_problems(site),
        *_place_problems(site),
    ]


def _value(site: Site, key: str) -> object:
    return getattr(site, key.replace("-", "_"))


def _scheduler_problems(site: Site) -> Iterable[Problem]:
    if site.scheduler != "local":
        for key, example in _BATCH_NEEDS.items():
            if _value(site, key) is None:
                text = f"{site.scheduler} has to be told; write for example `{key}: {example}`"
                yield Problem((key,), text)
        return
    for key in _BATCH_ONLY:
        if _value(site, key):
            text = "has no meaning when the scheduler is local; did you mean `scheduler: slurm`?"
            yield Problem((key,), text)


def _size_problems(site: Site) -> Iterable[Problem]:
    if site.cores is not None and site.cores_per_command > site.cores:
        text = (
            f"a command with {site.cores_per_command} cores does not fit into an allocation of"
            f" {site.cores}"
        )
        yield Problem(("cores-per-command", "cores"), text)
    share, memory = site.memory_per_command, site.memory
    if share is not None and memory is not None and share > memory:
        text = (
            f"a command with {format_memory(share)} does not fit into an allocation of"
            f" {format_memory(memory)}"
        )
        yield Problem(("memory-per-command", "memory"), text)


def _limit_problems(site: Site) -> Iterable[Problem]:
    shortest, walltime = site.shortest_walltime, site.walltime
    if shortest is not None and walltime is not None and shortest > walltime:
        text = f"{in_words(shortest)} is more than the walltime of {in_words(walltime)}"
        yield Problem(("shortest-walltime", "walltime"), text)
    for field in structs.fields(site):
        value = getattr(site, field.name)
        number = isinstance(value, int | float) and field.name != "idle"
        if number and value <= 0:
            yield Problem((key_of(field.name),), "has to be more than 0")


def _text_problems(site: Site) -> Iterable[Problem]:
    for key in _ONE_WORD:
        if re.search(r"\s", str(_value(site, key) or "")):
            yield Problem((key,), "has to be one word, without spaces")
    for key in _ONE_LINE:
        value = _value(site, key) or ()
        lines = (value,) if isinstance(value, str) else value
        if any(re.search(r"[\n\r\0]", line) for line in lines):  # type: ignore[attr-defined]
            yield Problem((key,), "a value has to fit on one line")
    for name in site.environment:
        if not _VARIABLE.fullmatch(name):
            text = (
                f"{name!r} is not the name of a variable; give one a value with a line such as"
                " `export NAME=value` in setup"
            )
            yield Problem(("environment",), text)
    if site.wrap is not None and not _splits(site.wrap):
        yield Problem(("wrap",), "has a quotation mark that is never closed")


def _splits(text: str) -> bool:
    try:
        return bool(shlex.split(text))
    except ValueError:
        return False


def _place_problems(site: Site) -> Iterable[Problem]:
    low, high = site.ports or _PORTS
    if not _PORTS[0] <= low <= high <= _PORTS[1]:
        text = f"{low}-{high} is not a range of ports between {_PORTS[0]} and {_PORTS[1]}"
        yield Problem(("ports",), text)
    if not _NAME.fullmatch(site.name):
        text = (
            f"{site.name!r} is not one to four letters and digits, of which the first is a letter"
        )
        yield Problem(("name",), text)
    if site.scratch is not None and not site.scratch.startswith(("/", "$")):
        text = (
            f"{site.scratch!r} is not absolute; write a whole path, or one that starts with a"
            " variable such as $TMPDIR"
        )
        yield Problem(("scratch",), text)
