"""Where a server can be reached, and by whom."""

import ipaddress
import socket

from seqlab.errors import UserError

KEY = "SEQLAB_API_KEY"  # the variable with the key that clients need


def is_own_address(host: str) -> bool:
    """True for a name or an address of this machine, perhaps with a port, as browsers write it."""
    names = (host, host.removeprefix("[").partition("]")[0], host.partition(":")[0])
    return any(name == "localhost" or is_loopback(name) for name in names)


def is_loopback(name: str) -> bool:
    """True for an address that only this machine reaches."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_address(host: str, key: str | None) -> None:
    """Refuse an address that others reach without a key. Raises UserError."""
    if not is_own_address(host) and not key:
        raise UserError(f"host={host} can be reached by others: put a key that they need into ${KEY} first.")


def open_port(host: str, port: int) -> socket.socket:
    """A socket at an address, before anything is loaded. Raises UserError if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only if the socket names TCP; without it the parts of an answer come 40 ms apart
    place = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((host, port))
        place.listen()
    except (OSError, OverflowError) as error:
        place.close()
        raise UserError(f"port={port} of {host} cannot be used ({error}): give another port, or host.") from error
    return place
