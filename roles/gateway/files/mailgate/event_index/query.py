# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is searched for in the index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mailgate.event_index.terms import ANY, Event, term, terms_of, words


@dataclass(frozen=True, slots=True)
class Query:
    """Criteria, all of which an event must meet.

    Attributes:
        terms: Pairs of role and value, as in `terms`; each entry is a list of alternatives.
        since: Seconds since 1970.
        until: Seconds since 1970, exclusive.
        limit: Maximum number of events, the newest.
    """

    terms: tuple[tuple[tuple[str, str], ...], ...] = ()
    since: float = 0.0
    until: float = float("inf")
    limit: int = 50

    @property
    def hashes(self) -> list[list[int]]:
        """The terms as numbers; those of any event if there are no criteria."""
        return [[term(*each) for each in alternatives] for alternatives in self.terms or ((ANY,),)]

    def matches(self, event: Event) -> bool:
        """Return whether an event meets all criteria."""
        when = event.get("time")
        if not isinstance(when, int | float) or not self.since <= when < self.until:
            return False
        own = set(terms_of(event))
        return all(own.intersection(alternatives) for alternatives in self.hashes)


def subject_terms(subject: str) -> Iterator[tuple[tuple[str, str], ...]]:
    """Yield the criteria for all words of a subject."""
    for word in words(subject):
        yield (("word", word),)
