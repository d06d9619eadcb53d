# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts that run in the shared store, so that a decision is one round trip and cannot interleave with another one.

All keys begin with PREFIX. Names of clients, senders and recipients are in the store as hashes; bans are readable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1

PREFIX = "mailgate:"
BANS = PREFIX + "bans"
GENERATION = PREFIX + "generation"


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, and the digest by which the store knows it."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", sha1(self.text.encode(), usedforsecurity=False).hexdigest())


# Token buckets as in `rate_buckets`. KEYS: names. ARGV: window in microseconds, limit of each name.
# Result: number of the first name that had its limit, which is not counted, nor are those after it; 0 if none had.
TAKE = Script("""
local time = redis.call('TIME')
local now, window = time[1] * 1000000 + time[2], tonumber(ARGV[1])
for number, key in ipairs(KEYS) do
  local full = tonumber(redis.call('GET', key) or 0) or 0
  local due = math.max(now, math.min(full, now + window)) + math.floor(window / ARGV[number + 1])
  if due - now > window then return number end
  redis.call('SET', key, string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000))
end
return 0
""")

# KEYS: sender, network. ARGV: now, delay, window, lifetime, successes after which a network does not wait.
# Result: first attempt in seconds since 1970, and whether it has waited.
ATTEMPT = Script("""
local sender, network = KEYS[1], KEYS[2]
local now, delay, window, lifetime, enough = unpack(ARGV)
local known = redis.call('GET', sender)
if known == 'passed' then
  redis.call('EXPIRE', sender, lifetime)
  return {tonumber(now), 1}
end
if tonumber(enough) > 0 and (tonumber(redis.call('GET', network) or 0) or 0) >= tonumber(enough) then
  return {tonumber(now), 1}
end
local first = tonumber(known or '')
if not first then
  redis.call('SET', sender, now, 'EX', window)
  return {tonumber(now), 0}
end
if now - first < tonumber(delay) then return {first, 0} end
redis.call('SET', sender, 'passed', 'EX', lifetime)
redis.call('INCR', network)
redis.call('EXPIRE', network, lifetime)
return {first, 1}
""")

# KEYS: stream. ARGV: maximum of its entries, and the entries to add.
PUBLISH = Script("""
for number = 2, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'change', ARGV[number])
end
return #ARGV - 1
""")

# KEYS: recipients. Result: `KNOWN TIME` of each, empty if there is none.
RESULTS = Script("""
local found = {}
for number, key in ipairs(KEYS) do found[number] = redis.call('GET', key) or '' end
return found
""")

# KEYS: recipient. ARGV: 1 if it is known, seconds since 1970, lifetime. A later result stays.
KEEP_RESULT = Script("""
local present = redis.call('GET', KEYS[1])
local at = present and tonumber(string.match(present, '^%d (%d+)$') or '') or 0
if at > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'EX', ARGV[3])
return 1
""")

# KEYS: sender. ARGV: lifetime.
KEEP_SENT = Script("redis.call('SET', KEYS[1], '1', 'EX', ARGV[1]) return 1")

# KEYS: recipients. Result: whether one of them has sent mail.
ANY_SENT = Script("""
for number, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then return 1 end
end
return 0
""")
