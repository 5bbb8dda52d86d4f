"""What a probe on a node is asked, and what it answers.

The probe itself (`worker.probe`) knows nothing but Python's own library, so that it can still speak
where a package is broken; it writes what these types read.
"""

from __future__ import annotations

from msgspec import Struct


class Endpoint(Struct, frozen=True):
    """An address of this host at which somebody listens."""

    interface: str
    address: str
    port: int


class Question(Struct, frozen=True):
    """What a node is to look at."""

    token: str  #: shows that the answer is to this question, and that a caller is the probe
    endpoints: tuple[Endpoint, ...]  #: to be called back
    ports: tuple[int, int] | None  #: that the node may listen on; None: any
    setup: tuple[str, ...]  #: the site's set-up lines
    wrap: tuple[str, ...]  #: words before every command
    programs: tuple[str, ...]  #: what the commands will start, absolute
    files: dict[str, int]  #: size in bytes of files that the node should see, by path
    folders: tuple[str, ...]  #: that the node should be able to write
    scratch: str | None  #: folder for temporary files, variables of the node not yet replaced


class Call(Struct, frozen=True):
    """How a call from the node to one endpoint went."""

    interface: str
    address: str
    port: int
    came_from: str  #: the node's own address on that way; empty if there is none
    error: str  #: empty if we answered


class Answer(Struct, frozen=True):
    """What a node saw, as far as the probe has come."""

    token: str
    stage: str  #: what the probe does next; empty when it has done all
    version: str  #: of tbss-hpc
    python: str
    node: str
    clock: float  #: Unix time by the node's clock when it began
    addresses: dict[str, str] = {}  #: of the node, by interface
    listening: int = 0  #: the node's own port, for a call from here; 0: it has none
    listening_error: str = ""
    calls: tuple[Call, ...] = ()
    files: dict[str, int] = {}  #: sizes as the node sees them; -1 for what it does not see
    folders: dict[str, str] = {}  #: what went wrong when writing there; empty for nothing
    scratch: str = ""  #: the folder for temporary files
    scratch_free: int = 0  #: bytes
    scratch_error: str = ""
    load_seconds: float = 0.0  #: that the worker's modules took to load
    load_error: str = ""
    setup_error: str = ""
    fsldir: str | None = None  #: as commands will have it; None: not asked yet
    programs: dict[str, bool] = {}  #: whether commands can start them
