"""What a user may ask of SLURM, as its accounting database says: limits of account and QOS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tbss_hpc.core.finding import About, Finding, bad, good, unknown
from tbss_hpc.core.site import Site
from tbss_hpc.core.units import format_memory, in_words, parse_memory
from tbss_hpc.schedulers.reply import Reply
from tbss_hpc.schedulers.slurm_limits import read_time_limit

Row = dict[str, str]

#: Most clusters that do not use accounts have no database, and say it in one of these ways.
_NO_DATABASE = ("accounting_storage", "accounting storage", "slurmdbd", "not found", "No such file")
_CLUSTER = About.CLUSTER


def associations_query(user: str) -> list[str]:
    """Give the call of sacctmgr that lists where a user belongs, with the limits there."""
    columns = "account,partition,qos,defaultqos,maxjobs,maxsubmitjobs,maxwall,maxtres"
    where = f"user={user}"
    return ["sacctmgr", "--parsable2", "show", "associations", where, f"format={columns}"]


def user_query(user: str) -> list[str]:
    """Give the call that names a user's default account."""
    return ["sacctmgr", "--parsable2", "show", "user", user, "format=user,defaultaccount"]


def qos_query() -> list[str]:
    """Give the call that lists what each QOS allows."""
    columns = "name,maxwall,maxtres,maxjobsperuser,maxsubmitjobsperuser,maxtresperuser"
    return ["sacctmgr", "--parsable2", "show", "qos", f"format={columns}"]


def read_rows(text: str) -> list[Row]:
    """Read a table with bars, as `--parsable2` prints it; lines before its heading are banners."""
    rows = [line.split("|") for line in text.splitlines() if "|" in line]
    return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]] if rows else []


def account_findings(site: Site, associations: Reply, user: Reply, qos: Reply) -> Iterator[Finding]:
    """Say whether the user may charge the site's account, and what limits there are."""
    if associations.exit_code != 0:
        yield unknown(
            _CLUSTER,
            "Your limits cannot be asked: this cluster has no accounting database, or you may not"
            " read it."
            if any(word in associations.complaint for word in _NO_DATABASE)
            else "Your limits cannot be asked.",
            why=associations.complaint,
        )
        return
    rows = read_rows(associations.stdout)
    defaults = [row.get("Def Acct", "") for row in read_rows(user.stdout)]
    account = site.account or next(iter(defaults), "")
    mine = [r for r in rows if not account or r.get("Account", "") == account.lower()]
    if rows and not mine:
        known = ", ".join(dict.fromkeys(row.get("Account", "") for row in rows))
        fix = "set `account` in the site file to one of these"
        why = f"SLURM lets you use {known}"
        yield bad(_CLUSTER, f"You may not use the account {account}.", why=why, fix=fix)
        return
    if not rows:
        text = "SLURM's accounting database does not name you."
        yield unknown(_CLUSTER, text, fix="if allocations are refused, ask the administrators")
        return
    yield from _within(site, account, mine, read_rows(qos.stdout))


def _within(
    site: Site, account: str, mine: Sequence[Row], all_qos: Sequence[Row]
) -> Iterator[Finding]:
    # An association for this queue outranks the one for all queues.
    row = next((r for r in mine if r.get("Partition") == site.queue), mine[0])
    allowed = [name for name in row.get("QOS", "").split(",") if name]
    if site.qos is not None and allowed and site.qos not in allowed:
        fix = f"set `qos` in the site file to one of: {', '.join(allowed)}"
        yield bad(_CLUSTER, f"You may not use the QOS {site.qos}.", fix=fix)
        return
    qos = site.qos or row.get("Def QOS") or (allowed[0] if len(allowed) == 1 else "")
    rules = next((r for r in all_qos if r.get("Name") == qos), {})
    complaints = [
        *_limit_findings(site, f"account {account}", row, "MaxJobs", "MaxSubmit"),
        *_limit_findings(site, f"QOS {qos}", rules, "MaxJobsPU", "MaxSubmitPU"),
    ]
    yield from complaints
    if not complaints:
        level = f", QOS {qos}" if qos else ""
        yield good(_CLUSTER, f"You may ask for all this (account {account}{level}).")


def _limit_findings(
    site: Site, who: str, row: Row, most_running: str, most_submitted: str
) -> Iterator[Finding]:
    longest = read_time_limit(row.get("MaxWall", ""))
    if longest is not None and (site.walltime or 0) > longest:
        text = f"The {who} allows a walltime of {in_words(longest)} at most."
        yield bad(_CLUSTER, text, fix="shorten `walltime` in the site file")
    yield from _resource_findings(site, who, row.get("MaxTRES", ""))
    for column, verb in ((most_submitted, "have in the queue"), (most_running, "run")):
        most = row.get(column, "")
        if most.isdigit() and site.workers > int(most):
            text = (
                f"The {who} lets you {verb} {most} jobs at once, and `workers` is {site.workers}."
            )
            yield unknown(
                _CLUSTER, text, fix=f"set `workers: {most}` or less; more of them only wait"
            )
            return


def _resource_findings(site: Site, who: str, text: str) -> Iterator[Finding]:
    limits = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    cores = limits.get("cpu", "")
    if cores.isdigit() and (site.cores or 1) > int(cores):
        what = f"The {who} allows {cores} cores in one job at most."
        yield bad(_CLUSTER, what, fix=f"set `cores: {cores}` or less in the site file")
    memory = _size(limits.get("mem", ""))
    if memory is not None and (site.memory or 0) > memory:
        size = format_memory(memory)
        what = f"The {who} allows {size} of memory in one job at most."
        yield bad(_CLUSTER, what, fix=f"set `memory: {size}` or less in the site file")


def _size(text: str) -> int | None:
    try:  # a number alone is in megabytes
        return parse_memory(f"{text}M" if text.isdigit() else text)
    except ValueError:
        return None
