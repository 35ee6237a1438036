"""Loopback ports: the usual one where it is free, else any free one."""

import contextlib
import random
import socket

LOOPBACK = "127.0.0.1"


_FIRST, _LAST = 20_000, 32_000
"""Below the range the system takes outgoing ports from: nobody's connection is given one of these meanwhile."""


def choose_port(usual: int = 0) -> int:
    """The usual port if nobody listens there, else a free one drawn at random; the caller takes it soon."""
    drawn = random.sample(range(_FIRST, _LAST), 50)
    for candidate in (usual, *drawn) if usual else drawn:
        with contextlib.suppress(OSError), socket.socket() as probe:
            # A port in TIME_WAIT counts as free, as it does for the servers themselves.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, candidate))
            return int(probe.getsockname()[1])
    raise OSError("No free port on 127.0.0.1. End what listens there; see: ss -ltn")


def may_listen(pid: int, address: str) -> bool:
    """Whether this process may be who answers at `address`: false only if it is known not to listen there."""
    import psutil

    port = int(address.rpartition(":")[2])
    try:
        listening = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return True
    return port == 0 or any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in listening)


def accepts_connections(port: int, within_seconds: float = 0.5) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), within_seconds):
        return True
    return False
