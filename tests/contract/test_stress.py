"""Everything at once, counted by the commands themselves: none is lost, none meets its double."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from tbss_hpc.app.prepare import Typed, prepare
from tbss_hpc.app.runs import create_run
from tbss_hpc.app.work import Source
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.journal import JournalReader
from tests import processes
from tests.local.conftest import leaving_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.program import Program

COMMANDS = 300
#: Allocations end after so many seconds: their workers drain before, and others follow them.
WALLTIME_SECONDS = 10.0


@pytest.fixture
def tbss(tmp_path: Path) -> Iterator[Program]:
    with leaving_nothing(tmp_path) as program:
        yield program


def test_whatever_dies_every_command_is_made_once_at_a_time_and_to_its_end(tbss: Program) -> None:
    names = [f"L{line}" for line in range(1, COMMANDS + 1)]
    commands = tbss.write("commands", *(tbss.witness.line(name, 0.2) for name in names))
    create(tbss, commands)
    assert tbss("resume").code == 0

    let_some_end(tbss, 20)
    tbss.kill_controller()
    # What has been handed out goes on meanwhile, and its workers look for somebody to tell.
    assert tbss("resume").code == 0
    let_some_end(tbss, 80)
    killed = kill_a_worker(tbss)
    let_some_end(tbss, 120)
    tbss.kill_controller()
    assert tbss("resume").code == 0
    status = tbss.until(lambda status: status["state"] not in {"running", "interrupted"})

    # What a command says itself is compared with what we say of it.
    attempts = tbss.table("attempts.tsv")
    made = Counter(row["name"] for row in attempts if row["outcome"] != "not-started")
    lost = {row["name"]: row["allocation"] for row in attempts if row["outcome"] == "lost"}
    cut = {row["name"] for row in attempts if row["outcome"] == "cut"}
    starts, ends = (Counter(tbss.witness.said(what)) for what in ("start", "end"))
    assert (status["state"], status["counts"]["done"]) == ("finished", COMMANDS)
    assert tbss.witness.said("double") == []
    assert {name for name in names if made[name] < 1 or ends[name] < 1} == set()
    assert {name for name in names if starts[name] > made[name]} == set()
    assert {name for name in names if made[name] > 1} == lost.keys() | cut
    assert set(lost.values()) <= {killed}
    assert "worker-draining" in entries_before_the_last_issue(tbss)


def entries_before_the_last_issue(tbss: Program) -> set[str]:
    """Name what happened while there was still work to hand out."""
    run = RunFolder(tbss.run_folder().resolve())
    tags = [str(entry.__struct_config__.tag) for entry in JournalReader(run).new()]
    return set(tags[: len(tags) - tags[::-1].index("issue")])


def create(tbss: Program, commands: str) -> None:
    """Make a run whose local allocations end, as only those of a batch system do."""
    (tbss.root / "site.yaml").write_text("scheduler: local\ncores: 2\nworkers: 3\n")
    source = Source(str(tbss.folder / commands), None, None, (), None)
    site = Path(tbss.environment["TBSS_HPC_SITE"])
    typed = Typed(source, None, site, {}, timeout=None, retries=2, command_time="1s")
    prepared, _notes = prepare(typed, tbss.environment)
    plan = prepared.plan
    shape = structs.replace(plan.shape, walltime_seconds=WALLTIME_SECONDS)
    prepared = structs.replace(prepared, plan=structs.replace(plan, shape=shape))
    create_run(prepared, tbss.run_folder().parent, "stress")


def let_some_end(tbss: Program, count: int) -> None:
    said = tbss.witness.said
    assert processes.until(lambda: len(said("end")) >= count), f"only {len(said('end'))} ended"


def kill_a_worker(tbss: Program) -> str:
    """Kill the worker program of an allocation, not its watchers; name the allocation."""
    found: dict[str, int] = {}

    def any_whole() -> bool:
        found.clear()
        for pid in tbss.workers():
            words = processes.command_line(pid).split()
            found[words[words.index("--allocation") + 1]] = pid
        return bool(found)

    assert processes.until(any_whole)
    name, pid = next(iter(found.items()))
    processes.send(pid, signal.SIGKILL)
    tbss.until_gone(pid)
    return name
