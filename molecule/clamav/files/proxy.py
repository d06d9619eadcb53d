# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP proxy that requires a user name and a password, with one mirror behind it. Runs on a host; logs to /run.

freshclam requests a tunnel (CONNECT) for plain HTTP too; the mirror at its end has one file.
"""

import base64
import http.server
from pathlib import Path

MIRROR = "mirror.univ.example:80"
FILE = "/clamav/campus.ndb"
SIGNATURE = b"Mailgate.Test.Proxied:0:*:6d61696c676174652d6c61622d76697275732d6265796f6e642d612d70726f7879\n"
CREDENTIALS = "Basic " + base64.b64encode(b"gateway:s3cret word").decode()


class Proxy(http.server.BaseHTTPRequestHandler):
    """Proxy, and mirror once a tunnel is open."""

    protocol_version = "HTTP/1.1"
    through = False

    def do_CONNECT(self) -> None:
        """Open a tunnel to the mirror if the credentials are right."""
        known = self.headers.get("Proxy-Authorization") == CREDENTIALS
        self.through = known and self.path == MIRROR
        self._answer(200 if self.through else 403 if known else 407)

    def do_GET(self) -> None:
        """Serve the file through the tunnel."""
        found = self.through and self.path == FILE
        self._answer(200 if found else 404, SIGNATURE if found else b"nothing")

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes = b"") -> None:
        with Path("/run/proxy.log").open("a") as log:
            log.write(f"{self.client_address[0]} {self.command} {self.path} {status}\n")
        self.send_response(status)
        if status == 407:
            self.send_header("Proxy-Authenticate", 'Basic realm="campus"')
        if self.command != "CONNECT" or not self.through:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


http.server.ThreadingHTTPServer(("", 3128), Proxy).serve_forever()
