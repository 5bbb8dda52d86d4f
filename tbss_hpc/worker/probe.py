"""`python -I -m tbss_hpc.worker.probe --question FILE --into FILE`: what a node looks like.

Runs in the one small allocation of `tbss-hpc doctor`. Needs nothing but Python's own library, so
that it can still speak where a package is broken; the types of what it reads and writes are in
`core.probe`. After each stage it writes what it knows, so that a hanging stage can be named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tbss_hpc import __version__
from tbss_hpc.errors import TbssHpcError
from tbss_hpc.worker.environment import command_environment
from tbss_hpc.worker.node import node_name
from tbss_hpc.worker.probe_network import Ear, addresses, call

#: Seconds in which the asker may call back after it has read the answer.
LINGER_SECONDS = 30.0
#: Seconds that loading Dask from a busy file system, or starting a container, may take.
PATIENCE_SECONDS = 120.0
#: Says of each program whether the shell of a command could start it, and first where FSL is.
_LOOK = 'printf "%s\\n" "$FSLDIR"; for p; do test -x "$p" && echo yes || echo no; done'

Answer = dict[str, Any]


def main() -> int:
    """Answer the question, stage by stage; then wait to be called back."""
    arguments = _arguments()
    question: dict[str, Any] = json.loads(Path(arguments.question).read_bytes())
    into = Path(arguments.into)
    environ = dict(os.environ)
    ear = Ear(question["ports"], question["token"])
    answer = _beginning(question, environ, ear)
    for stage, found in _stages(question, environ):
        _write(into, {**answer, "stage": stage})
        answer |= found()
    _write(into, {**answer, "stage": ""})
    ear.wait(LINGER_SECONDS)
    return 0


def _beginning(question: Mapping[str, Any], environ: Mapping[str, str], ear: Ear) -> Answer:
    return {
        "clock": time.time(),
        "token": question["token"],
        "version": __version__,
        "python": platform.python_version(),
        "node": node_name(environ),
        "addresses": addresses(),
        "listening": ear.port,
        "listening_error": ear.error,
    }


def _stages(question: Mapping[str, Any], environ: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Name what is looked at, and how; what may hang comes last."""
    endpoints, token = question["endpoints"], question["token"]
    yield "calling back", lambda: {"calls": [call(one, token) for one in endpoints]}
    yield "looking for files", lambda: _shared(question["files"], question["folders"])
    yield "writing temporary files", lambda: _scratch(question["scratch"])
    yield "loading the worker's modules", _load
    yield "running the set-up lines", lambda: _surroundings(question, environ)


def _shared(files: Sequence[str], folders: Sequence[str]) -> Answer:
    written = {folder: _try_to_write(folder)[0] for folder in folders}
    return {"files": {path: _size(path) for path in files}, "folders": written}


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return -1


def _scratch(place: str | None) -> Answer:
    folder = tempfile.gettempdir() if place is None else os.path.expandvars(place)
    error, free = _try_to_write(folder)
    return {"scratch": folder, "scratch_error": error, "scratch_free": free}


def _try_to_write(folder: str) -> tuple[str, int]:
    """Write a file and remove it; say what went wrong, and how many bytes are free."""
    try:
        with tempfile.NamedTemporaryFile(prefix=".tbss-hpc-", dir=folder) as file:
            file.write(b"x" * 4096)
            file.flush()
            room = os.statvfs(folder)
    except OSError as error:
        return error.strerror or str(error), 0
    return "", room.f_bavail * room.f_frsize


def _load() -> Answer:
    """Load what the worker loads, in a process of its own that may fail."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tbss-hpc-") as folder:
        code = (
            "from pathlib import Path; from tbss_hpc.store.dask_files import keep_dask_to_itself;"
            f"keep_dask_to_itself(Path({folder!r}));"
            "import tbss_hpc.worker.program, tbss_hpc.worker.connection"
        )
        done = _run([sys.executable, "-I", "-c", code], dict(os.environ))
    error = "" if done.returncode == 0 else done.stderr.strip()
    return {"load_seconds": time.monotonic() - begin, "load_error": error}


def _surroundings(question: Mapping[str, Any], environ: Mapping[str, str]) -> Answer:
    """Look at the world as a command will see it."""
    try:
        environment = command_environment(environ, "probe", question["setup"], 1)
    except TbssHpcError as error:
        return {"setup_error": f"{error.what}\n{error.why}".strip()}
    except subprocess.TimeoutExpired as error:
        return {"setup_error": f"they did not end in {error.timeout:.0f} s"}
    home = environment.get("FSLDIR", "")
    programs = [*question["programs"], *([f"{home}/bin/fsl_reg"] if home else [])]
    look = [*question["wrap"], "bash", "-c", _LOOK, "probe", *programs]
    done = _run(look, environment)
    # A container may greet first.
    lines = done.stdout.splitlines()[-1 - len(programs) :]
    if done.returncode != 0 or len(lines) != 1 + len(programs):
        words = done.stderr.strip() or done.stdout.strip()
        return {"setup_error": f"`{' '.join(question['wrap'])} bash` does not work: {words}"}
    seen = dict(zip(programs, (line == "yes" for line in lines[1:]), strict=True))
    return {"fsldir": lines[0], "programs": seen}


def _run(argv: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except OSError as error:
        return subprocess.CompletedProcess(argv, 127, "", f"{argv[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        text = f"{argv[0]} did not end in {PATIENCE_SECONDS:.0f} s"
        return subprocess.CompletedProcess(argv, 124, "", text)


def _write(path: Path, answer: Answer) -> None:
    """Write the whole answer so far; a reader sees the old one or the new one."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(answer))
    temporary.replace(path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tbss_hpc.worker.probe", description=__doc__)
    parser.add_argument("--question", required=True, help="what to look at")
    parser.add_argument("--into", required=True, help="where the answer goes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
