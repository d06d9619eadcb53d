# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the spam scan, as written in the settings file; `mailgate.spam` gives them effect."""

from __future__ import annotations

from dataclasses import dataclass

from mailgate.setting import setting


@dataclass(frozen=True)
class Rspamd:
    """Section `[rspamd]`."""

    socket: str = setting(
        "",
        "Socket of rspamd's worker `normal`; an absolute path or `ADDRESS:PORT`, as `127.0.0.1:11333`. If empty, mail"
        " is not scanned for spam.",
        form="optional_socket",
    )
    spam: str = setting(
        "tag",
        "What is done with spam; `off` (mail is not scanned), `tag` (marked from `tag_score`), `refuse` (also refused,"
        " 554, from `refuse_score`) or `strict` (as `refuse`, with `strict_tag_score` and `strict_refuse_score`).",
        choices=("off", "tag", "refuse", "strict"),
        per_domain=True,
    )
    tag_score: int = setting(
        6, "Score of rspamd from which a message is marked as spam; `0` for never.", minimum=0, maximum=1000
    )
    refuse_score: int = setting(
        15, "Score of rspamd from which a message is refused (554); `0` for never.", minimum=0, maximum=1000
    )
    strict_tag_score: int = setting(4, "`tag_score` for domains with `strict`.", minimum=0, maximum=1000)
    strict_refuse_score: int = setting(10, "`refuse_score` for domains with `strict`.", minimum=0, maximum=1000)
    greylist_score: int = setting(
        0,
        "Score of rspamd from which a sender that is new to the recipient is greylisted (450), for domains with"
        " `refuse` or `strict`; `0` for never.",
        minimum=0,
        maximum=1000,
    )
    relayed: str = setting(
        "off",
        "What is done with mail of hosts in `relay_networks`; `off` or `tag`, as for `spam`. It is never refused.",
        choices=("off", "tag"),
    )
    subject_tag: str = setting(
        "",
        "ASCII text that is put before the subject of spam, such as `[SPAM]`; it breaks DKIM signatures. If empty, the"
        " subject stays as it is.",
        form="subject_tag",
    )
    on_failure: str = setting(
        "deliver",
        "When rspamd gives no score in time; `deliver` (without a score) or `defer` (451).",
        choices=("deliver", "defer"),
    )
    soft_reject: str = setting(
        "ignore",
        "When rspamd asks to try later (`soft reject`), as its greylisting does; `ignore` or `defer` (451, for domains"
        " with `refuse` or `strict`).",
        choices=("ignore", "defer"),
    )
    max_size: int = setting(
        2_097_152,
        "Largest message that is scanned for spam. Larger ones, which are hardly ever spam and cost rspamd seconds, are"
        " delivered without a score.",
        unit="bytes",
    )
    seconds: int = setting(
        10,
        "How long a message waits for rspamd, within `timeouts.scan`. Set it above `task_timeout` of rspamd.",
        maximum=120,
        unit="seconds",
    )
    concurrency: int = setting(20, "Simultaneous spam scans.", maximum=1000)
