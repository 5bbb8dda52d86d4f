"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A study folder (holding FA/), an FA/ folder, a file of commands, or - for standard"
        " input.",
    ),
]
Run = Annotated[
    str | None,
    typer.Option("--run", metavar="NAME", help="Which run; the newest one here if left out."),
]
NewRun = Annotated[
    str | None,
    typer.Option("--run", metavar="NAME", help="What to call the run; the time if left out."),
]
Runs = Annotated[
    Path,
    typer.Option("--runs", metavar="FOLDER", help="The folder that holds the runs."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Return when the run has ended; the exit code says how.")
]
Foreground = Annotated[
    bool,
    typer.Option(
        "--foreground", help="Control the run in this process; the default in a batch job."
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="fsl|greedy",
        help="What registers a pair; follows from what the study already holds, or from FSLDIR.",
    ),
]
Chdir = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Where commands run; their file's folder if left out."),
]
Expect = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEMPLATE",
        help="An output of every command, such as '{3}_warp.nii.gz': {0} is the program of the"
        " line, {3} its third argument. May be repeated. The suffix decides how it is proved.",
    ),
]
ExpectFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Outputs, tab-separated, one line for each command."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="local|slurm", help="Where to run; the site file's own if left out."),
]
SiteFile = Annotated[
    Path | None,
    typer.Option("--site", metavar="FILE", help="The site file that describes your cluster."),
]
Workers = Annotated[
    str | None,
    typer.Option(metavar="N", help="Allocations (batch jobs) at once."),
]
Queue = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Partition or queue, instead of the site file's."),
]
Account = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who is charged, instead of the site file's.")
]
Cores = Annotated[str | None, typer.Option(metavar="N", help="CPU cores of one allocation.")]
Memory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Memory of one allocation, such as 8G.")
]
Walltime = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="The longest an allocation may be, such as 12:00:00."),
]
CoresPerCommand = Annotated[
    str | None,
    typer.Option(metavar="N", help="CPU cores that one command uses."),
]
Timeout = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Kill a command that runs longer, such as '30 min'."),
]
Retries = Annotated[
    int, typer.Option(metavar="N", min=0, help="More attempts for a command that fails.")
]
CommandTime = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="How long one command takes, such as '5 min'."),
]


def site_options(**typed: str | None) -> dict[str, str]:
    """Name the site keys that options set, where they were typed."""
    return {name: text for name, text in typed.items() if text is not None}
