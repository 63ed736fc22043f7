"""Refuse requests that the person at the browser did not make: other sites' posts, other names of
this machine, and, where there is a token, everybody without it.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse

COOKIE = "xray_tf_token"
OPEN = ("/api/health",)  # answered without a token
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or address means this machine only."""
    if host.lower().rstrip(".") in ("localhost", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Guard:
    """An ASGI application that lets only some requests through to another.

    A page of another site may send a form here, and with a name of its own that leads to this
    machine (DNS rebinding) even read the answer. So posts from other origins are refused, and so
    is every request to another name than a loopback one, unless there is a token.

    Attributes:
        app: the application behind it.
        token: what has to be shown, as `Authorization: Bearer`, or once as `?token=`, which a
            cookie then remembers; empty for none.
    """

    app: Any
    token: str = ""

    async def __call__(self, scope, receive, send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = HTTPConnection(scope)

        async def guarded(message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        answer = self._refusal(request, scope["method"]) or self.app
        await answer(scope, receive, guarded)

    def _refusal(self, request: HTTPConnection, method: str) -> Any:
        """Return what to answer instead of asking the application; None to ask it."""
        if not self.token and not is_loopback(_name(_host(request))):
            return _error(
                403,
                "wrong-host",
                f"This server answers to 127.0.0.1 and localhost. Received: {_host(request)!r}.",
            )
        if method not in ("GET", "HEAD") and _is_foreign(request):
            return _error(403, "cross-site", "Posts from pages of other sites are refused.")
        if not self.token or request.url.path in OPEN:
            return None
        shown = parse_qs(request.url.query).get("token", [""])[0]
        if method == "GET" and request.url.path == "/" and self._fits(shown):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
            return answer
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._fits(bearer.strip()):
            return None
        if self._fits(request.cookies.get(COOKIE, "")):
            return None
        answer = _error(
            401,
            "token",
            "A token is needed: open the address that the server printed, or send "
            "`Authorization: Bearer TOKEN`.",
        )
        answer.headers["www-authenticate"] = "Bearer"
        return answer

    def _fits(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self.token.encode())


def _host(request: HTTPConnection) -> str:
    return request.headers.get("host", "")


def _name(netloc: str) -> str:
    """Return the host's name in `name:port`; empty where it is malformed."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _is_foreign(request: HTTPConnection) -> bool:
    """Tell whether a browser says that a page of another origin sent a request."""
    origin = request.headers.get("origin")
    if origin is not None:
        return origin.partition("://")[2] != _host(request)
    return request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none")


def _error(status: int, kind: str, text: str) -> JSONResponse:
    return JSONResponse({"error": text, "kind": kind}, status)
