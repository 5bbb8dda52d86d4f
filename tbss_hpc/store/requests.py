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
    request = Request(kind, getpass.getuser())
    name = f"{time.time_ns()}-{os.getpid()}-{kind}.json"
    replace_file(run.requests / name, msgspec.json.encode(request))


def pending(run: RunFolder) -> list[tuple[Path, Request]]:
    """List what was asked, oldest first."""
    files = sorted(run.requests.glob("[0-9]*.json"))
    return [(path, msgspec.json.decode(path.read_bytes(), type=Request)) for path in files]


def take_away(requests: Iterable[tuple[Path, Request]]) -> None:
    """Remove requests that have been journalled."""
    for path, _request in requests:
        path.unlink(missing_ok=True)
