"""Finding the log of a command, and giving the part that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tbss_hpc.app.observer import Observer
from tbss_hpc.core.ledger import Standing, Verdict
from tbss_hpc.errors import UsageError
from tbss_hpc.store.logfile import AttemptLog, read_attempts

CHUNK = 1 << 20


def find_command(observer: Observer, name: str) -> Standing:
    """Find a command by its name (`G_to_F`, `L17`) or its id.

    Raises UsageError if there is none.
    """
    standings = observer.machine.ledger.standings
    for standing in standings.values():
        if name in (standing.command.name, f"L{standing.command.line}", standing.command.id):
            return standing
    example = next(iter(standings.values())).command.name
    raise UsageError(
        f"There is no command {name} in run {observer.run.name}.",
        why=f"it has {len(standings)} commands, the first of which is {example}",
        fix=f"see the second column of {observer.run.status_table}",
    )


def log_of(observer: Observer, standing: Standing) -> Path:
    """Give the log of a command. Raises UsageError if it has none yet."""
    path = observer.run.root / observer.logs[standing.command.id]
    if not path.exists():
        found = "its results were there before this run" if standing.found else "it has not run"
        raise UsageError(f"{standing.command.name} has no log: {found}.")
    return path


def read_log(path: Path, attempt: int | None) -> Iterator[bytes]:
    """Yield a log in pieces, whole or one attempt of it.

    Raises UsageError if there is no such attempt.
    """
    begin, end = 0, path.stat().st_size
    if attempt is not None:
        part = _attempt(path, attempt)
        begin, end = part.begin, part.end
    with path.open("rb") as file:
        file.seek(begin)
        while begin < end:
            piece = file.read(min(CHUNK, end - begin))
            begin += len(piece)
            yield piece


def _attempt(path: Path, number: int) -> AttemptLog:
    attempts = {found.attempt.number: found for found in read_attempts(path)}
    if number not in attempts:
        known = ", ".join(str(n) for n in attempts) or "none"
        raise UsageError(f"{path.name} has no attempt {number}.", why=f"it has: {known}")
    return attempts[number]


def failed(observer: Observer) -> list[Standing]:
    """List the commands that failed for good."""
    standings = observer.machine.ledger.standings.values()
    return [s for s in standings if s.verdict is Verdict.FAILED]
