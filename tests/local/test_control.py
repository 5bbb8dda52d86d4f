"""Steering a run: cancel, resume, attach, status, Ctrl-C and signals; and their exit codes."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from tests import processes

if TYPE_CHECKING:
    from tests.local.program import Program

STATES = ("done", "failed", "cancelled", "running", "waiting")


def long_list(tbss: Program) -> str:
    """Write a list whose second command is done at once and whose others take long."""
    lines = [f"{tbss.witness.gate('slow')}", tbss.witness.line("quick", 0)]
    return tbss.write("list", *lines, "exit 5", "sleep 300", "sleep 301")


def adds_up(status: dict[str, Any]) -> bool:
    """Tell whether every command is in exactly one place."""
    counts = status["counts"]
    return [sum(counts[state] for state in STATES), counts["total"]] == [5, 5]


def test_a_run_is_watched_cancelled_and_resumed(tbss: Program) -> None:
    assert tbss("submit", long_list(tbss), "--retries", 0).out.endswith("\n")
    running = tbss.until(lambda s: s["counts"]["done"] == 1 and s["counts"]["running"] == 2)
    text = tbss("status").out
    unchecked = tbss("status", "--check")
    cancelled = tbss("cancel")
    after = tbss.status()
    again = tbss("cancel")
    attached = tbss("attach")
    checked = tbss("status", "--check")

    assert adds_up(running)
    assert running["state"] == "running"
    assert running["controller"]["alive"] == "yes"
    assert running["running"][0]["command"] == "L1"
    assert running["allocations"][0]["slots"] > 0
    assert running["dashboard"].startswith("http://127.0.0.1:")
    assert running["dashboard"] in text
    assert (unchecked.code, cancelled.code, again.code) == (0, 0, 0)
    assert (attached.code, checked.code) == (4, 4)
    assert "ended already" in again.out
    assert adds_up(after)
    assert after["state"] == "cancelled"
    assert after["controller"]["alive"] == "no"
    assert after["dashboard"] == ""
    assert after["counts"]["cancelled"] == 3
    assert tbss.witness.said("start").count("quick") == 1

    assert tbss("resume", "--failed").code == 0
    tbss.until(lambda s: s["counts"]["running"] == 2)
    assert tbss.witness.said("start").count("quick") == 1
    assert tbss("resume").code == 4
    tbss.kill_controller()
    dead = tbss.status()
    cancelled = tbss("cancel")

    assert adds_up(dead)
    assert (dead["state"], dead["controller"]["alive"]) == ("interrupted", "no")
    assert cancelled.code == 0
    assert tbss.status()["state"] == "cancelled"
    assert tbss.witness.said("double") == []


def test_a_controller_in_the_foreground_ends_in_order_when_told_to(tbss: Program) -> None:
    tbss.write("list", *(tbss.witness.gate(name) for name in ("a", "b", "c")))
    for number, words in (
        (signal.SIGINT, ("submit", "list", "--foreground")),
        (signal.SIGTERM, ("resume", "--foreground")),
    ):
        controller = tbss.start(*words)
        assert processes.until(lambda: tbss.run_folder().exists())
        tbss.until(lambda s: s["counts"]["running"] and s["controller"]["alive"] == "yes")
        tbss.until(lambda s: s["allocations"][0]["state"] == "joined")
        controller.send_signal(number)
        _out, err = controller.communicate(timeout=processes.PATIENCE_SECONDS)

        assert controller.returncode == 4, err
        assert b"tbss-hpc resume --run" in err
        assert b"Traceback" not in err
        assert tbss.status()["state"] == "interrupted"
    tbss.witness.let_go()
    end = tbss("resume", "--foreground")

    assert end.code == 0
    assert tbss.witness.said("double") == []
    assert sorted(tbss.witness.said("start")) == ["a", "b", "c"]
    assert not [path for path in tbss.tmp.iterdir() if path.name.startswith("tbss-hpc-")]


def test_a_finished_run_has_nothing_to_go_on_with(tbss: Program) -> None:
    tbss.write("list", "true", "[ -e fixed ]")
    first = tbss("submit", "list", "--foreground", "--retries", 0)
    nothing = tbss("resume")
    tbss.write("fixed")
    failed = tbss("resume", "--failed", "--wait")
    finished = tbss("resume", "--wait")

    assert (first.code, nothing.code, failed.code, finished.code) == (1, 0, 0, 0)
    assert "--failed" in nothing.out
    assert [row["attempts"] for row in tbss.table()] == ["1", "2"]
