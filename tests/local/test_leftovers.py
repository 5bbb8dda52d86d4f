"""What a run leaves behind, and what it must not."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from tests import processes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.program import Program


def mode(path: Path) -> int:
    """Give the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_run_folder_is_left_and_only_its_owner_may_look(tbss: Program) -> None:
    tbss.write("list", "until [ -e go ]; do sleep 0.1; done")
    answer = tbss("submit", "list")
    assert answer.code == 0
    tbss.until_running()
    run = tbss.run_folder().resolve()
    keys = list((run / "tls").iterdir())
    modes = {path.name: mode(path) for path in (run, run / "tls", run / "controller.json", *keys)}
    tbss.write("go")
    assert tbss("attach").code == 0

    assert modes == {
        run.name: 0o700,
        "tls": 0o700,
        "controller.json": 0o600,
        "run.key": 0o600,
        "run.crt": modes["run.crt"],
    }
    assert not (run / "tls" / "run.key").exists()
    assert processes.until(lambda: not list(tbss.processes()))
    assert list(tbss.home.iterdir()) == []
    assert list(tbss.tmp.iterdir()) == []
    assert list((run / "requests").iterdir()) == []
    assert [path for path in run.rglob("*") if path.name.endswith(".tmp")] == []
    assert {path.name for path in tbss.folder.iterdir()} == {
        "list",
        "go",
        "tbss-hpc-runs",
    }
    assert {path.name for path in run.iterdir()} >= {
        "status.tsv",
        "attempts.tsv",
        "failed.commands",
        "commands.txt",
        "plan.json",
        "site.yaml",
        "controller.json",
        "controller.log",
        "journal",
        "records",
        "logs",
        "allocations",
    }


def test_nothing_is_written_by_what_only_looks(tbss: Program) -> None:
    tbss.write("list", "true")
    for words in (("plan", "list"), ("submit", "list", "--dry-run"), ("status",), ("--help",)):
        tbss(*words)

    assert [path.name for path in tbss.folder.iterdir()] == ["list"]
    assert list(tbss.home.iterdir()) == []
    assert list(tbss.tmp.iterdir()) == []
