# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line `mailgate`."""

from __future__ import annotations

import argparse
import ipaddress
import json
import logging
import sqlite3
import sys
from dataclasses import asdict
from pathlib import Path

from mailgate import __version__
from mailgate.client.submit import QueueError
from mailgate.commands import ban, quarantine, queue, report, search, status, trace
from mailgate.commands.help_texts import epilog
from mailgate.commands.mail_queue import QUEUE_SOCKET
from mailgate.config import LANGUAGES, ConfigError
from mailgate.config_file import load, load_config
from mailgate.content.quarantine import QuarantineError
from mailgate.event_index.store import StoreError
from mailgate.routes import RoutesError, load_routes
from mailgate.smtp.lines import normalize
from mailgate.web_settings import DATA_SOCKET

DEFAULT_CONFIG = Path("/etc/mailgate/mailgate.toml")
STYLES = ("table", "csv", "json")


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        Exit status: 0 for success, 1 for a failure, 2 for invalid settings, routes or arguments.
    """
    options = argument_parser().parse_args(arguments)
    given = options.config
    options.config = given or DEFAULT_CONFIG
    options.only_routes = given is None
    try:
        return int(options.run(options))
    except (ConfigError, RoutesError) as error:
        if getattr(options, "command", "") == "check" and options.json:
            print(json.dumps({"valid": False, "problems": error.problems}, indent=2))
            return 2
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except (QuarantineError, QueueError, StoreError, sqlite3.Error) as error:
        print(f"mailgate: {error}", file=sys.stderr)
        return 1


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="mailgate",
        description="SMTP gateway in front of a campus's mail servers.",
        epilog=epilog(""),
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, epilog=epilog(name), formatter_class=raw)
        sub.add_argument("--config", type=Path, help=f"settings file (default: {DEFAULT_CONFIG})")
        sub.set_defaults(run=run, command=name)
        return sub

    command("serve", _serve, "Run the service in the foreground.")
    check = command(
        "check", _check, "Check settings and routes; report every problem, and exit with status 2 if there is one."
    )
    check.add_argument("--routes", type=Path, help="delivery table to check; without --config, check only this file")
    check.add_argument("--json", action="store_true", help="print JSON, with all problems")
    routes = command("routes", _routes, "Print the delivery table.")
    routes.add_argument("--format", choices=STYLES, default="table")
    routes.add_argument("--json", action="store_const", const="json", dest="format", help="as --format json")
    for name, add, text in (
        (
            "search",
            search.add_search,
            "Search events, newest last; exit with status 1 if nothing is found.",
        ),
        ("trace", trace.add, "Tell what happened to a mail, step by step, and where it is now."),
        ("tail", search.add_tail, "Follow what happens to messages."),
        ("report", report.add, "Report messages processed, relay attempts refused and viruses found in a period."),
        ("queue", queue.add, "List what waits in the queue, for whom, since when and why; or try it now."),
        ("index", search.add_index, "Index events for search, trace and report; started by systemd."),
    ):
        add(command(name, None, text))
    queue_data = commands.add_parser(
        "queue-data",
        help="Tell the web page what waits in the queue; started by systemd's mailgate-queue-data.socket.",
    )
    queue_data.add_argument("--socket", default=QUEUE_SOCKET, help=f"where to listen (default: {QUEUE_SOCKET})")
    queue_data.set_defaults(run=_queue_data, config=None)
    quarantine.add(command("quarantine", None, "List, show, release or delete quarantined messages."))
    ban.add(command("ban", None, "List, add or remove bans of clients on this gateway."))
    dkim = command(
        "dkim", _dkim, "Print the records of the DKIM keys; exit with status 1 if one of them is not in DNS."
    )
    dkim.add_argument("--zone", action="store_true", help="print only lines for a zone file; do not ask DNS")
    dkim.add_argument("--json", action="store_true", help="print JSON")
    unpack = commands.add_parser(
        "unpack", help="Open archives for the service; started by systemd's mailgate-unpack.socket."
    )
    unpack.set_defaults(run=_unpack, config=None)
    why = command(
        "explain",
        _explain,
        "Explain in words what would happen to a message, and why; asks DNS and rspamd, and sends nothing.",
    )
    why.add_argument("--client", required=True, type=_address, help="IP address of the client")
    why.add_argument("--helo", required=True, help="HELO or EHLO name")
    why.add_argument("--from", required=True, dest="sender", metavar="FROM", help="sender; <> for the null sender")
    why.add_argument("--to", required=True, dest="recipient", metavar="TO", help="recipient")
    content = why.add_mutually_exclusive_group()
    content.add_argument(
        "--from-header", metavar="TEXT", help="header field From, for rules that have a condition on it"
    )
    content.add_argument(
        "--message", type=Path, metavar="FILE", help="the message, for these rules and for mail authentication"
    )
    why.add_argument("--json", action="store_true", help="print JSON")
    why.add_argument("--language", choices=LANGUAGES, help="language (default: the language setting)")
    page = command("web", _web, "Serve the web page for postmaster and faculties; started by systemd.")
    data = command(
        "web-data",
        _web_data,
        "Answer the web page from the gateway's state; started by systemd's mailgate-web-data.socket.",
    )
    for sub in (page, data):
        sub.add_argument("--socket", default=DATA_SOCKET, help=f"socket of web-data (default: {DATA_SOCKET})")
    state = command("status", _status, "Check the service and its dependencies; exit with status 1 if a check fails.")
    state.add_argument("--json", action="store_true", help="print JSON, in English")
    state.add_argument("--language", choices=LANGUAGES, help="language (default: the language setting)")
    return parser


def _address(text: str) -> str:
    """Parse an IP address."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid IP address") from None
    return str(getattr(found, "ipv4_mapped", None) or found)


def _serve(options: argparse.Namespace) -> int:
    # Imported here because no other command needs the server, and its import takes a quarter of a command's start.
    from mailgate.process.supervisor import Service, StartError  # noqa: PLC0415

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        Service(options.config).run()
    except StartError as error:
        print(f"mailgate: {error}", file=sys.stderr)
        return 1
    return 0


def _dkim(options: argparse.Namespace) -> int:
    from mailgate.commands import dkim  # noqa: PLC0415 (imports dnspython and dkimpy)

    return dkim.run(options)


def _queue_data(options: argparse.Namespace) -> int:
    from mailgate.commands import queue_data  # noqa: PLC0415 (as above)

    return queue_data.main(options.socket)


def _unpack(_options: argparse.Namespace) -> int:
    from mailgate.archives import server  # noqa: PLC0415 (as above)

    return server.main()


def _web(options: argparse.Namespace) -> int:
    from mailgate.web import app  # noqa: PLC0415 (imports the web framework)

    return app.serve(load_config(options.config), options.socket)


def _web_data(options: argparse.Namespace) -> int:
    from mailgate.web import data_server  # noqa: PLC0415 (imports what few commands need)

    return data_server.main(options.config, options.socket)


def _check(options: argparse.Namespace) -> int:
    if options.routes and options.only_routes:
        # During the first installation, the table exists before the settings.
        own = load_config(options.config).own_addresses if options.config.exists() else ()
        number = len(load_routes(options.routes, own_addresses=own))
        line = f"{options.routes}: valid, {number} routes"
    else:
        config, routes = load(options.config, options.routes, warn=_warn, check_lists=True)
        number = len(routes)
        line = f"{options.config}: valid, {number} routes for {config.hostname}"
    print(json.dumps({"valid": True, "routes": number, "problems": []}, indent=2) if options.json else line)
    return 0


def _warn(line: str) -> None:
    print(line, file=sys.stderr)


def _routes(options: argparse.Namespace) -> int:
    _settings, routes = load(options.config)
    sys.stdout.write(routes.render(options.format))
    return 0


def _explain(options: argparse.Namespace) -> int:
    from mailgate.commands import explain  # noqa: PLC0415 (imports dnspython and the server)

    config, routes = load(options.config)
    language = options.language or config.language
    message = None
    if options.from_header is not None:
        message = f"From: {options.from_header}\r\n\r\n".encode()
    elif options.message:
        try:
            message = normalize(options.message.read_bytes())
        except OSError as error:
            raise ConfigError([f"--message: {options.message}: {error.strerror or error}"]) from error
    found = explain.explain(
        config,
        routes,
        client=options.client,
        helo=options.helo,
        sender=options.sender,
        recipient=options.recipient,
        language=language,
        message=message,
        whole=options.message is not None,
    )
    sys.stdout.write(explain.render(found, style="json" if options.json else "text", language=language))
    return 0


def _status(options: argparse.Namespace) -> int:
    config, routes = load(options.config)
    checks = status.run_checks(config, routes)
    if options.json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        for line in status.lines(checks, options.language or config.language):
            print(line)
    return 0 if all(check.ok for check in checks) else 1
