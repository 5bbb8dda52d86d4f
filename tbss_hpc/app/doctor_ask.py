"""Running other people's programs for `doctor`: one that is missing or hangs is an answer, too."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from tbss_hpc.schedulers.reply import Reply

#: A busy slurmctld may take a while.
ANSWER_SECONDS = 30.0


def ask(argv: Sequence[str], environ: Mapping[str, str]) -> Reply:
    """Run a program and take what it says."""
    try:
        done = subprocess.run(
            argv,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        words = f"{argv[0]} did not answer in {ANSWER_SECONDS:.0f} s"
        return Reply(tuple(argv), 124, "", words)
    except OSError as error:
        return Reply(tuple(argv), 127, "", f"{argv[0]}: {error.strerror}")
    return Reply(tuple(argv), done.returncode, done.stdout, done.stderr)
