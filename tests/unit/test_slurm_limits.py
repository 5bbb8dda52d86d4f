"""What SLURM says of queues, nodes, reservations and accounts, read from real replies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tbss_hpc.core.finding import Finding, Mark
from tbss_hpc.core.site import Site
from tbss_hpc.schedulers.reply import Reply
from tbss_hpc.schedulers.slurm_accounts import account_findings
from tbss_hpc.schedulers.slurm_checks import (
    Cluster,
    queue_findings,
    reservation_findings,
    size_findings,
    time_for_a_probe,
)
from tbss_hpc.schedulers.slurm_limits import (
    Reservation,
    expand,
    fitting_walltime,
    limits_environment,
    read_nodes,
    read_partitions,
    read_reservations,
    read_time_limit,
)

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "slurm"
#: When the captured reservations were ten and thirty minutes ahead.
NOW = 1795880451.0
HOUR = 3600.0


def reply(name: str) -> Reply:
    """Give a captured reply."""
    text = (GOLDEN / f"{name}.txt").read_text()
    parts = re.fullmatch(r"# .*\n-- exit (\d+)\n-- stdout\n(.*)-- stderr\n(.*)", text, re.DOTALL)
    assert parts is not None, name
    return Reply(("scontrol",), int(parts[1]), parts[2], parts[3])


def captured(*, reservations: str = "limits-no-reservation") -> Cluster:
    return Cluster(
        read_partitions(reply("limits-partitions").stdout),
        read_nodes(reply("limits-nodes").stdout),
        read_reservations(reply(reservations).stdout),
    )


def site(**values: object) -> Site:
    usual = {"scheduler": "slurm", "cores": 4, "memory": 1 << 30, "walltime": 300.0}
    return Site(**{**usual, **values})  # type: ignore[arg-type]


def marks(findings: list[Finding]) -> str:
    signs = {Mark.GOOD: "+", Mark.BAD: "x", Mark.UNKNOWN: "?", Mark.SKIPPED: "-"}
    return "".join(signs[finding.mark] for finding in findings)


# -- reading ------------------------------------------------------------------------------------


def test_partitions_are_read() -> None:
    short, long, closed, hidden = captured().partitions

    assert (short.name, short.is_default, short.state, short.max_seconds) == (
        *("short", True, "UP"),
        300.0,
    )
    assert (short.max_nodes, short.allowed_accounts) == (1, frozenset({"physics", "psych"}))
    assert (long.is_default, long.max_seconds, long.max_nodes) == (False, None, None)
    assert long.allowed_accounts is None
    assert (closed.state, closed.max_seconds, closed.allowed_qos) == (
        "DOWN",
        172800.0,
        frozenset({"high"}),
    )
    assert (closed.max_cores_per_node, closed.max_memory_per_core) == (4, 500 << 20)
    assert (hidden.root_only, hidden.denied_accounts) == (True, frozenset({"physics"}))
    assert hidden.max_memory_per_node == 2000 << 20


def test_nodes_are_read_whatever_their_reasons_look_like() -> None:
    nodes = captured().nodes

    assert [node.name for node in nodes] == ["node1", "node2", "node3", "node4"]
    assert [node.in_service for node in nodes] == [True, True, False, False]
    assert {(node.cores, node.memory) for node in nodes} == {(8, 4000 << 20)}
    assert nodes[0].partitions == {"short", "long"}


def test_reservations_are_read() -> None:
    everything, one = captured(reservations="limits-reservations").reservations

    assert everything.maintenance
    assert everything.begin == NOW + 1800
    assert everything.end - everything.begin == HOUR
    assert everything.nodes == {"node1", "node2", "node3", "node4"}
    assert (one.maintenance, one.nodes, one.begin) == (False, frozenset({"node1"}), NOW + 600)


def test_no_reservation_is_an_empty_list() -> None:
    assert captured().reservations == []


def test_a_profile_does_not_decide_how_times_are_told() -> None:
    environment = limits_environment(
        {"SLURM_TIME_FORMAT": "relative", "SCONTROL_ALL": "1", "A": ""}
    )

    assert environment == {"SLURM_TIME_FORMAT": "%s", "A": ""}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("node1", ["node1"]),
        ("a[1-3]", ["a1", "a2", "a3"]),
        ("a[08-10],b", ["a08", "a09", "a10", "b"]),
        ("r[1-2]n[1,3]", ["r1n1", "r1n3", "r2n1", "r2n3"]),
        ("a[1-2]-ib", ["a1-ib", "a2-ib"]),
        ("(null)", []),
        ("", []),
        ("a[1-99999999999]", ["a1-99999999999"]),
    ],
)
def test_lists_of_nodes_are_written_out(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:05:00", 300.0),
        ("2-00:00:00", 172800.0),
        ("5:00", 300.0),
        ("UNLIMITED", None),
        ("", None),
    ],
)
def test_time_limits_are_read(text: str, seconds: float | None) -> None:
    assert read_time_limit(text) == seconds


# -- what fits before a reservation -------------------------------------------------------------


def reserved(
    begin: float, *nodes: str, whole: bool = True, maintenance: bool = True
) -> Reservation:
    return Reservation("r", begin, begin + HOUR, frozenset(nodes), whole, maintenance)


def test_a_walltime_fits_until_the_last_node_is_reserved() -> None:
    both = [reserved(1000.0, "a"), reserved(3000.0, "b")]

    assert fitting_walltime(0.0, both, ["a", "b"]) == 3000.0
    assert fitting_walltime(0.0, both, ["a"]) == 1000.0
    assert fitting_walltime(0.0, both, ["a", "b", "c"]) is None


def test_without_nodes_the_next_maintenance_counts() -> None:
    ahead = [reserved(500.0, "x", maintenance=False), reserved(3000.0, "a"), reserved(1000.0, "b")]

    assert fitting_walltime(0.0, ahead) == 1000.0
    assert fitting_walltime(0.0, ahead[:1]) is None


def test_nothing_fits_while_a_reservation_lasts_and_all_does_after_it() -> None:
    assert fitting_walltime(1200.0, [reserved(1000.0, "a")], ["a"]) == 0.0
    assert fitting_walltime(1000.0 + HOUR, [reserved(1000.0, "a")], ["a"]) is None


def test_a_reservation_of_some_cores_leaves_the_others() -> None:
    assert fitting_walltime(0.0, [reserved(1000.0, "a", whole=False)], ["a"]) is None


# -- a site held against a cluster --------------------------------------------------------------


def test_a_site_that_fits_gets_ticks() -> None:
    long = site(queue="long", walltime=12 * HOUR)

    assert marks(list(queue_findings(long, captured()))) == "+"
    assert marks(list(size_findings(long, captured()))) == "++"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"queue": "nope"}, "There is no queue called nope."),
        ({"queue": "closed"}, "Queue closed takes no work now: it is DOWN."),
        ({"queue": "hidden"}, "Queue hidden is for administrators."),
        ({"account": "biology"}, "Queue short does not take the account biology."),
        ({"queue": "hidden", "account": "Physics"}, "Queue hidden does not take the account"),
        ({"queue": "closed", "qos": "low"}, "Queue closed does not take the QOS low."),
    ],
)
def test_a_closed_queue_is_told(values: dict[str, object], words: str) -> None:
    found = [f.what for f in queue_findings(site(**values), captured()) if f.mark is Mark.BAD]

    assert any(words in what for what in found), found


def test_accounts_that_cannot_be_known_are_no_cross() -> None:
    assert marks(list(queue_findings(site(), captured()))) == "?"
    assert marks(list(queue_findings(site(account="Psych"), captured()))) == "+"


@pytest.mark.parametrize(
    ("values", "fix"),
    [
        ({"walltime": HOUR}, "set `walltime: 00:05:00` or less in the site file, or `queue`"),
        ({"queue": "closed", "cores": 5}, "set `cores: 4` or less"),
        ({"queue": "hidden", "memory": 3 << 30}, "set `memory: 2000M` or less"),
        ({"queue": "closed", "memory": 3 << 30}, "set `memory: 2000M` or less"),
        ({"cores": 9}, "lower `cores` or `memory`"),
        ({"memory": 8 << 30}, "lower `cores` or `memory`"),
        ({"queue": "closed"}, "wait, or choose another `queue`"),
    ],
)
def test_what_is_too_large_is_told_with_what_would_fit(values: dict[str, object], fix: str) -> None:
    found = [f.fix for f in size_findings(site(**values), captured()) if f.mark is Mark.BAD]

    assert any(fix in one for one in found), found


def test_a_maintenance_ahead_is_told_with_the_walltime_that_fits() -> None:
    cluster = captured(reservations="limits-reservations")
    long = site(queue="long", walltime=4 * HOUR)

    (late,) = reservation_findings(long, cluster, NOW, 4 * HOUR)
    (early,) = reservation_findings(long, cluster, NOW, 1200.0)

    assert late.mark is Mark.BAD
    assert "reserved for maintenance in 30 min" in late.what
    assert "`walltime: 00:29:00`" in late.fix
    assert early.mark is Mark.GOOD


def test_a_reservation_that_is_not_there_is_told() -> None:
    cluster = captured(reservations="limits-reservations")

    (found,) = reservation_findings(site(reservation="mine"), cluster, NOW, 300.0)

    assert found.mark is Mark.BAD
    assert "doc, part" in found.why


def test_a_probe_is_as_short_as_it_has_to_be() -> None:
    cluster = captured(reservations="limits-reservations")

    assert time_for_a_probe(site(), cluster, NOW, 300.0) == 300.0
    assert time_for_a_probe(site(), cluster, NOW + 1620, 300.0) == 120.0
    assert time_for_a_probe(site(), cluster, NOW + 1790, 300.0) <= 0.0
    assert time_for_a_probe(site(queue="long"), captured(), NOW, 300.0) == 300.0


# -- limits of account and QOS ------------------------------------------------------------------


def accounts(**values: object) -> list[Finding]:
    replies = [reply(f"limits-{name}") for name in ("associations", "user", "qos")]
    return list(account_findings(site(**values), *replies))


def test_no_accounting_database_is_no_cross() -> None:
    nothing = reply("limits-no-accounting")

    (found,) = account_findings(site(), nothing, nothing, nothing)

    assert found.mark is Mark.UNKNOWN
    assert "no accounting database" in found.what


def test_the_default_account_counts_where_none_is_named() -> None:
    (found,) = accounts(cores=32, workers=4)

    assert found.what == "You may ask for all this (account root, QOS normal)."


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"account": "other"}, "You may not use the account other."),
        ({"account": "tests", "qos": "high"}, "You may not use the QOS high."),
        ({"account": "tests", "walltime": 3 * HOUR}, "allows a walltime of 2 h at most"),
        ({"account": "tests", "cores": 5}, "allows 4 cores in one job at most"),
        ({"account": "tests", "memory": 9 << 30}, "allows 8G of memory in one job at most"),
    ],
)
def test_what_an_account_does_not_allow_is_told(values: dict[str, object], words: str) -> None:
    found = accounts(**values)

    assert marks(found) == "x"
    assert words in found[0].what


def test_more_allocations_than_may_run_only_wait() -> None:
    (found,) = accounts(account="tests", workers=6)

    assert found.mark is Mark.UNKNOWN
    assert "lets you run 4 jobs at once" in found.what
