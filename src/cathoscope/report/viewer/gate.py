"""Who may ask: only pages of this server, under its own name, with its token where it has one. Reading only."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; style-src 'self'; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that is bound to ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_names(host: str) -> frozenset[str]:
    """Names under which a server bound to ``host`` may be asked; its own address of a connection is one besides."""
    if is_loopback(host):
        return _LOOPBACK_NAMES | {host}
    machine = {socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(_LOOPBACK_NAMES | machine | {host.lower()}) - {"0.0.0.0", "::", ""}  # noqa: S104


@dataclass(frozen=True)
class Gate:
    """Lets a request through to ``app``, or answers why not.

    ``names`` are the values of the header Host that are this server's; a page of another site whose name was made to
    point here has another one. ``token`` is asked for with every request unless it is empty: in the query of the first
    one, then as a cookie.
    """

    app: ASGIApp
    names: frozenset[str]
    token: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            """Add the headers that keep other sites out."""
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS, *self._cookie(scope)]
            await send(message)

        refused = self._refusal(scope)
        await (refused or self.app)(scope, receive, send_guarded if refused is None else _plain(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("this viewer only reads\n", 405, {"allow": "GET, HEAD"})
        server = scope.get("server") or ("", 0)
        if _host_name(headers.get("host", "")) not in self.names | {str(server[0]).lower()}:
            return PlainTextResponse("this is not the name of this viewer\n", 421)
        navigates = headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not navigates:
            return PlainTextResponse("another site may not ask\n", 403)
        if self.token and not self._knows_token(scope, headers):
            words = "a token is needed: open the address that cathoscope view printed\n"
            return PlainTextResponse(words, 401)
        return None

    def _knows_token(self, scope: Scope, headers: dict[str, str]) -> bool:
        try:
            kept = SimpleCookie(headers.get("cookie", "")).get(_cookie_name(scope))
        except CookieError:
            kept = None
        shown = self._shown(scope) + ([kept.value] if kept else [])
        if headers.get("authorization", "").startswith("Bearer "):
            shown.append(headers["authorization"].removeprefix("Bearer "))
        return any([hmac.compare_digest(one.encode(), self.token.encode()) for one in shown])  # noqa: C419

    def _shown(self, scope: Scope) -> list[str]:
        return parse_qs(scope["query_string"].decode("latin-1")).get("token", [])

    def _cookie(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        if not self.token or not self._shown(scope):
            return []
        cookie = f"{_cookie_name(scope)}={self.token}; HttpOnly; SameSite=Strict; Path=/"
        return [(b"set-cookie", cookie.encode())]


def _cookie_name(scope: Scope) -> str:
    """Cookies do not know ports, and two viewers may run on one machine."""
    return f"cathoscope-{(scope.get('server') or ('', 0))[1]}"


def _host_name(host: str) -> str:
    """The name in a header Host, without the port, which a tunnel changes."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _plain(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        """Refusals carry the headers too, but never a cookie."""
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_HEADERS]
        await send(message)

    return guarded
