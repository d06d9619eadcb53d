# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Keep the TTLs of other records when the line that separated them is removed.

Of records of one name and type with several TTLs, BIND serves the TTL of the first one in the last run of the name's
lines. If the line between two runs is removed, they become one run, with the TTL of the first one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

from .file import Name
from .lines import Document, with_ttl
from .part import MX_TYPES

_Item = tuple["Name | None", "int | None"]
"""The owner of a line (None for a line that ends each run) and the index of its entry (None for a new line)."""


def keep_served_ttls(document: Document, planned: Collection[Name]) -> bool:
    """Give the first record of each joined run the TTL that is served now; return whether any gets another one.

    MX records of the `planned` names are left alone.
    """
    old = [list(run) for run in _runs(list(_present(document)))]
    run_of = {index: number for number, run in enumerate(old) for index in run}
    changed = False
    for new in list(_runs(list(_planned(document)))):
        if len({run_of[index] for index in new}) < 2:
            continue
        owner = document.entries[new[0]].owner
        types = {document.entries[index].rtype for index in new} - (MX_TYPES if owner in planned else set())
        for rtype in types:
            changed |= _keep(document, old, run_of, [i for i in new if document.entries[i].rtype == rtype])
    return changed


def _keep(document: Document, old: Sequence[Sequence[int]], run_of: dict[int, int], same: Sequence[int]) -> bool:
    """Keep the TTL of records of one name and type in one run; return whether the first one gets another."""
    entries = document.entries
    first, last_run = entries[same[0]], run_of[same[-1]]
    served = entries[next(index for index in same if run_of[index] == last_run)]
    further = any(
        (entries[index].owner, entries[index].rtype) == (first.owner, first.rtype)
        for run in old[last_run + 1 :]
        for index in run
    )
    if further or served.ttl is None or first.ttl == served.ttl:
        return False
    line = document.keep(same[0])[0]
    line.body = with_ttl(line.body, served.ttl, first.ttl, first.default_ttl)
    line.ttl = served.ttl
    return True


def _present(document: Document) -> Iterator[_Item]:
    """Yield the lines of the present file."""
    for index, entry in enumerate(document.entries):
        if entry.kind == "record":
            yield entry.owner, index
        elif entry.kind in {"include", "generate"}:
            yield None, None


def _planned(document: Document) -> Iterator[_Item]:
    """Yield the lines of the new file."""
    for owner, index in _present(document):
        if index is None:
            yield owner, index
            continue
        if index in document.replaced:
            yield from ((line.owner, index) for line in document.replaced[index])
        else:
            yield owner, index
        yield from ((line.owner, None) for line in document.behind.get(index, ()))


def _runs(lines: Sequence[_Item]) -> Iterator[list[int]]:
    """Yield the indexes of the entries in each run of lines of one name, without repetitions."""
    for owner, run in groupby(lines, key=lambda line: line[0]):
        indexes = list(dict.fromkeys(index for _owner, index in run if index is not None))
        if owner is not None and indexes:
            yield indexes
