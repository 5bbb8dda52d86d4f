"""The real tbss-hpc in a folder of its own: typed at, watched, and looked for afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = Path(sys.executable).parent / "tbss-hpc"
#: Commands at a time, whatever the machine has.
SLOTS = 2
#: What a machine's own set-up may hold that would change what the program does.
_FOREIGN = ("FSL", "SLURM_", "PBS_", "SGE_", "JOB_ID", "DASK_", "TBSS_HPC", "COLUMNS", "LINES")


class Answer(NamedTuple):
    """What came of something that was typed."""

    code: int
    out: str
    err: str


class Program:
    """The program, a folder to work in, a home, and a place for temporary files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "work"
        self.home = root / "home"
        self.tmp = root / "tmp"
        for folder in (self.folder, self.home, self.tmp):
            folder.mkdir()
        kept = {n: v for n, v in os.environ.items() if not n.startswith(_FOREIGN)}
        site = root / "site.yaml"
        site.write_text(f"scheduler: local\ncores: {SLOTS}\n")
        self.environment = {
            **kept,
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "TBSS_HPC_SITE": str(site),
        }
        self.witness = Witness(self.folder)

    def __call__(self, *words: object, stdin: str | bytes = b"") -> Answer:
        """Type something, and wait for its end."""
        done = subprocess.run(
            [PROGRAM, *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            check=False,
            timeout=processes.PATIENCE_SECONDS * 3,
        )
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words: object) -> subprocess.Popen[bytes]:
        """Type something that stays for a while, with Ctrl-C working as at a terminal."""
        return subprocess.Popen(
            [sys.executable, "-c", _WITH_CTRL_C, str(PROGRAM), *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def write(self, name: str, *lines: str) -> str:
        """Write a file with these lines; give its name."""
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))
        return name

    # -- how a run stands -----------------------------------------------------------------------

    def run_folder(self, name: str = "latest") -> Path:
        return self.folder / "tbss-hpc-runs" / name

    def status(self, *words: object) -> dict[str, Any]:
        answer = self("status", "--json", *words)
        assert answer.code == 0, answer.err
        status: dict[str, Any] = json.loads(answer.out)
        return status

    def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until the status is as wanted; give it."""
        found: list[dict[str, Any]] = []

        def holds() -> bool:
            found[:] = [self.status()]
            return bool(condition(found[0]))

        assert processes.until(holds), found[0]
        return found[0]

    def until_running(self, count: int = 1) -> dict[str, Any]:
        return self.until(lambda status: status["counts"]["running"] >= count)

    def until_gone(self, pid: int) -> None:
        assert processes.until(lambda: not processes.alive(pid))

    def controller(self) -> int:
        return int(self.status()["controller"]["pid"])

    def table(self, name: str = "status.tsv") -> list[dict[str, str]]:
        """Read a table of the newest run."""
        header, *rows = (self.run_folder() / name).read_text().splitlines()
        return [dict(zip(header.split("\t"), row.split("\t"), strict=True)) for row in rows]

    def verdicts(self) -> dict[str, str]:
        return {row["name"]: row["verdict"] for row in self.table()}

    # -- processes ------------------------------------------------------------------------------

    def processes(self) -> Iterator[int]:
        """Find all that was started here: by its home, its words or where it works."""
        home, root = f"HOME={self.home}", str(self.root)
        for pid in processes.living():
            if (
                home in processes.environment(pid)
                or root in processes.command_line(pid)
                or _works_in(pid).startswith(root)
            ):
                yield pid

    def workers(self) -> list[int]:
        """Find the processes of allocations: outer, inner and worker, in this order."""
        return sorted(
            pid for pid in self.processes() if "tbss_hpc.worker" in processes.command_line(pid)
        )

    def kill_controller(self, number: signal.Signals = signal.SIGKILL) -> None:
        pid = self.controller()
        processes.send(pid, number)
        self.until_gone(pid)


_WITH_CTRL_C = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Witness:
    """What commands themselves say of when they ran, outside all that tbss-hpc writes."""

    def __init__(self, folder: Path) -> None:
        self._said = folder / "witness"

    def line(self, name: str, seconds: float) -> str:
        """Give a command that says when it starts, ends, and meets its own double.

        The lock is the kernel's: whatever kills the command and all its children releases it.
        """
        return self._around(name, f"sleep {seconds}")

    def gate(self, name: str) -> str:
        """Give a command like that which runs until it is let go."""
        return self._around(name, f"until [ -e {name}.go ] || [ -e go ]; do sleep 0.1; done")

    def let_go(self, *names: str) -> None:
        """Let these commands end, or all of them, now and later."""
        for name in names or ("",):
            (self._said.parent / f"{name}.go".removeprefix(".")).touch()

    def _around(self, name: str, what: str) -> str:
        return (
            f"exec 9>>{name}.lock; flock -n 9 || echo double {name} >> witness;"
            f" echo start {name} >> witness; {what}; echo end {name} >> witness"
        )

    def said(self, what: str) -> list[str]:
        """Give the names of commands that said this, in order."""
        if not self._said.exists():
            return []
        words = (line.split() for line in self._said.read_text().splitlines())
        return [name for verb, name in words if verb == what]


def _works_in(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""
