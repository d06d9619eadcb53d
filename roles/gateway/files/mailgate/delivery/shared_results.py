# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of recipient verification that gateways share: one asks the others before it asks a server.

The cache of this gateway has all that it uses, so without the shared store it goes on with that. A result is about a
recipient and its verification servers: a domain that moves to another server begins without results.
"""

from __future__ import annotations

from hashlib import blake2b

from mailgate.delivery.verify_cache import CacheEntry, VerificationCache
from mailgate.limits.publisher import Publisher
from mailgate.limits.remote import Remote
from mailgate.limits.scripts import KEEP_RESULT, PREFIX, RESULTS
from mailgate.limits.store import StoreError
from mailgate.routes import NextHop
from mailgate.smtp.address import Mailbox


class SharedResults:
    """Results of all gateways.

    Args:
        cache: Results of this gateway.
        remote: The shared store.
    """

    def __init__(self, cache: VerificationCache, remote: Remote) -> None:
        self._cache = cache
        self._remote = remote
        self.publisher = Publisher(remote)

    async def find(self, recipient: Mailbox, servers: tuple[NextHop, ...]) -> CacheEntry | None:
        """Return what another gateway knows of a recipient that is not in the cache, or None; the cache has it then."""
        names = (recipient.key, f"@{recipient.domain}")
        try:
            found = await self._remote.run(RESULTS, [_key(name, servers) for name in names], [])
            results = _results_in(found, len(names))
        except StoreError:
            return None
        except ValueError:
            self._remote.refuse("recipients: not a valid answer")
            return None
        for name, result in zip(names, results, strict=True):
            if result:
                self._cache.adopt(name, known=result[0], at=result[1])
        return self._cache.find(recipient)

    def publish(self, name: str, servers: tuple[NextHop, ...], *, known: bool) -> None:
        """Tell the others a result, in the background; one that is dropped costs a probe at another gateway.

        Args:
            name: The key of a mailbox, or `@domain` for a catch-all.
            servers: The verification servers of the domain.
            known: The result.
        """
        seconds = self._cache.known_seconds if known else self._cache.unknown_seconds
        self.publisher.publish(KEEP_RESULT, _key(name, servers), [int(known), self._cache.now, seconds])


def _key(name: str, servers: tuple[NextHop, ...]) -> str:
    """Return a key of the shared store, which has no address in it."""
    text = "\n".join([name, *map(str, servers)])
    return f"{PREFIX}recipient:{blake2b(text.encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()}"


def _results_in(found: object, number: int) -> list[tuple[bool, int] | None]:
    """Return the results in an answer, None for those that are not there; raise ValueError for another form."""
    if not isinstance(found, list) or len(found) != number:
        raise ValueError(found)
    return [_result_in(each) for each in found]


def _result_in(value: object) -> tuple[bool, int] | None:
    if value is None or value == b"":
        return None
    if not isinstance(value, bytes):
        raise ValueError(value)
    known, at = value.decode("ascii").split()
    if known not in {"0", "1"}:
        raise ValueError(value)
    return known == "1", int(at)
