"""Asking SLURM for `doctor`: its commands, queues, nodes, reservations and the user's limits."""

from __future__ import annotations

import getpass
import re
import shutil
import time
from collections.abc import Iterator, Mapping

from msgspec import Struct

from tbss_hpc.app.doctor_ask import ask
from tbss_hpc.core.finding import About, Finding, Mark, bad, good, skipped, unknown
from tbss_hpc.core.site import Site
from tbss_hpc.schedulers import slurm, slurm_accounts, slurm_checks, slurm_limits
from tbss_hpc.schedulers.answers import DontKnow
from tbss_hpc.schedulers.slurm_checks import Cluster

_CLUSTER = About.CLUSTER
#: What a probe asks for where nothing speaks against it.
PROBE_SECONDS = 300.0
_NEEDED = ("sbatch", "squeue", "scancel")
#: The options that we use are in every version since this one.
_OLDEST = (20, 11)


class Looked(Struct, frozen=True):
    """What a scheduler has told."""

    findings: list[Finding]
    probe_seconds: float  #: walltime with which a probe may start soon; 0: it would not


def look_at_slurm(site: Site, walltime: float, environ: Mapping[str, str]) -> Looked:
    """Hold the site against what SLURM says; walltime is that of the allocations to come."""
    commands = _commands(environ)
    if commands.mark is Mark.BAD:
        return Looked([commands], probe_seconds=0)
    cluster = _ask_cluster(environ)
    if isinstance(cluster, Finding):
        accounts = list(_accounts(site, environ))
        return Looked([commands, cluster, *accounts], PROBE_SECONDS)
    queue = list(slurm_checks.queue_findings(site, cluster))
    if any(finding.mark is Mark.BAD for finding in queue):
        text = "Limits were not looked at, because of the queue."
        return Looked([commands, *queue, skipped(_CLUSTER, text)], probe_seconds=0)
    now = time.time()
    limits = [
        *slurm_checks.size_findings(site, cluster),
        *slurm_checks.reservation_findings(site, cluster, now, walltime),
        *_accounts(site, environ),
    ]
    seconds = slurm_checks.time_for_a_probe(site, cluster, now, PROBE_SECONDS)
    return Looked([commands, *queue, *limits], seconds)


def _commands(environ: Mapping[str, str]) -> Finding:
    """Say whether SLURM's commands are there and are answered."""
    missing = [name for name in _NEEDED if shutil.which(name, path=environ.get("PATH")) is None]
    if missing:
        names = ", ".join(missing)
        fix = "work on a login node of the cluster; on some, `module load slurm` comes first"
        return bad(_CLUSTER, f"There is no {names} here.", why="looked through $PATH", fix=fix)
    name = "tbss-hpc-none"
    question = slurm.queue_query([name], environ.get("SLURM_CLUSTERS", ""))
    answer = slurm.read_queue(ask(question, slurm.query_environment(environ)), [name])
    if isinstance(answer, DontKnow):
        fix = slurm.refusal_fix(answer.why) or "wait until `squeue` answers on this machine"
        return bad(_CLUSTER, "SLURM does not answer.", why=answer.why, fix=fix)
    return _version(environ)


def _version(environ: Mapping[str, str]) -> Finding:
    said = ask(["sbatch", "--version"], environ).stdout.strip()
    found = re.search(r"(\d+)\.(\d+)[.\d]*", said)
    names = ", ".join(_NEEDED)
    if found is None:
        return unknown(_CLUSTER, f"SLURM answers ({names}), and does not tell its version.")
    if (int(found[1]), int(found[2])) < _OLDEST:
        oldest = ".".join(str(part) for part in _OLDEST)
        text = f"SLURM {found[0]} answers; tbss-hpc was made for {oldest} and later."
        return unknown(_CLUSTER, text)
    return good(_CLUSTER, f"SLURM {found[0]} answers ({names}).")


def _ask_cluster(environ: Mapping[str, str]) -> Cluster | Finding:
    """Ask what SLURM has; a finding where it does not tell."""
    if shutil.which("scontrol", path=environ.get("PATH")) is None:
        text = "Limits of the queue cannot be asked: there is no scontrol here."
        return unknown(_CLUSTER, text)
    asking = slurm_limits.limits_environment(environ)
    replies = [
        ask(argv, asking)
        for argv in (slurm_limits.PARTITIONS, slurm_limits.NODES, slurm_limits.RESERVATIONS)
    ]
    for reply in replies:
        if reply.exit_code != 0:
            return unknown(_CLUSTER, "Limits of the queue cannot be asked.", why=reply.complaint)
    partitions, nodes, reservations = (reply.stdout for reply in replies)
    return Cluster(
        slurm_limits.read_partitions(partitions),
        slurm_limits.read_nodes(nodes),
        slurm_limits.read_reservations(reservations),
    )


def _accounts(site: Site, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Say what the accounting database allows the user, where there is one."""
    user = getpass.getuser()
    queries = (
        slurm_accounts.associations_query(user),
        slurm_accounts.user_query(user),
        slurm_accounts.qos_query(),
    )
    first = ask(queries[0], environ)
    others = [ask(q, environ) if first.exit_code == 0 else first for q in queries[1:]]
    yield from slurm_accounts.account_findings(site, first, *others)
