"""What a probe's answer means for a run, as findings."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from tbss_hpc.core.finding import About, Finding, bad, good, unknown
from tbss_hpc.core.probe import Answer, Call
from tbss_hpc.core.room import size_in_words
from tbss_hpc.core.site import Site
from tbss_hpc.core.units import in_words

_CLUSTER = About.CLUSTER
#: Records of different hosts are compared with the lease, ten minutes; a minute is no danger yet.
CLOCK_SECONDS = 60.0
#: Temporary files of one FSL registration at 1 mm, on each slot.
_SCRATCH_BYTES = 200 << 20
#: Loading the worker from a file system that takes so long will be felt in every allocation.
_SLOW_SECONDS = 30.0


class Expected(Struct, frozen=True):
    """What the answer is held against."""

    site: Site
    version: str  #: of tbss-hpc here
    files: dict[str, int]  #: size of each file that a node should see
    #: The registration program of the study's commands; empty without a study.
    program: str
    needs_fsl: bool | None  #: None: nobody knows


class Way(Struct, frozen=True):
    """How node and controller heard each other, besides the calls in the answer."""

    clock_ahead: float | None
    called_back: tuple[str, str] | None  #: the node's address, and what went wrong


def node_findings(expected: Expected, answer: Answer, way: Way) -> Iterator[Finding]:
    """Say of each thing that was looked at whether it is as a run needs it."""
    done = answer.stage
    yield _program(expected, answer)
    if answer.files:
        yield _files(expected, answer)
    if expected.site.scheduler != "local":
        if answer.calls:
            yield from _network(expected.site, answer, way)
        yield _clock(answer, way)
    if answer.scratch:
        yield _scratch(expected.site, answer)
    if answer.setup_error or answer.fsldir is not None or not done:
        yield from _surroundings(expected, answer)


def _program(expected: Expected, answer: Answer) -> Finding:
    if answer.version != expected.version:
        return bad(
            _CLUSTER,
            f"{answer.node} has another tbss-hpc: {answer.version}, and here it is"
            f" {expected.version}.",
            fix="install tbss-hpc into one virtual environment on a shared file system",
        )
    if answer.load_error:
        return bad(
            _CLUSTER,
            f"The worker cannot be loaded on {answer.node}.",
            why="\n".join(answer.load_error.splitlines()[-5:]),
            fix="make the virtual environment again on a machine like the nodes",
        )
    if answer.load_seconds > _SLOW_SECONDS:
        return unknown(
            _CLUSTER,
            f"The worker takes {in_words(answer.load_seconds)} to load on {answer.node}.",
            fix="put the virtual environment on a faster file system, or raise `start-patience`",
        )
    python = f"Python {answer.python} and tbss-hpc {answer.version} run on {answer.node}"
    if not answer.load_seconds:
        return good(_CLUSTER, f"{python}.")
    return good(_CLUSTER, f"{python}; the worker loads in {in_words(answer.load_seconds)}.")


def _files(expected: Expected, answer: Answer) -> Finding:
    missing = [path for path in expected.files if answer.files.get(path, -1) < 0]
    other = [p for p, size in expected.files.items() if answer.files.get(p) not in {-1, size}]
    refused = {folder: error for folder, error in answer.folders.items() if error}
    if missing or other or refused:
        lines = [f"missing there: {path}" for path in missing]
        lines += [f"not the same file there: {path}" for path in other]
        lines += [f"cannot be written there: {path}: {error}" for path, error in refused.items()]
        return bad(
            _CLUSTER,
            f"{answer.node} cannot read and write the same files as this host.",
            why="\n".join(lines),
            fix="put study, runs and virtual environment on a file system that nodes share, and may"
            " write",
        )
    return good(_CLUSTER, f"{answer.node} reads and writes the same files as this host.")


# -- the way between node and controller --------------------------------------------------------


def _network(site: Site, answer: Answer, way: Way) -> Iterator[Finding]:
    main, *others = answer.calls
    if site.interface is not None and site.interface not in answer.addresses:
        has = ", ".join(f"{name}: {address}" for name, address in answer.addresses.items())
        yield bad(
            _CLUSTER,
            f"{answer.node} has no network interface {site.interface}.",
            why=f"it has {has or 'none that it tells'}",
            fix=_suggestion(answer, answer.calls) or "remove `interface` from the site file",
        )
    elif main.error:
        yield _unreachable(site, answer, main, others)
    else:
        yield from _way_back(site, answer, main, way)


def _unreachable(site: Site, answer: Answer, main: Call, others: list[Call]) -> Finding:
    tried = [f"{c.interface} {c.address}:{c.port}: {c.error or 'reached'}" for c in (main, *others)]
    suggestion = _suggestion(answer, others)
    if not suggestion and any(not call.error for call in others):
        name = next(call.interface for call in others if not call.error)
        suggestion = (
            f"the way over {name} works, but the node has no interface of that name: ask the"
            " administrators how nodes and login nodes talk to each other"
        )
    firewall = (
        "a firewall may be between: ask the administrators"
        + ("" if site.ports else ", and set `ports` in the site file to a range that is open")
        + ";\nor control the run from inside the cluster: submit with --foreground in a batch job"
    )
    return bad(
        _CLUSTER,
        f"{answer.node} cannot reach this host at {main.address} ({main.interface}), where a"
        " controller would listen.",
        why="\n".join(tried),
        fix=suggestion or firewall,
    )


def _suggestion(answer: Answer, calls: tuple[Call, ...] | list[Call]) -> str:
    """Name an interface that both hosts have, and over which the node was heard."""
    fit = [call for call in calls if not call.error and call.interface in answer.addresses]
    ways = [call for call in fit if call.interface != "lo"]
    return f"set `interface: {ways[0].interface}` in the site file" if ways else ""


def _way_back(site: Site, answer: Answer, main: Call, way: Way) -> Iterator[Finding]:
    open_ports = "set `ports` in the site file to a range that is open between nodes and this host"
    if answer.listening_error:
        yield bad(
            _CLUSTER,
            f"No port of {answer.node} is free to listen on.",
            why=answer.listening_error,
            fix="allow more `ports` in the site file",
        )
    elif way.called_back is None or way.called_back[1]:
        address, error = way.called_back or ("", "it was not tried")
        yield bad(
            _CLUSTER,
            f"{answer.node} reaches this host, but is not reached itself at"
            f" {address}:{answer.listening}.",
            why=error,
            fix="ask for other `ports`, or fewer of them" if site.ports else open_ports,
        )
    else:
        yield good(
            _CLUSTER,
            f"{answer.node} reaches this host at {main.address} ({main.interface}), and is reached"
            f" at {way.called_back[0]}.",
        )


def _clock(answer: Answer, way: Way) -> Finding:
    ahead = way.clock_ahead
    if ahead is None:
        return unknown(_CLUSTER, f"The clock of {answer.node} could not be compared with ours.")
    side = "ahead of" if ahead > 0 else "behind"
    if abs(ahead) > CLOCK_SECONDS:
        return bad(
            _CLUSTER,
            f"The clock of {answer.node} is {in_words(abs(ahead))} {side} ours.",
            why="times in records would be wrong, and a living worker could count as dead",
            fix="tell the administrators: clocks of a cluster are kept together with NTP",
        )
    return good(_CLUSTER, f"The clock of {answer.node} agrees with ours.")


# -- where commands run -------------------------------------------------------------------------


def _scratch(site: Site, answer: Answer) -> Finding:
    place = f"{answer.scratch} on {answer.node}"
    fix = "set `scratch` in the site file to a folder that jobs may write, such as $TMPDIR"
    if answer.scratch_error:
        text = f"Temporary files cannot be written to {place}."
        return bad(_CLUSTER, text, why=answer.scratch_error, fix=fix)
    free = size_in_words(answer.scratch_free)
    slots = max(1, (site.cores or 1) // site.cores_per_command)
    if answer.scratch_free < _SCRATCH_BYTES * slots:
        return bad(_CLUSTER, f"Only {free} are free in {place}.", fix=fix)
    return good(_CLUSTER, f"Temporary files can be written to {place}; {free} are free.")


def _surroundings(expected: Expected, answer: Answer) -> Iterator[Finding]:
    site, node = expected.site, answer.node
    if answer.setup_error:
        yield bad(
            _CLUSTER,
            f"Commands cannot be started on {node}: {_guilty(site)} does not work.",
            why=answer.setup_error,
            fix=f"try that by hand on a node, and mend {_guilty(site)} in the site file",
        )
        return
    if expected.program:
        yield _registration(expected, answer)
    if expected.needs_fsl is not False:
        yield _fsl(expected, answer)


def _guilty(site: Site) -> str:
    return "`wrap`" if site.wrap and not site.setup else "`setup`"


def _registration(expected: Expected, answer: Answer) -> Finding:
    if answer.programs.get(expected.program):
        return good(_CLUSTER, f"{answer.node} can start {expected.program}.")
    return bad(
        _CLUSTER,
        f"{answer.node} cannot start {expected.program}.",
        why="the study's commands name it, and it is not there, or may not be run",
        fix="load that program from a place that nodes share"
        + (", or see that `wrap` shows it inside the container" if expected.site.wrap else ""),
    )


def _fsl(expected: Expected, answer: Answer) -> Finding:
    home, node = answer.fsldir or "", answer.node
    load = "write what loads FSL, such as `module load fsl`, under `setup` in the site file"
    if home and answer.programs.get(f"{home}/bin/fsl_reg"):
        return good(_CLUSTER, f"FSL is there for commands on {node}: {home}.")
    why = f"FSLDIR={home}: no program bin/fsl_reg there" if home else "FSLDIR is not set"
    text = f"FSL is not there for commands on {node}."
    if expected.needs_fsl:
        return bad(_CLUSTER, text, why=why, fix=load)
    return unknown(_CLUSTER, text, why=why, fix=f"if your commands need it, {load}")
