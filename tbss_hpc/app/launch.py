"""Starting a controller that goes on when its terminal is closed."""

from __future__ import annotations

import subprocess
import sys
import time

from tbss_hpc.errors import ExitCode, FilesError, StoppedError
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.offer import read_offer

#: Seconds that a controller may take to start on a slow file system.
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.1


def launch(run: RunFolder) -> None:
    """Start a detached controller and wait until it controls the run.

    Raises StoppedError with its last words if it does not, FilesError if a full disk or the like
    was the reason.
    """
    before = read_offer(run)
    with run.controller_log.open("ab") as log:
        earlier = log.tell()
        controller = subprocess.Popen(
            [sys.executable, "-I", "-m", "tbss_hpc.app.control", str(run.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        if read_offer(run) != before:
            return
        if controller.poll() is not None:
            break
        time.sleep(LOOK_SECONDS)
    words = run.controller_log.read_bytes()[earlier:].decode(errors="replace").strip()
    kind = FilesError if controller.returncode == ExitCode.FILES else StoppedError
    raise kind(
        "The controller did not start.",
        why="\n".join(words.splitlines()[-20:]) or "it said nothing",
        fix=f"see {run.controller_log}, then `tbss-hpc resume --run {run.typed}`",
    )
