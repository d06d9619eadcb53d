# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of refusal rules and their lists, as written in the settings file; `mailgate.rules` gives them effect."""

# ruff: noqa: RUF009 (`setting` and `section` return dataclass fields)

from __future__ import annotations

from dataclasses import dataclass, field

from mailgate.setting import describe, section, setting

LIST_KINDS = ("network", "name", "address")
ACTIONS = ("allow", "refuse", "defer", "score", "tag", "greylist")
MODES = ("apply", "log", "strict", "ignore")


@dataclass(frozen=True)
class Conditions:
    """Tables `when` and `unless` of a rule."""

    client: tuple[str, ...] = setting(
        (), "Addresses and networks of clients; `@NAME` for a list of kind `network`.", form="network_entry"
    )
    client_is: tuple[str, ...] = setting(
        (),
        "`early_talker`: the client has not waited for the greeting (requires `limits.greet_delay`); `pipelining`: it"
        " has sent commands before a reply that it must wait for (RFC 2920).",
        choices=("early_talker", "pipelining"),
    )
    client_name: tuple[str, ...] = setting(
        (),
        "Names of clients that DNS confirms: the name of the address (PTR) has this address. `*.suffix` for all names"
        " below suffix, `@NAME` for a list of kind `name`.",
        form="name_entry",
    )
    reverse_name: tuple[str, ...] = setting(
        (), "The same for names (PTR) that need not be confirmed. Only for refusals: the client chooses it.",
        form="name_entry",
    )  # fmt: skip
    reverse_is: tuple[str, ...] = setting(
        (), "`missing`: the client's address has no name; `unverified`: no name of it has this address.",
        choices=("missing", "unverified"),
    )  # fmt: skip
    helo: tuple[str, ...] = setting(
        (), "HELO and EHLO names; `*.suffix`, or `@NAME` for a list of kind `name`.", form="name_entry"
    )
    helo_is: tuple[str, ...] = setting(
        (),
        "`own`: the gateway's name, an address of a gateway, or a domain of the delivery table; `bare`: a name without"
        " a dot, or an address without brackets; `literal`: an address in brackets.",
        choices=("own", "bare", "literal"),
    )
    sender: tuple[str, ...] = setting(
        (),
        "Envelope senders: `user@domain`, `user@` in any domain, `domain`, `*.suffix`, or `@NAME` for a list of kind"
        " `address` or `name`.",
        form="address_entry",
    )
    sender_is: tuple[str, ...] = setting(
        (),
        "`empty`: the null sender; `own`: in a domain of the delivery table; `no_server`: its domain has no MX, A or"
        " AAAA record; `null_mx`: its domain accepts no mail (RFC 7505).",
        choices=("empty", "own", "no_server", "null_mx"),
    )
    recipient: tuple[str, ...] = setting((), "Envelope recipients, as `sender`.", form="address_entry")
    more_recipients_than: int = setting(
        0, "The message has more recipients than this, with the present one; `0` for no such condition.", minimum=0
    )
    dns_list: str = setting(
        "", "Zone of a DNS list (DNSBL or DNSWL, RFC 5782) that has the client's address.", form="zone"
    )
    from_header: tuple[str, ...] = setting(
        (),
        "Addresses in the header field `From`, as `sender`; one of several is enough. With this condition, the rule is"
        " evaluated when the message has been received.",
        form="address_entry",
    )
    from_is: tuple[str, ...] = setting(
        (),
        "`empty`: no header field `From` with an address; `own`: one in a domain of the delivery table; `several`: more"
        " than one such field. Evaluated as `from_header`.",
        choices=("empty", "own", "several"),
    )
    spf: tuple[str, ...] = setting(
        (), "Result of SPF (RFC 7208) for the envelope sender, or for the HELO name if the sender is empty.",
        choices=("pass", "fail", "softfail", "neutral", "none", "permerror"),
    )  # fmt: skip
    dkim: tuple[str, ...] = setting(
        (),
        "Result of DKIM (RFC 6376): `pass` if one signature is valid, else that of the first one. `policy`: valid, but"
        " for a part of the body only. Evaluated as `from_header`.",
        choices=("pass", "fail", "neutral", "policy", "none", "permerror"),
    )
    dmarc: tuple[str, ...] = setting(
        (),
        "Result of DMARC (RFC 7489), for any policy of the domain. Evaluated as `from_header`.",
        choices=("pass", "fail", "none", "permerror"),
    )
    arc: tuple[str, ...] = setting(
        (), "Result of the ARC chain (RFC 8617). Evaluated as `from_header`.", choices=("pass", "fail", "none")
    )


@dataclass(frozen=True)
class RuleSetting:
    """One of `[[rules]]`."""

    name: str = field(
        metadata=describe("Name in the log and of the counter; letters, digits, `_` and `-`.", form="rule_name")
    )
    action: str = field(
        metadata=describe(
            "`allow` (no later rule applies), `refuse` (550), `defer` (450), `score` (add `score`), `tag` (mark the"
            " message) or `greylist` (defer a new sender once).",
            choices=ACTIONS,
        )
    )
    when: Conditions = section(Conditions, "All of these must hold; at least one condition.")
    unless: Conditions = section(Conditions, "None of these may hold.")
    score: int = setting(0, "Points that the rule adds; a negative number subtracts.", minimum=-1000, maximum=1000)
    codes: tuple[str, ...] = setting(
        (),
        "Replies of the `dns_list` that count; a number of an address may be a range or `*`. `CODE=POINTS` gives a code"
        " points of its own; of several replies, the one with most points counts. If empty, all replies.",
        form="dns_code",
    )
    reply: str = setting(
        "",
        "Text of the reply in ASCII; it may begin with an enhanced status code, and contain `{client}`, `{helo}`,"
        " `{sender}`, `{recipient}`, `{from}`, `{rule}` and `{zone}`. If empty, a built-in text.",
        form="reply",
    )
    reply_ja: str = setting(
        "",
        "The same in Japanese, sent after the English text to a client that uses SMTPUTF8, and shown by"
        " `mailgate explain`. If empty, a built-in text, unless `reply` is set.",
        form="reply_utf8",
    )
    log_only: bool = setting(False, "Whether a match is logged and counted, but has no effect.")
    on_dns_failure: str = setting(
        "skip",
        "When DNS does not answer in time or wrongly; `skip` (the rule does not apply) or `defer` (450).",
        choices=("skip", "defer"),
    )


@dataclass(frozen=True)
class ListSetting:
    """One of `[lists.NAME]`."""

    kind: str = field(
        metadata=describe(
            "`network` (addresses and networks), `name` (host names and domains) or `address` (mail addresses and"
            " domains, as the condition `sender`).",
            choices=LIST_KINDS,
        )
    )
    file: str = setting(
        "",
        "File with one entry a line, comments after `#`. A changed file is loaded within seconds; one with errors is"
        " reported and not loaded. Replace it by a rename.",
        form="path",
    )
    entries: tuple[str, ...] = setting((), "Entries, in place of a file or in addition.")


@dataclass(frozen=True)
class Refusal:
    """Section `[refusal]`."""

    rules: str = setting(
        "apply",
        "What rules do; `apply`, `log` (they are evaluated and logged only), `strict` (apply with `strict_tag_score`"
        " and `strict_refuse_score`) or `ignore` (nothing).",
        choices=MODES,
        per_domain=True,
    )
    exempt: tuple[str, ...] = setting(
        (),
        "Addresses and networks of clients that no rule applies to, in addition to all gateways, this host,"
        " `relay_networks` and load balancers themselves; `@NAME` for a list of kind `network`.",
        form="network_entry",
    )
    separate_choices: bool = setting(
        False,
        "Whether a message has only recipients whose domains have chosen the same (`[domains]`) for received messages."
        " Others are deferred (452), and most clients send to them some minutes later, in a transaction of their own."
        " So what one domain refuses is refused for it, and delivered to the others.",
    )
    tag_score: int = setting(
        5,
        "Score from which a message is marked by the header field `X-Mailgate-Tag`; `0` for never.",
        minimum=0,
        maximum=10_000,
    )
    refuse_score: int = setting(
        10, "Score from which a recipient is refused (550); `0` for never.", minimum=0, maximum=10_000
    )
    greylist_score: int = setting(
        0, "Score from which a new sender is greylisted; `0` for never.", minimum=0, maximum=10_000
    )
    strict_tag_score: int = setting(3, "`tag_score` for domains with `strict`.", minimum=0, maximum=10_000)
    strict_refuse_score: int = setting(6, "`refuse_score` for domains with `strict`.", minimum=0, maximum=10_000)
    strict_greylist_score: int = setting(0, "`greylist_score` for domains with `strict`.", minimum=0, maximum=10_000)
    dns_servers: tuple[str, ...] = setting(
        (),
        "Recursive DNS servers, by address or `ADDRESS:PORT`; if empty, those of `/etc/resolv.conf`. Use one near the"
        " gateway: most DNS lists refuse public ones.",
        form="dns_server",
    )
    dns_seconds: int = setting(
        5, "How long a recipient waits for DNS. Look-ups begin at HELO and MAIL.", maximum=60, unit="seconds"
    )
    dns_queries: int = setting(
        50, "Simultaneous look-ups of one worker; further ones fail at once. Each uses one open file.", maximum=1000
    )
    dns_cache: int = setting(20_000, "Maximum number of cached look-ups of one worker.")


@dataclass(frozen=True)
class Authentication:
    """Section `[authentication]`."""

    evaluate: bool = setting(
        False,
        "Whether SPF, DKIM, DMARC and ARC are evaluated and written as Authentication-Results (RFC 8601), for clients"
        " that rules apply to. Fields of this name with the gateway's identifier are removed. Looks up DNS by the"
        " settings of `[refusal]`.",
    )
    identifier: str = setting(
        "",
        "The gateway's identifier in Authentication-Results; use the same on all gateways. If empty, `hostname`.",
        form="identifier",
    )
    dmarc: str = setting(
        "off",
        "What a failure of DMARC does; `off`, `tag` (mark the message if the policy is `quarantine` or `reject`) or"
        " `refuse` (550 if the policy is `reject`, mark it if it is `quarantine`).",
        choices=("off", "tag", "refuse"),
        per_domain=True,
    )
    arc_sealers: tuple[str, ...] = setting(
        (),
        "Domains of forwarders whose ARC chain is trusted: a failure of DMARC has no effect if all seals are theirs and"
        " the first one reports that DMARC passed; `@NAME` for a list of kind `name`.",
        form="name_entry",
    )
