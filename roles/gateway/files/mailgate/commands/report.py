# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate report`: messages processed, relay attempts refused, viruses found in a period; then what the index has."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from mailgate.commands import report_mail
from mailgate.commands.event_options import add_period, note
from mailgate.commands.report_countries import countries
from mailgate.commands.report_data import Report, as_json, collect
from mailgate.config import LANGUAGES, Config, ConfigError
from mailgate.config_file import load_config
from mailgate.event_index.stores import open_store
from mailgate.period_report.page import page
from mailgate.period_report.sums import added
from mailgate.period_report.tables import as_csv, as_text
from mailgate.routes import RoutesError, load_routes
from mailgate.translation import translator

STYLES = ("table", "csv", "json")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_period(parser)
    parser.add_argument(
        "--month",
        type=report_mail.parse_month,
        metavar="YYYY-MM",
        help="a whole month, in place of --since and --until",
    )
    parser.add_argument("--top", type=int, default=20, metavar="N", help="entries of each list (default: 20)")
    parser.add_argument("--format", choices=STYLES, default="table")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="as --format json")
    parser.add_argument("--language", choices=LANGUAGES, help="language of the report (default: the language setting)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts, and print nothing")
    parser.add_argument(
        "--mail",
        action="store_true",
        help="send the report of a month (default: the last one) to report_mail_to, once; started by systemd",
    )
    parser.add_argument("--again", action="store_true", help="with --mail: also if it was sent before")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print, write or send the report."""
    config = load_config(options.config)
    language = options.language or config.language
    top = max(1, options.top)
    if options.month and (options.since or options.until):
        raise ConfigError(["--month: not with --since or --until"])
    if options.again and not options.mail:
        raise ConfigError(["--again: only with --mail"])
    if options.mail:
        if options.since or options.until or options.html or options.format != "table":
            raise ConfigError(["--mail: only with --month, --language and --again"])
        month = options.month or report_mail.last_month(datetime.now().astimezone())
        return report_mail.send(
            config, month, language, lambda: _sums(config, month.since, month.until, top), again=options.again
        )
    until = options.until or datetime.now().astimezone()
    since = options.since or until - timedelta(days=30)
    if options.month:
        since, until = options.month.since, options.month.until
    if since >= until:
        raise ConfigError(["--since must be before --until"])
    if options.html:
        sums = _sums(config, since, until, top)
        return _write(options.html, page(sums, translator(language), language, config.hostname, top=top))
    report = _collect(config, since, until, by_domain=options.format == "json")
    sys.stdout.write(render(report, style=options.format, language=language, top=top, hostname=config.hostname))
    return 0


def _collect(config: Config, since: datetime, until: datetime, *, by_domain: bool = False) -> Report:
    """Return the report.

    Args:
        config: The settings.
        since: Start.
        until: End, exclusive.
        by_domain: Whether it has what the pages of faculties need.
    """
    with closing(open_store(config, note)) as store:
        report = collect(config, store, since, until, _is_own(config) if by_domain else None)
    if config.report_countries:
        try:
            report.lists["countries"] = countries(Path(config.report_countries), report.lists["networks"])
        except (OSError, ValueError, csv.Error) as error:
            # The rest of the report does not need it.
            note(f"report_countries: {config.report_countries}: {error}")
    return report


def _is_own(config: Config) -> Callable[[str], bool]:
    """Return what finds out whether a domain has a route; without valid routes, all are taken for the campus's own."""
    try:
        routes = load_routes(config.routes_file, own_addresses=config.own_addresses)
    except RoutesError:
        return lambda _domain: True
    return lambda domain: routes.find(domain) is not None


def _sums(config: Config, since: datetime, until: datetime, top: int) -> dict[str, object]:
    report = as_json(_collect(config, since, until), top)
    return added({config.hostname: report}, others=report_mail.others(config))


def render(report: Report, *, style: str, language: str, top: int, hostname: str = "") -> str:
    """Return the report.

    Args:
        report: The data.
        style: `table`, `csv` or `json`.
        language: Language of the titles of tables and CSV files.
        top: Entries of each list.
        hostname: Name of the gateway.
    """
    data = as_json(report, top)
    if style == "json":
        return json.dumps(data, indent=2) + "\n"
    write = as_csv if style == "csv" else as_text
    return write(added({hostname: data}), translator(language), top)


def _write(path: Path, text: str) -> int:
    """Write a file; return the exit status."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"mailgate: --html: {path}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0
