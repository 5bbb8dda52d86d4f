"""What the fake SLURM remembers: a folder of small files, shared by all of its programs."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

#: States of a job that still is in the queue.
IN_QUEUE = {"PENDING", "RUNNING", "COMPLETING"}


@dataclass(frozen=True)
class Control:
    """How the fake behaves; a test changes it at any time."""

    refusals: int = 0  #: so many more submissions are refused
    refusal: str = ""  #: what sbatch says then, on standard error
    lost_replies: int = 0  #: so many more are accepted, but sbatch ends with an error
    banner: str = ""  #: what sbatch says first, on standard output
    pending_seconds: float = 0.0
    held: bool = False  #: nothing starts
    reason: str = "Priority"  #: of what is pending
    failing_queries: int = 0  #: so many more calls of squeue fail
    kill_wait_seconds: float = 2.0  #: between SIGTERM and SIGKILL
    kills_all: bool = False  #: SIGKILL to all a job started (cgroup), not only its process group
    nodes: tuple[str, ...] = ("fake1", "fake2", "fake3", "fake4")


@dataclass(frozen=True)
class Job:
    """A job, as its submission and its step daemon wrote it down."""

    id: str
    name: str
    user: str
    partition: str
    folder: str
    output: str  #: where standard output goes, as given
    arguments: tuple[str, ...] = ()  #: of the script
    error: str = ""  #: empty: with the output
    limit_seconds: float | None = None
    cpus: int = 1
    memory: str = ""  #: as given
    submitted: float = 0.0  #: Unix time
    started: float | None = None
    ended: float | None = None
    state: str = "PENDING"
    node: str = ""
    pid: int = 0  #: of the batch script; it leads the process group


@dataclass(frozen=True)
class Override:
    """What a test wants to be seen of a job, whatever it really does."""

    hidden: bool = False
    state: str = ""
    limit_seconds: float | None = None
    cancelled: bool = False


@dataclass(frozen=True)
class State:
    """The folder."""

    folder: Path
    #: In the environment of everything a job starts.
    marker: str = field(default="FAKE_SLURM_FOLDER", init=False)

    def create(self) -> None:
        """Make the folder of a cluster without jobs."""
        (self.folder / "jobs").mkdir(parents=True)
        self.set_control(Control())

    @property
    def control(self) -> Control:
        """How the fake behaves at this moment."""
        values = _read(self.folder / "control.json")
        return Control(**{**values, "nodes": tuple(values["nodes"])})

    def set_control(self, control: Control) -> None:
        """Change how the fake behaves from now on."""
        _write(self.folder / "control.json", asdict(control))

    def take(self, counter: str) -> bool:
        """Use up one of the refusals, lost replies or failing queries; False when none is left."""
        with self.locked():
            control = self.control
            left: int = getattr(control, counter)
            if left > 0:
                changed: dict[str, Any] = {counter: left - 1}
                self.set_control(replace(control, **changed))
            return left > 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one program at a time count."""
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def next_id(self) -> str:
        """Claim the next job number; the first is 77."""
        with self.locked():
            file = self.folder / "next"
            number = int(file.read_text()) if file.exists() else 77
            file.write_text(str(number + 1))
        return str(number)

    def path(self, job: str, suffix: str) -> Path:
        """Name one of the files of a job."""
        return self.folder / "jobs" / f"{job}.{suffix}"

    def job(self, job: str) -> Job:
        """Read what is known of a job."""
        values = _read(self.path(job, "job"))
        return Job(**{**values, "arguments": tuple(values["arguments"])})

    def jobs(self) -> list[Job]:
        """Read what is known of all jobs, the oldest first."""
        names = [path.stem for path in (self.folder / "jobs").glob("*.job")]
        return [self.job(name) for name in sorted(names, key=int)]

    def save(self, job: Job) -> None:
        """Write down a job: first its submission, then only its own step daemon."""
        _write(self.path(job.id, "job"), asdict(job))

    def override(self, job: str) -> Override:
        """Read what a test or scancel wants of a job."""
        path = self.path(job, "override")
        return Override(**_read(path)) if path.exists() else Override()

    def set_override(self, job: str, **changes: Any) -> None:  # noqa: ANN401 - of Override
        """Want something of a job."""
        with self.locked():
            wanted = replace(self.override(job), **changes)
            _write(self.path(job, "override"), asdict(wanted))


def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text())
    return values


def _write(path: Path, values: dict[str, Any]) -> None:
    # By rename: squeue must never see half a file.
    new = path.with_suffix(f".new{os.getpid()}")
    new.write_text(json.dumps(values))
    new.replace(path)
