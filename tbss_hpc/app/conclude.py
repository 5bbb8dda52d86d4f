"""What is left to do when a run has ended: give the study back, choose its target."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from tbss_hpc.app.runs import release_study
from tbss_hpc.app.work import Work
from tbss_hpc.core.actions import End, RunState
from tbss_hpc.errors import TbssHpcError
from tbss_hpc.report.score_matrix import score_matrix_svg
from tbss_hpc.store.atomic import replace_file
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.tbss.study import Study
from tbss_hpc.tbss.target import Scores, as_dict, score

log = logging.getLogger("tbss_hpc")


def conclude(run: RunFolder, work: Work, end: End) -> None:
    """Release the study, and write its scores if every pair is proved."""
    release_study(run, work)
    if work.study is None or end.state is not RunState.FINISHED:
        return
    try:
        write_scores(run, work.study, [command.name for command in work.commands])
    except TbssHpcError as error:
        log.warning("%s", error)
    except OSError as error:
        log.warning("The scores cannot be written (`tbss-hpc target` shows them): %s", error)


def write_scores(run: RunFolder, study: Study, proved: list[str]) -> Scores:
    """Write the scores and their picture into the run folder.

    proved -- names of pairs whose results were proved by this run.

    Raises StoppedError if a result is missing or invalid.
    """
    scores = score(study, frozenset(proved))
    json = msgspec.json.format(msgspec.json.encode(as_dict(scores)), indent=2)
    replace_file(run.scores, json)
    title = f"Registration scores of {Path(study.root).name}"
    replace_file(run.score_picture, score_matrix_svg(scores, title).encode())
    return scores
