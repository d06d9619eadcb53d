# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a month by mail: text, and the page as an attachment; sent once, through the queue."""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from pathlib import Path
from typing import Any

from mailgate.client.submit import submit
from mailgate.config import Config, ConfigError
from mailgate.period_report.page import page
from mailgate.period_report.tables import as_text
from mailgate.state import REPORT_SENT
from mailgate.translation import N_, translator

_MONTH = re.compile(r"(\d{4})-(\d\d)")
_SUBJECT = N_("Mail report of {month}, {host}")
_INTRODUCTION = N_("What the mail gateway {host} did in {month}. The attached page has charts and prints on A4.")


@dataclass(frozen=True)
class Month:
    """A month of local time: name (YYYY-MM), start, and end (exclusive)."""

    name: str
    since: datetime
    until: datetime


def parse_month(text: str) -> Month:
    """Parse YYYY-MM."""
    found = _MONTH.fullmatch(text)
    try:
        return _month(int(found[1]), int(found[2])) if found else _invalid(text)
    except (ValueError, OverflowError):
        return _invalid(text)


def _invalid(text: str) -> Month:
    raise argparse.ArgumentTypeError(f"{text!r} is not a valid month; expected for example 2026-07")


def last_month(now: datetime) -> Month:
    """Return the month before that of `now`, in its time zone."""
    return _month(now.year, now.month - 1) if now.month > 1 else _month(now.year - 1, 12)


def _month(year: int, number: int) -> Month:
    after = datetime(year + number // 12, number % 12 + 1, 1)
    return Month(f"{year:04}-{number:02}", datetime(year, number, 1).astimezone(), after.astimezone())


def others(config: Config) -> list[str]:
    """Return the names of the other gateways, whose mail is not in a report of this one."""
    return [name for name in config.own_names if name != config.hostname]


def send(
    config: Config, month: Month, language: str, collect: Callable[[], Mapping[str, Any]], *, again: bool = False
) -> int:
    """Send the report of a month, unless that or a later one was sent; return the exit status.

    Args:
        config: The settings.
        month: The month.
        language: Language of the report.
        collect: Returns the sum of the reports of the month.
        again: Whether it is sent even if it was before.

    Raises:
        ConfigError: There are no recipients, or the month is not over.
        QueueError: The queue did not accept it. It can be sent again.
    """
    if not config.report_mail_to:
        raise ConfigError(["report_mail_to: must name recipients for --mail"])
    if month.until > datetime.now().astimezone():
        raise ConfigError([f"--month: {month.name} is not over yet"])
    try:
        with _locked(config.state_dir):
            record = config.state_dir / REPORT_SENT
            sent = record.read_text(encoding="ascii").strip() if record.exists() else ""
            if month.name <= sent and not again:
                print(f"mailgate: nothing to send: the report of {sent} was sent before; --again sends {month.name}")
                return 0
            # Before the message, so that a disk that fails or is full does not make each attempt send another one.
            new = _prepare(record, max(month.name, sent))
            try:
                content = compose(config, month, language, collect())
                submit(
                    content,
                    sender=config.postmaster,
                    recipients=config.report_mail_to,
                    queue=(config.queue.host, config.queue.port),
                    hostname=config.hostname,
                )
                new.replace(record)
            finally:
                new.unlink(missing_ok=True)
    except BlockingIOError:
        print("mailgate: another process is sending the report", file=sys.stderr)
        return 1
    except (OSError, UnicodeDecodeError) as error:
        print(f"mailgate: the report of {month.name} is not sent, or not recorded as sent: {error}", file=sys.stderr)
        return 1
    print(f"mailgate: the report of {month.name} was sent to {', '.join(config.report_mail_to)}")
    return 0


def compose(config: Config, month: Month, language: str, report: Mapping[str, Any]) -> bytes:
    """Return the message, with CRLF line ends."""
    translate = translator(language)
    about = {"month": month.name, "host": config.hostname}
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f"Mail gateway <postmaster@{config.hostname}>"
    mail["To"] = ", ".join(config.report_mail_to)
    mail["Subject"] = translate(_SUBJECT).format(**about)
    mail["Date"] = formatdate(localtime=True)
    # The same for each attempt, so that a mail reader can tell a repeated message.
    mail["Message-ID"] = f"<{month.name}.report@{config.hostname}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["Content-Language"] = language
    text = f"{translate(_INTRODUCTION).format(**about)}\n\n{as_text(report, translate)}"
    mail.set_content(text, cte="base64")
    mail.add_attachment(
        page(report, translate, language, config.hostname),
        subtype="html",
        cte="base64",
        filename=f"mailgate-report-{month.name}.html",
    )
    return mail.as_bytes()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory; raise BlockingIOError if another process has it, or OSError."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _prepare(record: Path, text: str) -> Path:
    """Write the new record beside the old one, on disk; return its path."""
    new = record.with_name(f".{record.name}.new")
    # One that a killed process of root has left.
    new.unlink(missing_ok=True)
    with new.open("x", encoding="ascii") as file:
        # Root may run the command, too; the service's user reads the record.
        new.chmod(0o644)
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    return new
