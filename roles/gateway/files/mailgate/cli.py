# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line `mailgate`.

Hosts compile what a command imports at each start, since the archive has no compiled code. So each command imports only
what it needs, and the options of a command are added when it is the one that runs.
"""

from __future__ import annotations

import argparse
import importlib
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mailgate import __version__
from mailgate.commands.help_texts import epilog
from mailgate.errors import Failure, Invalid

DEFAULT_CONFIG = Path("/etc/mailgate/mailgate.toml")
STYLES = ("table", "csv", "json")


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        text: What `--help` says about it.
        add: Adds its options and `run` to its parser; a name is that of a function below `mailgate.commands`.
        has_config: Whether it has the option --config.
    """

    text: str
    add: Callable[[argparse.ArgumentParser], None] | str
    has_config: bool = True

    def complete(self, parser: argparse.ArgumentParser) -> None:
        """Add the options."""
        if self.has_config:
            parser.add_argument("--config", type=Path, help=f"settings file (default: {DEFAULT_CONFIG})")
        else:
            parser.set_defaults(config=None)
        if callable(self.add):
            self.add(parser)
            return
        module, _dot, function = self.add.rpartition(".")
        getattr(importlib.import_module(f"mailgate.commands.{module}"), function)(parser)


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        Exit status: 0 for success, 1 for a failure, 2 for invalid settings, routes or arguments.
    """
    given = sys.argv[1:] if arguments is None else arguments
    options = argument_parser(given).parse_args(given)
    options.only_routes = options.config is None
    options.config = options.config or DEFAULT_CONFIG
    try:
        return int(options.run(options))
    except Invalid as error:
        if options.command == "check" and options.json:
            _print_json({"valid": False, "problems": error.problems})
            return 2
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except (Failure, sqlite3.Error) as error:
        print(f"mailgate: {error}", file=sys.stderr)
        return 1


def argument_parser(arguments: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser of the command line; of all commands but the one in `arguments`, it has the names only.

    Args:
        arguments: What is to be parsed; None for all options of all commands.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="mailgate",
        description="SMTP gateway in front of a campus's mail servers.",
        epilog=epilog(""),
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")
    wanted = None if arguments is None else next((each for each in arguments if not each.startswith("-")), "")
    for name, command in COMMANDS.items():
        sub = parsers.add_parser(
            name, help=command.text, description=command.text, epilog=epilog(name), formatter_class=raw
        )
        sub.set_defaults(command=name)
        if wanted in (None, name):
            command.complete(sub)
    return parser


# Options of the commands without a module of their own


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_serve)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--routes", type=Path, help="delivery table to check; without --config, check only this file")
    parser.add_argument("--json", action="store_true", help="print JSON, with all problems")
    parser.set_defaults(run=_check)


def _add_routes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=STYLES, default="table")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="as --format json")
    parser.set_defaults(run=_routes)


def _add_queue_data(parser: argparse.ArgumentParser) -> None:
    from mailgate.commands.mail_queue import QUEUE_SOCKET  # noqa: PLC0415 (as all of them)

    parser.add_argument("--socket", default=QUEUE_SOCKET, help=f"where to listen (default: {QUEUE_SOCKET})")
    parser.set_defaults(run=_queue_data)


def _add_dkim(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--zone", action="store_true", help="print only lines for a zone file; do not ask DNS")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_dkim)


def _add_unpack(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_unpack)


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--client", required=True, type=_address, help="IP address of the client")
    parser.add_argument("--helo", required=True, help="HELO or EHLO name")
    parser.add_argument("--from", required=True, dest="sender", metavar="FROM", help="sender; <> for the null sender")
    parser.add_argument("--to", required=True, dest="recipient", metavar="TO", help="recipient")
    content = parser.add_mutually_exclusive_group()
    content.add_argument(
        "--from-header", metavar="TEXT", help="header field From, for rules that have a condition on it"
    )
    content.add_argument(
        "--message", type=Path, metavar="FILE", help="the message, for these rules and for mail authentication"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    _add_language(parser)
    parser.set_defaults(run=_explain)


def _add_web(parser: argparse.ArgumentParser) -> None:
    _add_data_socket(parser)
    parser.set_defaults(run=_web)


def _add_web_data(parser: argparse.ArgumentParser) -> None:
    _add_data_socket(parser)
    parser.set_defaults(run=_web_data)


def _add_data_socket(parser: argparse.ArgumentParser) -> None:
    from mailgate.web_settings import DATA_SOCKET  # noqa: PLC0415

    parser.add_argument("--socket", default=DATA_SOCKET, help=f"socket of web-data (default: {DATA_SOCKET})")


def _add_status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, in English")
    _add_language(parser)
    parser.set_defaults(run=_status)


def _add_language(parser: argparse.ArgumentParser) -> None:
    from mailgate.config import LANGUAGES  # noqa: PLC0415

    parser.add_argument("--language", choices=LANGUAGES, help="language (default: the language setting)")


# In the order of `--help`.
COMMANDS = {
    "serve": Command("Run the service in the foreground.", _add_serve),
    "check": Command(
        "Check settings and routes; report every problem, and exit with status 2 if there is one.", _add_check
    ),
    "routes": Command("Print the delivery table.", _add_routes),
    "search": Command("Search events, newest last; exit with status 1 if nothing is found.", "search.add_search"),
    "trace": Command("Tell what happened to a mail, step by step, and where it is now.", "trace.add"),
    "tail": Command("Follow what happens to messages.", "search.add_tail"),
    "report": Command("Report messages processed, relay attempts refused and viruses found in a period.", "report.add"),
    "queue": Command("List what waits in the queue, for whom, since when and why; or try it now.", "queue.add"),
    "index": Command("Index events for search, trace and report; started by systemd.", "search.add_index"),
    "queue-data": Command(
        "Tell the web page what waits in the queue; started by systemd's mailgate-queue-data.socket.",
        _add_queue_data,
        has_config=False,
    ),
    "quarantine": Command("List, show, release or delete quarantined messages.", "quarantine.add"),
    "ban": Command("List, add or remove bans of clients on this gateway.", "ban.add"),
    "dkim": Command("Print the records of the DKIM keys; exit with status 1 if one of them is not in DNS.", _add_dkim),
    "unpack": Command(
        "Open archives for the service; started by systemd's mailgate-unpack.socket.", _add_unpack, has_config=False
    ),
    "explain": Command(
        "Explain in words what would happen to a message, and why; asks DNS and rspamd, and sends nothing.",
        _add_explain,
    ),
    "web": Command("Serve the web page for postmaster and faculties; started by systemd.", _add_web),
    "web-data": Command(
        "Answer the web page from the gateway's state; started by systemd's mailgate-web-data.socket.", _add_web_data
    ),
    "status": Command("Check the service and its dependencies; exit with status 1 if a check fails.", _add_status),
}


# What these commands do


def _address(text: str) -> str:
    """Parse an IP address."""
    import ipaddress  # noqa: PLC0415

    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid IP address") from None
    return str(getattr(found, "ipv4_mapped", None) or found)


def _serve(options: argparse.Namespace) -> int:
    import logging  # noqa: PLC0415

    from mailgate.process.supervisor import Service, StartError  # noqa: PLC0415

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        Service(options.config).run()
    except StartError as error:
        print(f"mailgate: {error}", file=sys.stderr)
        return 1
    return 0


def _dkim(options: argparse.Namespace) -> int:
    from mailgate.commands import dkim  # noqa: PLC0415

    return dkim.run(options)


def _queue_data(options: argparse.Namespace) -> int:
    from mailgate.commands import queue_data  # noqa: PLC0415

    return queue_data.main(options.socket)


def _unpack(_options: argparse.Namespace) -> int:
    from mailgate.archives import server  # noqa: PLC0415

    return server.main()


def _web(options: argparse.Namespace) -> int:
    from mailgate.config_file import load_config  # noqa: PLC0415
    from mailgate.web import app  # noqa: PLC0415

    return app.serve(load_config(options.config), options.socket)


def _web_data(options: argparse.Namespace) -> int:
    from mailgate.web import data_server  # noqa: PLC0415

    return data_server.main(options.config, options.socket)


def _check(options: argparse.Namespace) -> int:
    from mailgate.config_file import load, load_config  # noqa: PLC0415
    from mailgate.routes import load_routes  # noqa: PLC0415

    if options.routes and options.only_routes:
        # During the first installation, the table exists before the settings.
        own = load_config(options.config).own_addresses if options.config.exists() else ()
        number = len(load_routes(options.routes, own_addresses=own))
        line = f"{options.routes}: valid, {number} routes"
    else:
        config, routes = load(options.config, options.routes, warn=_warn, check_lists=True)
        number = len(routes)
        line = f"{options.config}: valid, {number} routes for {config.hostname}"
    if options.json:
        _print_json({"valid": True, "routes": number, "problems": []})
    else:
        print(line)
    return 0


def _warn(line: str) -> None:
    print(line, file=sys.stderr)


def _print_json(value: object) -> None:
    import json  # noqa: PLC0415

    print(json.dumps(value, indent=2))


def _routes(options: argparse.Namespace) -> int:
    from mailgate.config_file import load  # noqa: PLC0415

    _settings, routes = load(options.config)
    sys.stdout.write(routes.render(options.format))
    return 0


def _explain(options: argparse.Namespace) -> int:
    from mailgate.commands import explain  # noqa: PLC0415
    from mailgate.config import ConfigError  # noqa: PLC0415
    from mailgate.config_file import load  # noqa: PLC0415
    from mailgate.smtp.lines import normalize  # noqa: PLC0415

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
    from mailgate.commands import status  # noqa: PLC0415
    from mailgate.config_file import load  # noqa: PLC0415

    config, routes = load(options.config)
    checks = status.run_checks(config, routes)
    if options.json:
        _print_json([asdict(check) for check in checks])
    else:
        for line in status.lines(checks, options.language or config.language):
            print(line)
    return 0 if all(check.ok for check in checks) else 1
