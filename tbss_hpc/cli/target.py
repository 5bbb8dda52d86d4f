"""`tbss-hpc target`: the most typical subject, by every pair's score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tbss_hpc.app.work import study_of
from tbss_hpc.cli import options
from tbss_hpc.report.score_matrix import score_matrix_svg
from tbss_hpc.store.atomic import replace_file
from tbss_hpc.tbss.target import Scores, as_dict, score


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(target)


def target(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="A study folder (holding FA/) or an FA/ folder.")
    ] = Path(),
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Draw the score matrix as SVG."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Name the subject that all others are least warped to, as tbss_3_postreg will choose it.

    Refuses while the result of any pair is missing or invalid, and lists those.
    """
    found = study_of(study)
    scores = score(found)
    if picture is not None:
        title = f"Registration scores of {Path(found.root).name}"
        replace_file(picture, score_matrix_svg(scores, title).encode())
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(as_dict(scores)), indent=2).decode())
    else:
        typer.echo("\n".join(score_lines(scores)))


def score_lines(scores: Scores) -> list[str]:
    """List every subject with its score, the most typical first."""
    mean = dict(zip(scores.subjects, scores.means, strict=True))
    order = sorted(scores.subjects, key=lambda subject: (mean[subject], subject != scores.best))
    width = max(len(subject) for subject in order)
    lines = [f"{'subject':<{width}}  mean squared warp to it (mm^2)"]
    notes = {scores.best: "  <- most typical", scores.runner_up: "  runner-up"}
    lines += [f"{s:<{width}}  {mean[s]:.6f}{notes.get(s, '')}" for s in order]
    return lines
