"""What a node is called."""

from __future__ import annotations

import socket
from collections.abc import Mapping


def node_name(environ: Mapping[str, str]) -> str:
    """Give the name that the scheduler uses for this node, else the host's own."""
    return environ.get("SLURMD_NODENAME") or socket.gethostname()
