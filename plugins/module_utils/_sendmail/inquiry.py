# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask two configurations of this host about everything that it handles, with sendmail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .._keep.text import read, shown
from . import proof, tables
from .running import Configuration
from .settings import Settings
from .system import MAKEMAP, SENDMAIL, Run, SendmailError

_CLASSES = ("w", "R", "M", "G", "{VirtHost}")
_MAPS = ("virtuser", "generics", "domaintable", "mailertable", "access")
_MAILERS = ("local", "esmtp", "smtp", "relay", "procmail", "cyrusv2", "uucp-new")
# A resolver that does not answer must not make a run endless.
_OPTIONS = ("-OTimeout.resolver.retrans=1s", "-OTimeout.resolver.retry=2")


@dataclass(frozen=True)
class Proof:
    """How many addresses were asked about, of how many, and what differs."""

    asked: int
    known: int
    differences: tuple[proof.Difference, ...]


def class_names(run: Run, configuration: Path, names: Iterable[str] = ("w",)) -> dict[str, list[str]]:
    """Return the content of classes, from sendmail."""
    wanted = list(names)
    asked = [proof.Question((f"$={name}",), kind="list") for name in wanted]
    lists = [each.split("; ") if each else [] for each in _ask(run, configuration, asked)]
    # A class that nothing declares is answered with an error message.
    return {name: [word.lower() for word in each if " " not in word] for name, each in zip(wanted, lists, strict=True)}


def gather(run: Run, path: Path) -> proof.Handled:
    """Return what the configuration in a file handles."""
    configuration = Configuration(read(path) or "")
    found = proof.Handled(classes=class_names(run, path, _CLASSES))
    for name in _MAPS:
        declared = configuration.map(name)
        if declared and declared.path:
            found.entries[name] = entries(run, declared.kind, declared.path)
    for value in configuration.options("AliasFile"):
        for each in alias_files(value):
            found.names += entries(run, "hash", each, tables.alias_names(read(each) or ""))
    found.names = sorted(set(found.names) - {"@"})
    found.mailers = [name for name in _MAILERS if configuration.mailer(name)]
    return found


def alias_files(value: str) -> list[Path]:
    """Return the text files of an AliasFile option."""
    parts = [part.strip().removeprefix("hash:").removeprefix("btree:") for part in value.split(",")]
    return [Path(part.split()[-1]) for part in parts if part.split() and part.split()[-1].startswith("/")]


def entries(run: Run, kind: str, path: Path, names: Iterable[str] = ()) -> dict[str, str]:
    """Return the entries of a map: those in use and those of its source, with which it may be built again."""
    found: dict[str, str] = dict.fromkeys(names, "")
    if not found:
        found |= tables.map_entries(read(path) or "")
    built = path.with_name(f"{path.name}.db")
    if kind != "text" and built.exists():
        status, out, _err = run([MAKEMAP, "-u", kind, str(built)], "")
        if status == 0:
            found |= tables.map_entries(out.replace("\0", ""))
    return found


def prove(  # noqa: PLR0917
    run: Run, running: Path, trial: Path, settings: Settings, ours: Iterable[str] = (), limit: int = proof.LIMIT
) -> Proof:
    """Compare the answers of the running configuration with those of another; see `proof.compare`."""
    former = list(ours)
    handled = gather(run, running)
    questions = proof.questions(handled)
    asked = proof.chosen(questions, limit)
    found = _compare(run, running, trial, asked, settings, former)
    if found:
        # An answer of DNS that came late is no difference.
        again = [question for question in asked if any(each.question == str(question) for each in found)]
        found = _compare(run, running, trial, again, settings, former)
    for batch in proof.batches(a for each in proof.recipients(handled).values() for a in each):
        before, after = (_verify(run, path, batch) for path in (running, trial))
        found += proof.compare_verified(before, after, settings, former)
    return Proof(len(asked), sum(map(len, questions.values())), tuple(found))


def _compare(  # noqa: PLR0917
    run: Run, running: Path, trial: Path, asked: list[proof.Question], settings: Settings, ours: list[str]
) -> list[proof.Difference]:
    before, after = (_ask(run, path, asked) for path in (running, trial))
    return proof.compare(asked, before, after, settings, ours)


def _ask(run: Run, configuration: Path, asked: list[proof.Question]) -> list[str]:
    command = [SENDMAIL, "-bt", *_OPTIONS, "-C", str(configuration)]
    # The status is that of the last address, such as an unknown user's.
    _status, out, err = run(command, proof.script(asked))
    if not proof.is_complete(out):
        raise SendmailError(
            f"Cannot ask {configuration}: sendmail -bt stopped before the last question\n{shown(err or out)}"
        )
    return proof.answers(asked, out)


def _verify(run: Run, configuration: Path, addresses: list[str]) -> dict[str, str]:
    # The status is that of the last address, an unknown user's for example.
    _status, out, _err = run([SENDMAIL, "-bv", *_OPTIONS, "-C", str(configuration), "--", *addresses], "")
    return proof.verified(out)
