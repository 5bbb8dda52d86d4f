"""controller.json: who controls a run, where workers find it, and whether it is over."""

from __future__ import annotations

import socket

import msgspec
from msgspec import Struct

from tbss_hpc.errors import FilesError
from tbss_hpc.store.atomic import replace_file
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.process import process_alive


class Offer(Struct, frozen=True):
    """What a controller says to its workers, and to whoever looks."""

    epoch: int
    host: str
    pid: int
    process: str  #: see `process_identity`
    version: str
    address: str  #: of the Dask scheduler
    dashboard: str  #: with the run's token
    started_at: float
    over: str = ""  #: how the run ended; empty while it goes on
    why: str = ""  #: why it ended so


def write_offer(run: RunFolder, offer: Offer) -> None:
    """Replace controller.json."""
    content = msgspec.json.format(msgspec.json.encode(offer), indent=2)
    replace_file(run.controller, content, mode=0o600)


def read_offer(run: RunFolder) -> Offer | None:
    """Read controller.json; None before the first controller."""
    try:
        return msgspec.json.decode(run.controller.read_bytes(), type=Offer)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise FilesError(
            "controller.json cannot be read, so nobody knows who controls the run.",
            why=f"{run.controller}: {error}",
            fix="remove the file if no controller of this run is alive, then `tbss-hpc resume`",
        ) from error


def controller_alive(offer: Offer) -> bool | None:
    """Tell whether a controller runs; None if it was on another host, where we cannot look."""
    if offer.host != socket.gethostname():
        return None
    return process_alive(offer.process)
