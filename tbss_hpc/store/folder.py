"""The run folder and the names of all that is in it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tbss_hpc.errors import FilesError, UsageError

RUNS = "tbss-hpc-runs"
LATEST = "latest"


class RunFolder:
    """The paths of one run."""

    def __init__(self, root: Path) -> None:
        """Stand for a run folder, whether it exists or not."""
        self.root = root
        self.name = root.name
        self.status_table = root / "status.tsv"
        self.attempts_table = root / "attempts.tsv"
        self.failed_commands = root / "failed.commands"
        self.commands_text = root / "commands.txt"
        self.commands = root / "commands.json"
        self.plan = root / "plan.json"
        self.site = root / "site.yaml"
        self.controller = root / "controller.json"
        self.controller_log = root / "controller.log"
        self.requests = root / "requests"
        self.journal = root / "journal"
        self.records = root / "records"
        self.logs = root / "logs"
        self.allocations = root / "allocations"
        self.tls = root / "tls"
        self.certificate = self.tls / "run.crt"
        self.key = self.tls / "run.key"
        self.scores = root / "scores.json"
        self.score_picture = root / "scores.svg"

    @property
    def typed(self) -> str:
        """What to type after --run in the folder where this program was started."""
        usual = self.root.parent == runs_folder(Path.cwd())
        return self.name if usual else shlex.quote(str(self.root))

    @property
    def question(self) -> Path:
        """Where a node is asked; only in the folder of a probe, which goes with it."""
        return self.root / "question.json"

    @property
    def answer(self) -> Path:
        """Where a node answers; only in the folder of a probe."""
        return self.root / "answer.json"

    def records_of(self, allocation: str) -> Path:
        """Name the file of records of an allocation."""
        return self.records / f"{allocation}.jsonl"

    def script_of(self, allocation: str) -> Path:
        """Name the script of an allocation, as submitted."""
        return self.allocations / f"{allocation}.sh"

    def outputs_of(self, allocation: str) -> list[Path]:
        """List what the scheduler has written for an allocation, newest last."""
        # `NAME.out` or `NAME-ID.out`, and not those of an allocation whose name begins like this.
        named = (p for end in ".-" for p in self.allocations.glob(f"{allocation}{end}*"))
        found = (path for path in named if path.suffix != ".sh")
        return sorted(found, key=lambda path: path.stat().st_mtime)

    def refuse_if_exists(self) -> None:
        """Raise UsageError if there is a run of this name."""
        if self.root.exists():
            raise UsageError(
                f"There is a run named {self.name} already.",
                why=str(self.root),
                fix=f"choose another --run NAME, or go on with `tbss-hpc resume --run {self.name}`",
            )

    def create(self) -> None:
        """Make the folder, readable by its owner only.

        Raises FilesError if it cannot be made.
        """
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            self.root.mkdir(mode=0o700)
            for folder in (self.requests, self.journal, self.records, self.logs):
                folder.mkdir()
            self.allocations.mkdir()
        except OSError as error:
            raise FilesError(
                "The run folder cannot be made.",
                why=f"{self.root}: {error.strerror}",
                fix="run tbss-hpc in a folder that you can write, or name one with --runs",
            ) from error

    def become_latest(self) -> None:
        """Point `latest` at this run."""
        link = self.root.parent / LATEST
        temporary = link.with_name(f".{LATEST}.{os.getpid()}")
        temporary.symlink_to(self.name)
        temporary.replace(link)


def runs_folder(base: Path) -> Path:
    """Name the folder that holds the runs of a place."""
    return base / RUNS


def fresh_name(runs: Path, now: datetime) -> str:
    """Make a name for a new run from the time of day: 2026-11-28_1430, and _2, _3 … after it."""
    stem = now.strftime("%Y-%m-%d_%H%M")
    return next(name for name in _numbered(stem) if not (runs / name).exists())


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}_{number}"
        number += 1


def find_run(runs: Path, name: str | None) -> RunFolder:
    """Find a run by its name, or the newest one.

    Raises UsageError where there is none.
    """
    root = runs / name if name else (runs / LATEST).resolve()
    if name and not root.is_dir() and Path(name).joinpath("commands.json").is_file():
        root = Path(name).resolve()
    if not (root / "commands.json").is_file():
        raise UsageError(
            f"There is no run named {name}." if name else "There is no run here.",
            why=f"looked in {runs}: {_known(runs)}",
            fix="name one of them with --run, or change to the folder where it was submitted",
        )
    return RunFolder(root)


def all_runs(runs: Path) -> list[RunFolder]:
    """List the runs of a place, by name."""
    folders = sorted(path.parent for path in runs.glob("*/commands.json"))
    return [RunFolder(folder) for folder in folders if folder.name != LATEST]


def _known(runs: Path) -> str:
    return ", ".join(run.name for run in all_runs(runs)) or "it holds no run"
