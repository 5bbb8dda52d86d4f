"""`python -I -m tbss_hpc.app.control RUN`: the controller as a program of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TextIO

from tbss_hpc import __version__
from tbss_hpc.app.conclude import conclude
from tbss_hpc.app.spec import read_plan, read_run_site, read_work
from tbss_hpc.core.actions import End, RunState
from tbss_hpc.errors import ExitCode, StoppedError, TbssHpcError, refused_by_file_system
from tbss_hpc.store.dask_files import keep_dask_to_itself
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.journal import newest_epoch
from tbss_hpc.store.offer import Offer
from tbss_hpc.store.process import process_identity


def control_here(run: RunFolder) -> End:
    """Control a run in this process until it ends.

    Raises what `Controller.control` raises, StoppedError if this process is told to end, and
    FilesError if the run folder takes nothing.
    """
    scratch = Path(tempfile.mkdtemp(prefix="tbss-hpc-"))
    try:
        keep_dask_to_itself(scratch)
        end = asyncio.run(_control(run))
    except (KeyboardInterrupt, asyncio.CancelledError) as interruption:
        raise _told_to_end(run) from interruption
    except OSError as error:
        refusal = refused_by_file_system(error)
        if refusal is None:
            raise
        raise refusal from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    conclude(run, read_work(run), end)
    return end


async def _control(run: RunFolder) -> End:
    # Dask is imported here and not above: `status` and `--help` share modules with this one.
    from tbss_hpc.app.controller import Controller  # noqa: PLC0415
    from tbss_hpc.cluster.batches import batch_for  # noqa: PLC0415

    # As Ctrl-C does (asyncio's own doing): whoever sends SIGTERM gets an orderly end, too.
    if (this := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    batch = batch_for(run, read_run_site(run), read_plan(run).shape)
    return await Controller(run, batch, _offer(run)).control()


def _told_to_end(run: RunFolder) -> StoppedError:
    return StoppedError(
        f"The controller of run {run.name} was told to end before the run was over.",
        why="Ctrl-C, or the signal that `kill` and batch systems send",
        fix=f"commands that run go on, and nothing is lost: `tbss-hpc resume --run {run.typed}`",
    )


def _offer(run: RunFolder) -> Offer:
    return Offer(
        epoch=newest_epoch(run) + 1,
        host=socket.gethostname(),
        pid=os.getpid(),
        process=process_identity(os.getpid()),
        version=__version__,
        address="",
        dashboard="",
        started_at=time.time(),
    )


def exit_code(end: End) -> ExitCode:
    """Say by an exit code how a run ended."""
    match end.state:
        case RunState.FINISHED:
            return ExitCode.DONE
        case RunState.INCOMPLETE:
            return ExitCode.COMMANDS_FAILED
        case RunState.STOPPED if end.cluster:
            return ExitCode.CLUSTER
        case _:
            return ExitCode.STOPPED


def log_to(stream: TextIO) -> None:
    """Write what happens as sentences with their time."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s"))
    log = logging.getLogger("tbss_hpc")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def main() -> int:
    """Control the run that is named, saying what happens on standard output."""
    log_to(sys.stdout)
    # A closed terminal is no reason to stop; what was asked for with `cancel` comes by file.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        return exit_code(control_here(RunFolder(Path(sys.argv[1]))))
    except TbssHpcError as error:
        sys.stdout.write(f"{error}\n")
        return error.exit_code
    except Exception:  # noqa: BLE001 - the last word of a program that nobody watches
        traceback.print_exc(file=sys.stdout)
        sys.stdout.write(f"This is a bug in tbss-hpc {__version__}; please report it.\n")
        return ExitCode.BUG


if __name__ == "__main__":
    sys.exit(main())
