# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `--help` and the manual page say below the options: examples and exit statuses."""

from __future__ import annotations

EXIT_STATUS = {
    0: "success",
    1: "failure, or nothing found",
    2: "invalid settings, routes or arguments",
}
EXAMPLES = {
    "": (
        ("mailgate status", "does the gateway work?"),
        ("mailgate trace alice@eng.univ.example", "what happened to her mail?"),
        ("mailgate queue", "what waits, and why?"),
        ("mailgate COMMAND --help", "options and examples of a command"),
    ),
    "check": (("mailgate check --config new.toml --routes new-routes", "check files before they are installed"),),
    "dkim": (
        ("mailgate dkim", "which domains are signed, and which records does DNS need?"),
        ("mailgate dkim --zone", "lines for a zone file"),
    ),
    "queue": (
        ("mailgate queue --domain eng.univ.example", "only mail for a domain"),
        ("mailgate queue --retry --domain eng.univ.example", "try it now"),
    ),
    "report": (
        ("mailgate report --since 2026-07-01 --until 2026-08-01", "a month, beside the time before"),
        ("mailgate report --since 7d --json", "for programs"),
        ("mailgate report --month 2026-07 --html report.html", "a page with charts, which prints on A4"),
        ("mailgate report --mail --again", "send the report of the last month once more"),
    ),
    "search": (
        ("mailgate search --to alice@eng.univ.example --since 2d", "her mail of two days"),
        ("mailgate search --domain eng.univ.example --verdict refused", "what was refused for a domain"),
        ("mailgate search --client 198.51.100.0/24 --json", "a network, a JSON object per line"),
    ),
    "tail": (("mailgate tail --domain eng.univ.example --verdict refused", "refusals for a domain, as they happen"),),
    "trace": (
        ("mailgate trace alice@eng.univ.example", "the newest mails from and to an address"),
        ("mailgate trace 19ab3f0c5d2e4f123", "the id in the 250, in Received and in events"),
        ("mailgate trace '<20260701.1@sender.example>'", "a Message-ID"),
    ),
}


def epilog(command: str) -> str:
    """Return the examples of a command, and the exit statuses."""
    lines = []
    examples = EXAMPLES.get(command, ())
    if examples:
        width = max(len(line) for line, _text in examples)
        lines += ["examples:", *(f"  {line:{width}}  {text}" for line, text in examples), ""]
    return "\n".join([*lines, "exit status:", *(f"  {number}  {text}" for number, text in EXIT_STATUS.items())])
