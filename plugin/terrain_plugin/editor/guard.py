"""Who may talk to the editor: whoever has this start's token, from a page of this very server.

A browser will send requests to 127.0.0.1 for any page in the world. Hence four walls, each enough for most attacks:
the Host must be one of ours (a name that was rebound to this machine is not), the Origin must be ours (another page's
is not), the token must be known (a program of another user does not know it), and what is answered cannot be framed,
sniffed or made to load anything from elsewhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_BYTES: Final = 24

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})

HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        b"worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
)
"""On every answer. The page's address holds the token once: no-referrer and no-store keep it here."""


def new_token() -> str:
    """A token that nobody can guess; anew at each start."""
    return secrets.token_urlsafe(TOKEN_BYTES)


class Guard:
    """ASGI middleware: lets through what may pass, with a cookie for whoever came with the token."""

    def __init__(self, app: ASGIApp, *, token: str, hosts: Iterable[str], port: int) -> None:
        """
        Args:
            token: of this start.
            hosts: names and addresses under which the server may be called, without a port.
            port: the server's.
        """
        self._app = app
        self._token = token
        self._hosts = frozenset(f"{host}:{port}".lower() for host in hosts)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)
        self._cookie = f"terrain_{port}"  # cookies know no ports: two servers must not take each other's

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        problem, greeted = self._examine(scope)
        if problem:
            await _refuse(problem, scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
                if greeted:
                    cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
                    message["headers"].append((b"set-cookie", cookie.encode()))
            await send(message)

        await self._app(scope, receive, with_headers)

    def _examine(self, scope: Scope) -> tuple[str, bool]:
        """Why the request is refused ("" if it is not), and whether it came with the token in its address."""
        headers = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0].decode("latin-1").lower() not in self._hosts:
            return "this server is not called that", False
        origins = [value.decode("latin-1").lower() for name, value in headers if name == b"origin"]
        asks_only = scope["type"] == "http" and scope["method"] in SAFE_METHODS
        if len(origins) > 1 or (origins and origins[0] not in self._origins) or not (origins or asks_only):
            return "a page from elsewhere", False
        if asks_only and scope["path"] == "/":
            for given in parse_qs(scope["query_string"].decode("latin-1")).get("token", [])[:1]:
                if self._is_token(given):
                    return "", True
        if any(self._is_token(given) for given in self._cookies(headers)):
            return "", False
        return "open the address that `terrain play` or `terrain edit` printed: it has this start's token in it", False

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())

    def _cookies(self, headers: Iterable[tuple[bytes, bytes]]) -> Iterable[str]:
        for name, value in headers:
            if name == b"cookie":
                try:
                    jar = SimpleCookie(value.decode("latin-1"))
                except CookieError:
                    continue
                if self._cookie in jar:
                    yield jar[self._cookie].value


async def _refuse(problem: str, scope: Scope, receive: Receive, send: Send) -> None:
    """403, before a WebSocket is opened too."""
    body = f"Refused: {problem}.\n".encode()
    headers = [*HEADERS, (b"content-type", b"text/plain; charset=utf-8")]
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
