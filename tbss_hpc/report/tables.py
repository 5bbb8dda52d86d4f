"""status.tsv, attempts.tsv and failed.commands, as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from tbss_hpc.core.ledger import Ledger, Standing, Verdict
from tbss_hpc.core.outcome import in_words, kind

MEGABYTE = 1e6

STATUS_COLUMNS = ("id", "name", "verdict", "attempts", "outcome", "seconds", "node", "log")
ATTEMPT_COLUMNS = (
    *("name", "attempt", "outcome", "detail", "allocation", "node", "start", "end"),
    *("seconds", "cpu_seconds", "peak_memory_mb"),
)


def status_table(ledger: Ledger, logs: Mapping[str, str]) -> str:
    """Write one line per command: what it came to and where its log is."""
    rows = (_status_row(s, ledger, logs) for s in ledger.standings.values())
    return _table(STATUS_COLUMNS, rows)


def attempts_table(ledger: Ledger) -> str:
    """Write one line per attempt that ended."""
    rows = (row for standing in ledger.standings.values() for row in _attempt_rows(standing))
    return _table(ATTEMPT_COLUMNS, rows)


def failed_commands(ledger: Ledger, *, ended: bool) -> str:
    """Write what did not succeed as a command list that can be submitted again.

    ended -- the run is over, so what was never tried belongs to it, too.
    """
    standings = ledger.standings.values()
    failed = [s for s in standings if s.verdict is not Verdict.DONE and (ended or s.verdict)]
    folders = sorted({s.command.folder for s in failed})
    lines = [f"# run in {folder}" for folder in folders]
    return "".join(f"{line}\n" for line in [*lines, *(s.command.text for s in failed)])


def verdict_word(standing: Standing, ledger: Ledger) -> str:
    """Say where a command stands, in one word."""
    if standing.verdict is not None:
        return standing.verdict.value
    return "in-flight" if ledger.is_in_flight(standing) else "waiting"


def _status_row(standing: Standing, ledger: Ledger, logs: Mapping[str, str]) -> tuple[str, ...]:
    command = standing.command
    last = standing.reports[-1] if standing.reports else None
    return (
        command.id,
        command.name,
        verdict_word(standing, ledger),
        str(standing.attempts_made),
        kind(last.outcome) if last else ("found" if standing.found else ""),
        f"{last.measures.seconds:.1f}" if last else "",
        last.node if last else "",
        logs[command.id] if standing.attempts_made else "",
    )


def _attempt_rows(standing: Standing) -> Iterator[tuple[str, ...]]:
    for report in standing.reports:
        measures = report.measures
        yield (
            standing.command.name,
            str(report.attempt.number),
            kind(report.outcome),
            in_words(report.outcome),
            report.allocation,
            report.node,
            _moment(measures.start),
            _moment(measures.end),
            f"{measures.seconds:.2f}",
            f"{measures.cpu_seconds:.2f}",
            f"{measures.peak_memory_bytes / MEGABYTE:.1f}",
        )


def _moment(unix_time: float) -> str:
    if not unix_time:
        return ""
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds")


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["\t".join(columns)]
    lines += ["\t".join(_cell(cell) for cell in row) for row in rows]
    return "".join(f"{line}\n" for line in lines)


def _cell(text: str) -> str:
    """Keep a value in its cell, whatever a tool has said."""
    return " ".join(text.split())
