"""The probe on the network: it calls the asker, and waits to be called. Python's library only."""

from __future__ import annotations

import hmac
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tbss_hpc.store.network import addresses, listen

__all__ = ["Ear", "addresses", "call"]

#: A firewall that drops packets never answers.
ANSWER_SECONDS = 5.0
_MOST_BYTES = 256


def call(endpoint: Mapping[str, Any], token: str) -> dict[str, Any]:
    """Call the asker at one of its addresses: the token and our time there, the token back."""
    came_from = ""
    error = ""
    where = (endpoint["address"], endpoint["port"])
    try:
        with socket.create_connection(where, timeout=ANSWER_SECONDS) as connection:
            came_from = str(connection.getsockname()[0])
            connection.sendall(f"{token} {time.time()}\n".encode())
            if not _says(connection, token):
                error = "somebody else answers there"
    except OSError as refused:
        error = refused.strerror or str(refused)
    return {**endpoint, "came_from": came_from, "error": error}


class Ear:
    """A port of this node on which the asker may call, as a controller calls a worker."""

    def __init__(self, ports: Sequence[int] | None, token: str) -> None:
        """Begin to listen; a port that cannot be had is told, not raised."""
        self.port = 0
        self.error = ""
        self._called = threading.Event()
        try:
            listener = listen("", (ports[0], ports[1]) if ports else None)
        except OSError as error:
            self.error = error.strerror or str(error)
            return
        self.port = listener.getsockname()[1]
        threading.Thread(target=self._hear, args=(listener, token), daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Wait to be called, if we can be."""
        if self.port:
            self._called.wait(seconds)

    def _hear(self, listener: socket.socket, token: str) -> None:
        while not self._called.is_set():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(ANSWER_SECONDS)
                try:
                    if _says(connection, token):
                        connection.sendall(f"{token}\n".encode())
                        self._called.set()
                except OSError:  # whoever it was has hung up
                    continue


def _says(connection: socket.socket, token: str) -> bool:
    line = connection.makefile("rb").readline(_MOST_BYTES).strip()
    return hmac.compare_digest(line, token.encode())
