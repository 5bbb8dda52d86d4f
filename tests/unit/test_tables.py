"""status.tsv, attempts.tsv and failed.commands, to the letter."""

from __future__ import annotations

from msgspec import structs

from tbss_hpc.core.attempt import AttemptId, Measures, Report
from tbss_hpc.core.commandlist import parse_list
from tbss_hpc.core.ledger import Ledger, Verdict
from tbss_hpc.core.outcome import Invalid, Lost, NotStarted, Outcome, Succeeded
from tbss_hpc.report.tables import attempts_table, failed_commands, status_table
from tests.unit.world import some_commands

TOOK = Measures(
    start=1_800_000_000.0,
    end=1_800_000_090.5,
    seconds=90.46,
    cpu_seconds=88.041,
    peak_memory_bytes=812_400_000,
)
LOGS = {f"c{number:02}": f"logs/L{number}.log" for number in range(1, 8)}


def report(line: int, number: int, outcome: Outcome, measures: Measures = TOOK) -> Report:
    return Report(AttemptId(f"c{line:02}", number), outcome, "tbabcde-1-1", "node7", measures)


def ledger_of_everything() -> Ledger:
    """One command of each kind: done, failed, cancelled, found, in flight, lost once, waiting."""
    ledger = Ledger(some_commands(7))
    done, failed, cancelled, found, in_flight, lost, _waiting = ledger.standings.values()
    done.reports = [report(1, 1, NotStarted(), Measures()), report(1, 2, Succeeded())]
    ledger.settle(done, Verdict.DONE)
    failed.reports = [report(2, 1, Invalid("a.mat\thas 3 rows\nnot 4"))]
    ledger.settle(failed, Verdict.FAILED)
    ledger.settle(cancelled, Verdict.CANCELLED)
    found.found = True
    ledger.settle(found, Verdict.DONE)
    ledger.issue(in_flight, 1)
    lost.reports = [report(6, 1, Lost(), Measures())]
    return ledger


STATUS = """\
id\tname\tverdict\tattempts\toutcome\tseconds\tnode\tlog
c01\tL1\tdone\t1\tsucceeded\t90.5\tnode7\tlogs/L1.log
c02\tL2\tfailed\t1\tinvalid\t90.5\tnode7\tlogs/L2.log
c03\tL3\tcancelled\t0\t\t\t\t
c04\tL4\tdone\t0\tfound\t\t\t
c05\tL5\tin-flight\t0\t\t\t\t
c06\tL6\twaiting\t1\tlost\t0.0\tnode7\tlogs/L6.log
c07\tL7\twaiting\t0\t\t\t\t
"""

ATTEMPTS = (
    "name\tattempt\toutcome\tdetail\tallocation\tnode\tstart\tend"
    "\tseconds\tcpu_seconds\tpeak_memory_mb\n"
    "L1\t1\tnot-started\twas not started\ttbabcde-1-1\tnode7\t\t\t0.00\t0.00\t0.0\n"
    "L1\t2\tsucceeded\tsucceeded\ttbabcde-1-1\tnode7"
    "\t2027-01-15T08:00:00.000+00:00\t2027-01-15T08:01:30.500+00:00\t90.46\t88.04\t812.4\n"
    "L2\t1\tinvalid\tleft an invalid output: a.mat has 3 rows not 4\ttbabcde-1-1\tnode7"
    "\t2027-01-15T08:00:00.000+00:00\t2027-01-15T08:01:30.500+00:00\t90.46\t88.04\t812.4\n"
    "L6\t1\tlost\twas lost with its allocation\ttbabcde-1-1\tnode7\t\t\t0.00\t0.00\t0.0\n"
)


def test_status_has_one_line_per_command() -> None:
    assert status_table(ledger_of_everything(), LOGS) == STATUS


def test_attempts_has_one_line_per_attempt_that_ended() -> None:
    assert attempts_table(ledger_of_everything()) == ATTEMPTS


def test_every_line_has_a_cell_for_every_column() -> None:
    ledger = ledger_of_everything()

    for table in (status_table(ledger, LOGS), attempts_table(ledger)):
        assert len({line.count("\t") for line in table.splitlines()}) == 1


def test_what_failed_can_be_submitted_again() -> None:
    text = failed_commands(ledger_of_everything(), ended=False)

    assert text == "# run in /data\ntrue 2\ntrue 3\n"
    again = parse_list(text.encode(), source="failed.commands", folder="/data")
    assert [command.text for command in again] == ["true 2", "true 3"]


def test_where_nothing_failed_there_is_nothing_to_submit_again() -> None:
    assert failed_commands(Ledger(some_commands(2)), ended=False) == ""


def test_the_folders_of_what_failed_are_named() -> None:
    first, second = some_commands(2)
    ledger = Ledger([first, structs.replace(second, folder="/other")])
    for standing in ledger.standings.values():
        ledger.settle(standing, Verdict.FAILED)

    assert (
        failed_commands(ledger, ended=False) == "# run in /data\n# run in /other\ntrue 1\ntrue 2\n"
    )


def test_what_was_never_tried_is_listed_once_the_run_is_over() -> None:
    ledger = Ledger(some_commands(2))

    text = failed_commands(ledger, ended=True)

    assert text.splitlines()[-2:] == ["true 1", "true 2"]
