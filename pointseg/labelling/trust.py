"""Who may talk to the page: this machine's browser, or whoever has the token; never another page in that browser."""

import hmac
import secrets
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

LOCAL = ("127.0.0.1", "localhost", "[::1]")
COOKIE = "pointseg_token"
# Nothing is fetched from anywhere else. NiceGUI compiles its templates in the browser, hence 'unsafe-eval'.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the first address holds the token
}


def is_local(host: str) -> bool:
    return host in ("127.0.0.1", "localhost", "::1")


def new_token() -> str:
    return secrets.token_urlsafe(24)


class Guard:
    """ASGI middleware that looks at every request and every websocket before anything else does.

    port: that this machine's browser names. token: needed of everybody where it is not None; then the page may be
    reached under any name.
    """

    def __init__(self, app: Any, port: int, token: str | None) -> None:
        self.app, self.token = app, token
        self.hosts = {f"{name}:{port}" for name in LOCAL} | (set(LOCAL) if port == 80 else set())

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._foreign(scope, headers)
        if refusal is None and self.token is not None and not self._knows(headers):
            if scope["type"] == "http" and self._given(scope):
                await _answer(send, 303, "", {"location": "/", "set-cookie": self._cookie()})
                return
            refusal = "the address needs its token; copy it whole from where pointseg label was started"
        if refusal is None:
            await self.app(scope, receive, _with_headers(send) if scope["type"] == "http" else send)
        elif scope["type"] == "http":
            await _answer(send, 403, f"Refused: {refusal}.\n", {})
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _foreign(self, scope: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
        """Why a request is not of this page; None where it is."""
        host = headers.get("host", "")
        if self.token is None and host not in self.hosts:
            return "this name is not that of this machine (see docs/label.md)"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "another page asks"
        opened = headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/" and scope.get("method") == "GET"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not opened:
            return "another page asks"
        return None

    def _knows(self, headers: Mapping[str, str]) -> bool:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        return cookie is not None and self._right(cookie.value)

    def _given(self, scope: Mapping[str, Any]) -> bool:
        found = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        return self._right(found[0])

    def _right(self, value: str) -> bool:
        assert self.token is not None
        return hmac.compare_digest(value.encode(), self.token.encode())

    def _cookie(self) -> str:
        return f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"


def _with_headers(send: Any) -> Any:
    async def answer(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *own]}
        await send(message)

    return answer


async def _answer(send: Any, status: int, text: str, headers: Mapping[str, str]) -> None:
    named = {"content-type": "text/plain; charset=utf-8", **HEADERS, **headers}
    listed = [(name.encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": text.encode()})
