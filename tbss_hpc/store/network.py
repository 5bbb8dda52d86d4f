"""The network addresses of this host, from the kernel. Python's own library only."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

_SIOCGIFADDR = 0x8915
#: The kernel keeps 15 letters of an interface's name.
_NAME_BYTES = 15


def addresses() -> dict[str, str]:
    """Give the IPv4 address of each network interface that has one; nothing where we cannot ask."""
    found: dict[str, str] = {}
    if not sys.platform.startswith("linux"):
        return found
    for _, name in socket.if_nameindex():
        with contextlib.suppress(OSError):  # it is down, or has no such address
            found[name] = _address(name)
    return found


def _address(name: str) -> str:
    import fcntl  # noqa: PLC0415 - not on every system

    request = struct.pack("256s", name.encode()[:_NAME_BYTES])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        return socket.inet_ntoa(fcntl.ioctl(channel.fileno(), _SIOCGIFADDR, request)[20:24])


def listen(address: str, ports: tuple[int, int] | None) -> socket.socket:
    """Listen at an address, on the first free port of a range.

    Raises OSError if there is none.
    """
    low, high = ports or (0, 0)
    for port in range(low, high + 1):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen()
        except OSError:
            listener.close()
            if port == high:
                raise
        else:
            return listener
    raise OSError(f"{low}-{high} is no range of ports")
