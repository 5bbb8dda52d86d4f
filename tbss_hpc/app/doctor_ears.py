"""Listening where a controller would, for the probe's calls; and calling it back."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import socket
import time
from collections.abc import Iterable

from tbss_hpc.core.probe import Endpoint
from tbss_hpc.store.network import listen

ANSWER_SECONDS = 5.0
_MOST_BYTES = 256


class Ears:
    """Listens on addresses of this host; notes how far the caller's clock is from ours."""

    def __init__(self, token: str) -> None:
        """Prepare; only a caller that knows the token is answered."""
        self.endpoints: list[Endpoint] = []
        self.clock_ahead: float | None = None  #: seconds; None before the first call
        self._token = token
        self._servers: list[asyncio.Server] = []

    async def open(self, places: Iterable[tuple[str, str]], ports: tuple[int, int] | None) -> None:
        """Listen at each (interface, address). Raises OSError if the first cannot be had.

        The others are only there to find out which would do.
        """
        for number, (interface, address) in enumerate(places):
            try:
                listener = listen(address, ports)
            except OSError:
                if number == 0:
                    raise
                continue
            self._servers.append(await asyncio.start_server(self._answer, sock=listener))
            self.endpoints.append(Endpoint(interface, address, _port(listener)))

    def close(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, TimeoutError):
            line = await asyncio.wait_for(reader.readline(), ANSWER_SECONDS)
            token, _, clock = line[:_MOST_BYTES].decode(errors="replace").partition(" ")
            if hmac.compare_digest(token.encode(), self._token.encode()):
                self._compare(float(clock))
                writer.write(f"{self._token}\n".encode())
                await writer.drain()
        writer.close()

    def _compare(self, clock: float) -> None:
        """Keep the call that was the shortest time on its way."""
        ahead = clock - time.time()
        known = self.clock_ahead
        self.clock_ahead = ahead if known is None else max(known, ahead)


async def call_back(address: str, port: int, token: str) -> str:
    """Call a node as a controller calls a worker; say what went wrong, or nothing."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(f"{token}\n".encode())
            answer = (await reader.readline()).strip()
            writer.close()
    except TimeoutError:
        return "timed out"
    except OSError as error:
        # asyncio puts words of its own in place of the kernel's.
        return os.strerror(error.errno) if error.errno else str(error)
    return "" if answer == token.encode() else "somebody else answers there"


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])
