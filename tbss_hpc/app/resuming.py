"""Going on with a run."""

from __future__ import annotations

from tbss_hpc.app.observer import Observer
from tbss_hpc.app.runs import claim_study, refuse_if_controlled
from tbss_hpc.core.actions import RunState
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.requests import ask


def ready_to_resume(run: RunFolder, *, retry_failed: bool) -> str:
    """Make a run ready for its next controller; say why there is nothing to go on with, if so.

    A cancel that was asked for and not done when the last controller died is done first.

    Raises StoppedError if a living controller has the run, or another run has its study.
    """
    refuse_if_controlled(run)
    observer = Observer(run)
    status = observer.look()
    if status.state == RunState.INCOMPLETE.value and not retry_failed:
        return (
            f"Run {run.name} has tried everything: {status.counts.failed} failed for good. "
            "Try those again with --failed."
        )
    claim_study(run, observer.work)
    if retry_failed:
        ask(run, "retry")
    return ""
