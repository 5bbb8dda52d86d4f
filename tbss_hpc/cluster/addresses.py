"""Where a controller would listen, as Dask chooses it."""

from __future__ import annotations

from distributed.utils import get_ip, get_ip_interface

from tbss_hpc.errors import UsageError
from tbss_hpc.store.network import addresses

LOOPBACK = "127.0.0.1"


def contact_address(interface: str | None, *, loopback: bool) -> str:
    """Give the address that workers would be told.

    Raises UsageError if this host has no such interface.
    """
    if loopback:
        return LOOPBACK
    if interface is None:
        return str(get_ip())
    try:
        return str(get_ip_interface(interface))
    except ValueError as error:
        raise UsageError(
            f"This host has no network interface {interface}.",
            why=", ".join(f"{name}: {address}" for name, address in addresses().items()),
            fix="set `interface` in the site file to one of these, or remove it",
        ) from error
