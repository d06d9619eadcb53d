# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of all gateways: decisions of the campus, and the memory of this gateway for when there are none.

What the shared store decides is also recorded here, so that a gateway that loses it goes on with what it has seen. Bans
are in the store of the gateway, which `ban_exchange` keeps equal to those of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from mailgate.limit_settings import Greylist
from mailgate.limits.local_store import LocalStore
from mailgate.limits.remote import Remote
from mailgate.limits.scripts import ATTEMPT, PREFIX, TAKE
from mailgate.limits.store import Attempt, Ban, BanChanges, StoreError
from mailgate.rate_buckets import RateBuckets

# A sender that is known here refreshes its entry in the shared store after this time.
_REFRESH_SECONDS = 86_400


class SharedStore:
    """Implements `Store` for several gateways.

    Args:
        local: Store of this gateway.
        own: Rates of this gateway.
        remote: Shared store.
    """

    def __init__(self, local: LocalStore, own: RateBuckets, remote: Remote) -> None:
        self._local = local
        self._own = own
        self._remote = remote
        self.greylist = Greylist()

    async def changed_bans(self) -> BanChanges | None:
        """Return changes as `Store.changed_bans`."""
        return await self._local.changed_bans()

    async def add_bans(self, bans: Iterable[Ban]) -> None:
        """Add bans."""
        await self._local.add_bans(bans)

    async def take_all(self, counted: Sequence[tuple[str, int]], seconds: int) -> int | None:
        """Count as `Store.take_all`, for all gateways; for this one if the shared store fails."""
        keys = [_key("rate", name) for name, _limit in counted]
        limits: list[object] = [limit for _name, limit in counted]
        try:
            found = await self._remote.run(TAKE, keys, [seconds * 1_000_000, *limits])
            if not isinstance(found, int) or not 0 <= found <= len(counted):
                raise self._remote.refuse("rates: not a valid answer")
        except StoreError:
            return self._own.take_all(counted, seconds)
        accepted = found - 1 if found else len(counted)
        self._own.take_all(counted[:accepted], seconds)
        return accepted if found else None

    async def network_successes(self, network: str) -> int:
        """Return how many senders of a network have waited at this gateway."""
        return await self._local.network_successes(network)

    async def attempt(self, key: bytes, network: str, now: int, expired: int) -> Attempt:
        """Return what is known of a sender: here if it has waited, otherwise at all gateways."""
        own = await self._local.attempt(key, network, now, expired)
        if own.passed and now - own.last < _REFRESH_SECONDS:
            return own
        settings = self.greylist
        try:
            found = await self._remote.run(
                ATTEMPT,
                [_key("sender", network, key), _key("network", network)],
                [now, settings.delay, settings.window_hours * 3600, settings.lifetime_days * 86_400,
                 settings.network_successes],
            )  # fmt: skip
            first, passed = _first_and_passed(found)
        except StoreError:
            return own
        except ValueError:
            self._remote.refuse("greylist: not a valid answer")
            return own
        return Attempt(min(first, own.first), own.passed or passed, own.last)

    async def succeed(self, key: bytes, network: str, now: int) -> None:
        """Record here that a sender has waited; the shared store knows since its attempt."""
        await self._local.succeed(key, network, now)


def _key(kind: str, name: str, key: bytes = b"") -> str:
    """Return a key of the shared store, which has no addresses of people in it."""
    return f"{PREFIX}{kind}:{blake2b(key + name.encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()}"


def _first_and_passed(found: object) -> tuple[int, bool]:
    """Return the values of an answer; raise ValueError if it has another form."""
    if isinstance(found, list) and len(found) == 2 and all(isinstance(each, int) and each >= 0 for each in found):
        return found[0], bool(found[1])
    raise ValueError(found)
