# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web page as an ASGI application, and `mailgate web`, which serves it."""

from __future__ import annotations

import ipaddress
import logging
import sys
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailgate.config import Config, Endpoint
from mailgate.web import pages
from mailgate.web.rendering import style
from mailgate.web.request import PageError, Site, Visit

Handler = Callable[[Visit], Awaitable[Response]]

HEADERS = {
    # Nothing but the page's own style sheet: no script, no image, no other host.
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
# Requests at a time; further ones get 503 at once.
CONCURRENCY = 64
KEEP_ALIVE_SECONDS = 20


class Guard:
    """Answers only the web servers in front, and gives every response the headers above."""

    def __init__(self, app: ASGIApp, config: Config) -> None:
        self._app = app
        self._proxies = frozenset(config.web.proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        client = scope.get("client")
        if client and self._is_proxy(client[0]):
            await self._app(scope, receive, send_with_headers)
        else:
            refused = Response("Forbidden: not a web server of this page\n", 403, media_type="text/plain")
            await refused(scope, receive, send_with_headers)

    def _is_proxy(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        plain = getattr(address, "ipv4_mapped", None) or address
        return str(plain) in self._proxies if self._proxies else plain.is_loopback


def application(config: Config, socket: str) -> ASGIApp:
    """Return the application; `socket` is where `mailgate web-data` listens."""
    site = Site(config, socket)

    def route(path: str, handler: Handler, *methods: str, name: str = "") -> Route:
        async def endpoint(request: Request) -> Response:
            visit = Visit(site, request)
            try:
                visit.sign_in()
                return await handler(visit)
            except PageError as error:
                return visit.error(error.reason, error.detail)

        return Route(path, endpoint, methods=methods or ("GET",), name=name or handler.__name__)

    async def sheet(_request: Request) -> Response:
        return Response(style(), media_type="text/css")

    async def http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        visit = Visit(site, request)
        try:
            visit.sign_in()
        except PageError as refused:
            return visit.error(refused.reason)
        return visit.error({404: "not_found", 405: "method", 500: "error"}.get(status, "invalid"))

    app = Starlette(
        routes=[
            route("/", pages.now),
            route("/search", pages.search),
            route("/mail", pages.mail),
            route("/live", pages.live),
            route("/queue", pages.queue),
            route("/report", pages.report),
            route("/routes", pages.routes),
            route("/address", pages.address),
            route("/quarantine", pages.quarantine),
            route("/quarantine/{number}", pages.kept),
            route("/quarantine/{number}/{action}", pages.change, "POST"),
            route("/language/{language}", pages.language),
            Route("/style.css", sheet, methods=["GET"]),
        ],
        exception_handlers={HTTPException: http_error, Exception: http_error},
    )
    # Otherwise it redirects to an address that it makes of the Host header.
    app.router.redirect_slashes = False
    return Guard(app, config)


def serve(config: Config, socket: str) -> int:
    """Serve the page until stopped by TERM or INT."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    listen = Endpoint.parse(config.web.listen)
    settings = uvicorn.Config(
        application(config, socket),
        host=listen.host,
        port=listen.port,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        # The address of a client is that of the connection: the headers of a proxy say nothing else.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONCURRENCY,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(settings)
    server.run()
    return 0 if server.started else 1
