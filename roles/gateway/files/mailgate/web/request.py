# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A request to the web page: its user, its language, and its questions to the gateways."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from mailgate.config import LANGUAGES, Config
from mailgate.translation import Text, translator
from mailgate.web import texts
from mailgate.web.access import Access, access_of
from mailgate.web.data_client import Data, DataError
from mailgate.web.peers import endpoints
from mailgate.web.rendering import render

COOKIE = "mailgate_language"
MAX_BODY = 16 * 1024
_MAX_NAME = 200
_STATUS = {
    "not_signed_in": 401, "forbidden": 403, "not_found": 404, "invalid": 400, "method": 405, "form_expired": 403,
    "too_large": 413, "failed": 503, "unreachable": 503, "error": 500,
}  # fmt: skip


class PageError(Exception):
    """A page that says what is wrong; `reason` is a key of `texts.ERRORS`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason if reason in texts.ERRORS else "failed"
        self.detail = detail


@dataclass
class Site:
    """What all requests have in common.

    Attributes:
        config: Settings.
        socket: Where `mailgate web-data` listens.
        key: Key of the tokens in forms; another one after a restart.
    """

    config: Config
    socket: str
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))


@dataclass
class Answer:
    """What a gateway has answered, or why it has not."""

    gateway: str
    answer: dict[str, Any] | None = None
    problem: str = ""


class Visit:
    """One request."""

    def __init__(self, site: Site, request: Request) -> None:
        """Read the language; the user is read by `sign_in`, so that errors have a language too."""
        self.site = site
        self.request = request
        chosen = request.cookies.get(COOKIE, "")
        self.language = chosen if chosen in LANGUAGES else site.config.language
        self.translate = translator(self.language)
        self.access: Access | None = None
        self._groups: list[str] = []

    def sign_in(self) -> Access:
        """Return what the user may do, by the headers of the web server in front; raise PageError."""
        settings = self.site.config.web
        user = self._header(settings.user_header)
        if not user:
            raise PageError("not_signed_in")
        if settings.groups_header:
            self._groups = [each.strip() for each in re.split("[,;]", self._header(settings.groups_header))]
        self.access = access_of(self.site.config, user, [each for each in self._groups if each])
        if self.access is None:
            raise PageError("forbidden", user)
        return self.access

    def _header(self, name: str) -> str:
        """Return the value of a header; empty if it is missing, or there is more than one."""
        found = self.request.headers.getlist(name)
        if len(found) != 1 or len(found[0]) > _MAX_NAME * 20:
            return ""
        return found[0].encode("latin-1").decode("utf-8", "replace").strip()

    # Questions to the gateways

    @property
    def _data(self) -> Data:
        if self.access is None:
            raise PageError("not_signed_in")
        return Data(self.site.socket, self.access.user, self._groups)

    @property
    def gateways(self) -> list[str]:
        """Names of the gateways, this one first."""
        return [self.site.config.hostname, *endpoints(self.site.config.web)]

    @property
    def gateway(self) -> str:
        """The gateway that the address of the page names, by default this one; raise PageError."""
        name = self.parameter("gateway", self.gateways[0])
        if name not in self.gateways:
            raise PageError("not_found")
        return name

    async def ask(self, operation: str, **arguments: object) -> dict[str, Any]:
        """Return the answer of the page's gateway to a question; raise PageError."""
        try:
            return await self._ask(self.gateway, operation, arguments)
        except DataError as error:
            raise PageError(error.reason, str(error)) from error

    async def _ask(self, gateway: str, operation: str, arguments: Mapping[str, object]) -> dict[str, Any]:
        return await self._data.ask(operation, arguments, "" if gateway == self.gateways[0] else gateway)

    async def ask_all(self, operation: str, **arguments: object) -> list[Answer]:
        """Return the answers of all gateways; one that fails has a problem in place of an answer.

        Raises:
            PageError: The question is not valid or not allowed on this gateway.
        """
        return list(await asyncio.gather(*(self._ask_one(name, operation, arguments) for name in self.gateways)))

    async def _ask_one(self, gateway: str, operation: str, arguments: Mapping[str, object]) -> Answer:
        try:
            return Answer(gateway, await self._ask(gateway, operation, arguments))
        except DataError as error:
            if gateway == self.gateways[0] and error.reason in ("forbidden", "invalid"):
                raise PageError(error.reason, str(error)) from error
            title = texts.ERRORS[error.reason if error.reason in texts.ERRORS else "failed"][0]
            return Answer(gateway, problem=f"{self.translate(title)}: {error}")

    # Forms

    @property
    def token(self) -> str:
        """Token of this user's forms, which no other site knows."""
        user = self.access.user if self.access else ""
        return hmac.new(self.site.key, user.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    async def form(self) -> Mapping[str, str]:
        """Return the fields of a form of this page; raise PageError if another site sent it."""
        headers = self.request.headers
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise PageError("form_expired")
        body = b""
        async for piece in self.request.stream():
            body += piece
            if len(body) > MAX_BODY:
                raise PageError("too_large")
        try:
            fields = {name: values[-1] for name, values in parse_qs(body.decode("ascii"), max_num_fields=20).items()}
        except ValueError:
            raise PageError("invalid") from None
        if not hmac.compare_digest(fields.get("token", "").encode("utf-8", "replace"), self.token.encode("ascii")):
            raise PageError("form_expired")
        return fields

    def parameter(self, name: str, default: str = "") -> str:
        """Return a parameter of the address, without the spaces at its ends."""
        return self.request.query_params.get(name, default).strip()[:400]

    # Answers

    def page(self, name: str, status: int = 200, **values: Any) -> Response:
        """Return a page.

        Args:
            name: Template.
            status: HTTP status.
            values: Values of the template.
        """
        here = self.request.url.path
        if self.request.url.query:
            here += f"?{self.request.url.query}"
        common = {
            "_": lambda text: self.translate(Text(text)),
            "access": self.access,
            "hostname": self.site.config.hostname,
            "language": self.language,
            "languages": {"en": "English", "ja": "日本語"},
            "here": here if self.request.method == "GET" else "/",
            "path": self.request.url.path,
            "gateways": self.gateways,
            "texts": texts,
            "token": self.token,
            "urlencode": urlencode,
            "problems": (),
            "notes": (),
        }
        return HTMLResponse(render(name, {**common, **values}), status_code=status)

    def error(self, reason: str, detail: str = "") -> Response:
        """Return the page of an error."""
        title, text = texts.ERRORS[reason]
        return self.page(
            "error.html.j2", _STATUS[reason], title=self.translate(title), text=self.translate(text), detail=detail
        )
