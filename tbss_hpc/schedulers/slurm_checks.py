"""A site held against what SLURM allows: queues, nodes, reservations, as findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from tbss_hpc.core.finding import About, Finding, bad, good, unknown
from tbss_hpc.core.site import Site
from tbss_hpc.core.units import format_memory, format_walltime, in_words
from tbss_hpc.schedulers.slurm_limits import Node, Partition, Reservation, fitting_walltime

_CLUSTER = About.CLUSTER
#: Below this a walltime is no use to anybody.
_SHORTEST_SECONDS = 300.0
_QUARTER = 900.0
#: Names that are listed before the rest is counted.
_SHOWN = 8


class Cluster(Struct, frozen=True):
    """What SLURM says it has."""

    partitions: Sequence[Partition]
    nodes: Sequence[Node]
    reservations: Sequence[Reservation]


def chosen_partitions(site: Site, cluster: Cluster) -> list[Partition]:
    """Give the partitions that the site's queue names, or the default one; empty if none is."""
    if site.queue is None:
        return [p for p in cluster.partitions if p.is_default]
    names = site.queue.split(",")
    return [p for p in cluster.partitions if p.name in names]


def queue_findings(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Say whether the queue exists and takes jobs."""
    known = [p.name for p in cluster.partitions]
    if site.queue is None and not chosen_partitions(site, cluster):
        yield bad(
            _CLUSTER,
            "This cluster has no default queue.",
            fix=f"set `queue` in the site file to one of: {_listed(known)}",
        )
    for name in site.queue.split(",") if site.queue is not None else ():
        if name not in known:
            yield bad(
                _CLUSTER,
                f"There is no queue called {name}.",
                why=f"SLURM knows {_listed(known) or 'none that you may see'}",
                fix="set `queue` in the site file to one of these (`sinfo -s` lists them)",
            )
    for partition in chosen_partitions(site, cluster):
        complaints = list(_closed(partition, site))
        yield from complaints or [good(_CLUSTER, f"Queue {partition.name} is there and is up.")]


def _closed(partition: Partition, site: Site) -> Iterator[Finding]:
    name = partition.name
    if partition.state != "UP":
        fix = "wait, or choose another `queue`: `sinfo -s` lists which are up"
        yield bad(_CLUSTER, f"Queue {name} takes no work now: it is {partition.state}.", fix=fix)
    if partition.root_only:
        yield bad(_CLUSTER, f"Queue {name} is for administrators.", fix="choose another `queue`")
    if partition.needs_reservation and site.reservation is None:
        fix = "set `reservation` in the site file, or choose another `queue`"
        yield bad(_CLUSTER, f"Queue {name} is open only with a reservation.", fix=fix)
    if partition.allowed_groups is not None:
        groups = ", ".join(sorted(partition.allowed_groups))
        fix = "see whether `id -Gn` names one of them"
        yield unknown(_CLUSTER, f"Queue {name} is for members of {groups}.", fix=fix)
    yield from _closed_to_account(partition, site.account)
    allowed = partition.allowed_qos
    if allowed is not None and site.qos is not None and site.qos not in allowed:
        fix = f"set `qos` in the site file to one of: {_listed(sorted(allowed))}"
        yield bad(_CLUSTER, f"Queue {name} does not take the QOS {site.qos}.", fix=fix)


def _closed_to_account(partition: Partition, account: str | None) -> Iterator[Finding]:
    allowed, name = partition.allowed_accounts, partition.name
    if allowed is not None:
        # SLURM keeps accounts in small letters.
        if account is None:
            yield unknown(
                _CLUSTER,
                f"Queue {name} takes only some accounts: {_listed(sorted(allowed))}.",
                why="the site file names none, so your default account counts",
                fix="set `account` in the site file to one of them, if your own is not among them",
            )
        elif account.lower() not in allowed:
            fix = f"set `account` in the site file to one of: {_listed(sorted(allowed))}"
            yield bad(_CLUSTER, f"Queue {name} does not take the account {account}.", fix=fix)
    if account is not None and account.lower() in partition.denied_accounts:
        fix = "choose another `queue` or another `account`"
        yield bad(_CLUSTER, f"Queue {name} does not take the account {account}.", fix=fix)


def size_findings(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Say whether an allocation fits into the queue's limits and into its nodes."""
    for partition in chosen_partitions(site, cluster):
        complaints = [*_too_long(partition, site, cluster), *_too_large(partition, site)]
        yield from complaints
        yield from _on_nodes(partition, site, cluster)
        if not complaints:
            longest = partition.max_seconds
            limit = "which has no time limit" if longest is None else f"{in_words(longest)} at most"
            walltime = in_words(site.walltime or 0)
            yield good(_CLUSTER, f"A walltime of {walltime} fits queue {partition.name}, {limit}.")


def _too_long(partition: Partition, site: Site, cluster: Cluster) -> Iterator[Finding]:
    longest, walltime = partition.max_seconds, site.walltime or 0.0
    if longest is None or walltime <= longest:
        return
    others = [
        p.name
        for p in cluster.partitions
        if p.state == "UP" and (p.max_seconds is None or p.max_seconds >= walltime)
    ]
    other = f", or `queue` to one that allows more: {_listed(others)}" if others else ""
    yield bad(
        _CLUSTER,
        f"A walltime of {in_words(walltime)} is more than queue {partition.name} allows:"
        f" {in_words(longest)}.",
        why="SLURM would refuse such an allocation, or never start it",
        fix=f"set `walltime: {format_walltime(longest)}` or less in the site file{other}",
    )


def _too_large(partition: Partition, site: Site) -> Iterator[Finding]:
    cores, memory, name = site.cores or 1, site.memory or 0, partition.name
    most = partition.max_cores_per_node
    if most is not None and cores > most:
        fix = f"set `cores: {most}` or less in the site file"
        yield bad(_CLUSTER, f"Queue {name} gives at most {most} cores on a node.", fix=fix)
    limit = partition.max_memory_per_node
    if limit is not None and memory > limit:
        fix = f"set `memory: {format_memory(limit)}` or less in the site file"
        text = f"Queue {name} gives at most {format_memory(limit)} on a node."
        yield bad(_CLUSTER, text, fix=fix)
    share = partition.max_memory_per_core
    if share is not None and memory > share * cores:
        yield bad(
            _CLUSTER,
            f"Queue {name} gives at most {format_memory(share)} a core, and {format_memory(memory)}"
            f" for {cores} cores is more.",
            fix=f"set `memory: {format_memory(share * cores)}` or less in the site file, or more"
            " `cores`",
        )
    if partition.max_nodes == 0:
        yield bad(_CLUSTER, f"Queue {name} gives no nodes.", fix="choose another `queue`")


def _on_nodes(partition: Partition, site: Site, cluster: Cluster) -> Iterator[Finding]:
    cores, memory = site.cores or 1, site.memory or 0
    here = [node for node in cluster.nodes if partition.name in node.partitions]
    large = [node for node in here if node.offers(cores, memory)]
    ready = [node for node in large if node.in_service]
    what = f"{cores} cores and {format_memory(memory)}"
    if not large:
        yield bad(
            _CLUSTER,
            f"No node of queue {partition.name} has {what}.",
            why=_largest(here),
            fix="lower `cores` or `memory` in the site file, or choose another `queue`",
        )
    elif not ready:
        yield bad(
            _CLUSTER,
            f"All nodes of queue {partition.name} with {what} are out of service now.",
            why=", ".join(f"{node.name}: {node.state}" for node in large[:_SHOWN]),
            fix="wait, or choose another `queue`; `sinfo -R` says what ails them",
        )
    else:
        text = f"{len(ready)} of {len(here)} nodes of queue {partition.name} take {what}."
        yield good(_CLUSTER, text)


def _largest(nodes: Sequence[Node]) -> str:
    if not nodes:
        return "the queue has no nodes"
    largest = max(nodes, key=lambda node: (node.cores, node.memory))
    return f"the largest has {largest.cores} cores and {format_memory(largest.memory)}"


def reservation_findings(
    site: Site, cluster: Cluster, now: float, walltime: float
) -> Iterator[Finding]:
    """Say whether the site's reservation is there, and whether another one stands in the way.

    walltime -- seconds of the allocations that would be asked for.
    """
    if site.reservation is not None:
        known = [r.name for r in cluster.reservations]
        if site.reservation in known:
            yield good(_CLUSTER, f"The reservation {site.reservation} is there.")
        else:
            yield bad(
                _CLUSTER,
                f"There is no reservation called {site.reservation}.",
                why=f"SLURM knows {_listed(known) or 'none'}",
                fix="set `reservation` in the site file to one of yours, or remove it",
            )
        return
    yield _ahead(site, cluster, now, walltime)


def _ahead(site: Site, cluster: Cluster, now: float, walltime: float) -> Finding:
    nodes = _nodes_for(site, cluster)
    fits = fitting_walltime(now, cluster.reservations, nodes) if nodes else None
    if fits is None:
        return good(_CLUSTER, "No maintenance or other reservation of all its nodes lies ahead.")
    guilty = [r for r in cluster.reservations if r.whole and r.end > now and {*nodes} & r.nodes]
    kind = "maintenance" if any(r.maintenance for r in guilty) else "somebody else"
    why = f"reservation {_listed([r.name for r in guilty])}"
    begins = f"All nodes that an allocation could use are reserved for {kind}"
    if fits <= 0:
        return bad(_CLUSTER, f"{begins} now.", why=why, fix="wait until that is over")
    begins += f" in {in_words(fits)}"
    if walltime <= fits:
        return good(_CLUSTER, f"{begins}; a walltime of {in_words(walltime)} ends before.")
    shorter = _round_down(fits)
    fix = (
        f"set `walltime: {format_walltime(shorter)}` in the site file to start before that; with a"
        " longer one allocations wait until it is over"
    )
    wait = "wait until that is over; what is submitted now waits as well"
    return bad(
        _CLUSTER,
        f"{begins}, and a walltime of {in_words(walltime)} does not fit before.",
        why=why,
        fix=fix if shorter >= _SHORTEST_SECONDS else wait,
    )


def _nodes_for(site: Site, cluster: Cluster) -> list[str]:
    """Name the nodes that are large enough for an allocation."""
    names = {p.name for p in chosen_partitions(site, cluster)}
    here = [node for node in cluster.nodes if node.partitions & names]
    return [node.name for node in here if node.offers(site.cores or 1, site.memory or 0)]


def time_for_a_probe(site: Site, cluster: Cluster, now: float, wanted: float) -> float:
    """Shorten a probe so that it fits into the queue's limit and before a reservation.

    Whole minutes, as SLURM counts; 0 where there is no time for one.
    """
    limits = [p.max_seconds for p in chosen_partitions(site, cluster) if p.max_seconds is not None]
    nodes = _nodes_for(site, cluster)
    ahead = fitting_walltime(now, cluster.reservations, nodes) if nodes else None
    if ahead is not None and site.reservation is None:
        limits.append(ahead - 30)
    return min([wanted, *limits]) // 60 * 60


def _round_down(seconds: float) -> float:
    """Leave time to start, in steps that people write."""
    step = _QUARTER if seconds > 4 * _QUARTER else 60.0
    return max(0.0, (seconds - 60.0) // step * step)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
