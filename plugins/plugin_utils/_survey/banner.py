# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What port 25 of an address answers, without sending mail."""

from __future__ import annotations

import smtplib
import socket
from contextlib import suppress
from typing import Any


def banner(address: str, timeout: float, port: int = 25) -> dict[str, Any]:
    """Return the greeting of an SMTP server and its extensions, or the error."""
    session = smtplib.SMTP(local_hostname=socket.gethostname() or "localhost", timeout=timeout)
    try:
        try:
            code, greeting = session.connect(address, port)
            found = {"address": address, "code": code, "text": _text(greeting), "extensions": [], "error": ""}
            if code == 220:
                session.ehlo()
                found["extensions"] = sorted(session.esmtp_features)
            return found
        finally:
            with suppress(OSError):  # includes every error of smtplib
                session.quit()
            session.close()
    except OSError as error:
        text = error.strerror or str(error) or type(error).__name__
        return {"address": address, "code": 0, "text": "", "extensions": [], "error": text}


def _text(greeting: bytes) -> str:
    return " ".join(greeting.decode("utf-8", "replace").split())
