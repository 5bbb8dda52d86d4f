"""Ending a run, whether its controller lives or not."""

from __future__ import annotations

import time

from tbss_hpc.app.launch import launch
from tbss_hpc.app.observer import Observer
from tbss_hpc.core.actions import RunState
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.offer import controller_alive, read_offer
from tbss_hpc.store.requests import ask

LOOK_SECONDS = 0.5
#: Seconds that a controller on another host gets to show that it lives, by obeying.
PATIENCE_SECONDS = 60.0


def cancel_run(run: RunFolder) -> str:
    """Ask for the end of a run and wait for it; say what came of it."""
    observer = Observer(run)
    status = observer.look()
    if observer.machine.end is not None:
        return f"Run {run.name} has ended already: {status.state}."
    ask(run, "cancel")
    _make_sure_of_a_controller(run, observer)
    while observer.machine.end is None:
        time.sleep(LOOK_SECONDS)
        status = observer.look()
        if status.state == RunState.INTERRUPTED.value:
            launch(run)
    give_up = time.monotonic() + PATIENCE_SECONDS
    while observer.closing() and time.monotonic() < give_up:
        time.sleep(LOOK_SECONDS)
    counts = status.counts
    text = f"Run {run.name} is {status.state}: {counts.done} of {counts.total} are done"
    if not counts.cancelled:
        return f"{text}."
    return f"{text} and stay so; `tbss-hpc resume --run {run.typed}` would go on."


def _make_sure_of_a_controller(run: RunFolder, observer: Observer) -> None:
    offer = read_offer(run)
    alive = controller_alive(offer) if offer is not None else False
    if alive:
        return
    if alive is None and _obeys(observer):
        return
    launch(run)


def _obeys(observer: Observer) -> bool:
    """Tell whether a controller that we cannot see does what was asked."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        observer.look()
        if observer.machine.cancel_requested or observer.machine.end is not None:
            return True
        time.sleep(LOOK_SECONDS)
    return False
