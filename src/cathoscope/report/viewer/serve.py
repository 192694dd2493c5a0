"""Serving a study to a browser on this machine."""

from __future__ import annotations

import ctypes
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import uvicorn

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.study import Study
from cathoscope.report.viewer.app import Viewer
from cathoscope.report.viewer.gate import Gate, is_loopback, own_names
from cathoscope.report.viewer.voxel import Fit

_MOST_AT_ONCE = 64
_MMAP_THRESHOLD, _LARGE = -3, 1 << 20  # M_MMAP_THRESHOLD of malloc.h; bytes


@dataclass(frozen=True)
class Served:
    """A server that is about to run: its socket, its address and its token (empty where none is asked for)."""

    server: uvicorn.Server
    listener: socket.socket
    address: str
    token: str

    def run(self) -> None:
        """Answer until stopped."""
        self.server.run(sockets=[self.listener])


def served(study: Study, *, host: str, port: int, with_token: bool = False, fit: Fit | None = None) -> Served:
    """A server of ``study``, bound and ready to run.

    Parameters
    ----------
    host, port
        Where to listen; port 0 for any that is free.
    with_token
        Ask for a token on this machine too; elsewhere one is always asked for.
    fit
        What fits the spectrum of a voxel.

    Raises
    ------
    CathoscopeError
        If the place is taken or not this machine's.
    """
    token = secrets.token_urlsafe(24) if with_token or not is_loopback(host) else ""
    listener = _bound(host, port)
    gate = Gate(Viewer(study, fit).app(), own_names(host), token)
    config = uvicorn.Config(
        gate,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_AT_ONCE,
        timeout_graceful_shutdown=1,
    )
    shown = host if host not in ("0.0.0.0", "::", "") else socket.gethostname()  # noqa: S104
    address = f"http://{f'[{shown}]' if ':' in shown else shown}:{listener.getsockname()[1]}/"
    return Served(uvicorn.Server(config), listener, address + (f"?token={token}" if token else ""), token)


def _bound(host: str, port: int) -> socket.socket:
    listener = None
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(128)
    except (OSError, OverflowError) as error:
        if listener is not None:
            listener.close()
        raise CathoscopeError(
            "the viewer cannot listen here",
            where=f"{host}, port {port}",
            found=str(error),
            cure="choose another port with --port, or 0 for any that is free",
        ) from None
    return listener


def view(
    study: Study, *, host: str, port: int, with_token: bool = False, fit: Fit | None = None, say: Callable[[str], None]
) -> None:
    """Serve ``study`` until stopped; ``say`` is told the address."""
    _return_memory()
    serving = served(study, host=host, port=port, with_token=with_token, fit=fit)
    say(serving.address)
    serving.run()


def _return_memory() -> None:
    """Memory of large arrays goes back to the system with them: the C library of GNU would keep a tenth of all."""
    with suppress(OSError, AttributeError, TypeError):  # other systems have no such thing
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
