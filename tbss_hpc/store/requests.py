"""What is asked of a controller: one small file each, taken away when it was journalled."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from tbss_hpc.store.atomic import replace_file
from tbss_hpc.store.folder import RunFolder


class Request(Struct, frozen=True):
    """Something asked of the controller."""

    kind: Literal["cancel", "retry"]
    by: str  #: who asked


def ask(run: RunFolder, kind: Literal["cancel", "retry"]) -> None:
    """Leave a request for the controller of a run."""
    request = Request(kind, _user())
    name = f"{time.time_ns()}-{os.getpid()}-{kind}.json"
    replace_file(run.requests / name, msgspec.json.encode(request))


def pending(run: RunFolder) -> list[tuple[Path, Request]]:
    """List what was asked, oldest first."""
    found = ((path, _read(path)) for path in sorted(run.requests.glob("[0-9]*.json")))
    return [(path, request) for path, request in found if request is not None]


def _read(path: Path) -> Request | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Request)
    except FileNotFoundError:
        return None  # another controller has taken it away
    except msgspec.DecodeError:
        return None  # what a newer version asks for; it stays for a controller that knows it


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose users have no names
        return f"user {os.getuid()}"


def take_away(requests: Iterable[tuple[Path, Request]]) -> None:
    """Remove requests that have been journalled."""
    for path, _request in requests:
        path.unlink(missing_ok=True)
