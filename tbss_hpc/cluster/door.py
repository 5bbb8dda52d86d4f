"""The door of the dashboard: every page and web socket asks for the run's token."""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import SimpleCookie
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import Application, OutputTransform, RequestHandler

TOKEN_ARGUMENT = "token"  # noqa: S105 - the name of the argument, not a token
#: What a page may load: what we serve ourselves, and what it holds. bokeh needs all of it.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws: wss:"


class Refuse(RequestHandler):
    """Says that a token is needed, whatever was asked for."""

    def prepare(self) -> None:
        """End every request the same way."""
        self.set_status(403)
        self.finish(
            "This page belongs to a tbss-hpc run. Open the address that "
            "`tbss-hpc status` shows; it carries the token.\n"
        )


class Enter(RequestHandler):
    """Trades the token in the address for a cookie, so that it does not stay in the address."""

    def initialize(self, cookie: str, value: str) -> None:
        """Take what the guard knows."""
        self._cookie = cookie
        self._value = value

    def get(self) -> None:
        """Set the cookie and show the same page without the token."""
        # Lax, not Strict: a strict cookie would not be sent on the redirect that follows.
        self.set_cookie(self._cookie, self._value, httponly=True, samesite="Lax")
        self.redirect(self.request.path)


class KeepInside(OutputTransform):
    """Keeps browsers from other hosts: Dask's Info pages name a style sheet of one."""

    def transform_first_chunk(
        self,
        status_code: int,
        headers: HTTPHeaders,
        chunk: bytes,
        finishing: bool,  # noqa: FBT001 - the signature of the library
    ) -> Any:
        """Say with every page where it may load from."""
        headers["Content-Security-Policy"] = POLICY
        headers["Referrer-Policy"] = "no-referrer"
        return super().transform_first_chunk(status_code, headers, chunk, finishing)


def guard(application: Application, token: str, port: int) -> None:
    """Put the door before every route of a web application, those added later included."""
    inner: Any = application.find_handler
    # Cookies do not tell ports apart, so the name does; the value does not give the token away.
    name = f"tbss-hpc-{port}"
    value = hashlib.sha256(f"{port}:{token}".encode()).hexdigest()

    def find_handler(request: HTTPServerRequest, **keywords: Any) -> Any:
        if _cookie_holds(request, name, value):
            return inner(request, **keywords)
        if request.method == "GET" and _token_holds(request, token):
            arguments = {"cookie": name, "value": value}
            return application.get_handler_delegate(request, Enter, arguments)
        return application.get_handler_delegate(request, Refuse)

    application.add_transform(KeepInside)
    # The one place that sees every request, web sockets included.
    application.find_handler = find_handler


def _cookie_holds(request: HTTPServerRequest, name: str, value: str) -> bool:
    cookies: SimpleCookie = request.cookies
    # As bytes: of text, `compare_digest` takes only ASCII, and a cookie may hold anything.
    return name in cookies and hmac.compare_digest(cookies[name].value.encode(), value.encode())


def _token_holds(request: HTTPServerRequest, token: str) -> bool:
    given = request.query_arguments.get(TOKEN_ARGUMENT, [])
    return any(hmac.compare_digest(one, token.encode()) for one in given)
