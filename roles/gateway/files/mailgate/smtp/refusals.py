# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server's permanent refusal is about: the recipient, the message, or the client that delivers it.

`is_unknown_recipient` is strict, because its result may be cached for other senders. What servers reply to
RCPT (source, unknown recipient, and refusals for another reason that look similar):

* Postfix (smtpd_check.c): `550 5.1.1 <..>: Recipient address rejected: User unknown in local recipient table`. A sender
  is refused at RCPT too (`smtpd_delay_reject`): `550 5.1.8 <..>: Sender address rejected: Domain not found`.
* sendmail (cf/m4/proto.m4, sysexits.c): `550 5.1.1 <..>... User unknown`. With `delay_checks`, at RCPT: `553 5.1.8
  <..>... Domain of sender address .. does not exist`.
* Exim (acl.c, verify.c, default configuration): no status code. `550 Unrouteable address`; `550-Verification failed for
  <sender>`, `550-Unrouteable address`, `550 Sender verify failed` in one reply; `550 Administrative prohibition`.
* Exchange (Microsoft's list of NDR codes): `550 5.1.1 User unknown`, `550 5.1.10 RESOLVER.ADR.RecipientNotFound`. 5.1.0
  is `Sender denied`, 5.1.7 and 5.1.8 are about the sender. 5.4.1 `Recipient address rejected: Access denied` is used
  for several reasons.
* OpenSMTPD (smtp_session.c, lka_session.c): `550 Invalid recipient: <..>`, also if no rule matches the sender.
* Courier (courieresmtpd): `550 User unknown.`; senders get `517`.
* qmail (chkuser, qmail-ldap): `511 sorry, no mailbox here by that name (#5.1.1 - chkuser)`; the same status for `can't
  find a valid MX for sender domain`.
* Servers that check bounces: `550 5.1.1 Backscatter Protection detected an invalid or unauthenticated address`.

A full or disabled mailbox (5.2.1, 5.2.2), a domain (5.1.2) and a moved mailbox (5.1.6) can change at any time, and are
not unknown recipients.
"""

from __future__ import annotations

import re

from mailgate.smtp.reply import Reply

_CODES = (511, 550, 551, 553, 554)
_STATUSES = ("5.1.1", "5.1.10")
_STATUS = re.compile(r"^([245]\.\d{1,3}\.\d{1,3})\b|\(?#([245]\.\d{1,3}\.\d{1,3})\b")
# Addresses in a text are data: a mailbox may be called `sender` or `no.such.user`.
_ADDRESS = re.compile(r"<[^>]*>|\S+@\S+")
_UNKNOWN = re.compile(
    r"\b(?:unknown (?:local )?(?:user|recipient|mailbox|address)|(?:user|recipient|mailbox|address)(?: is)? unknown"
    r"|no such (?:local )?(?:user|recipient|mailbox|address|account|person)"
    r"|(?:user|recipient|mailbox|address|account)(?: is)? (?:not found|not known|does(?:n't| not) exist)"
    r"|no mailbox here by that name|invalid (?:recipient|mailbox)|unrouteable address)\b",
    re.IGNORECASE,
)
# Words of refusals for another reason, or for now only. Any of them leaves a doubt.
_OTHER_REASON = re.compile(
    r"\b(?:senders?|from|originator|return|reverse|envelope|helo|ehlo|client|hosts?|hostname|domains?|mx|dns|ip"
    r"|verif\w*|callout|callback|backscatter|bounces?|spf|dkim|dmarc|spam|virus|block\w*|black\w*|deny|denied|refused"
    r"|allow\w*|permit\w*|prohibit\w*|polic\w+|relay(?! recipient table)\w*"
    r"|ban|banned|reputation|\w*authenti\w+|\w*authori\w+|gr[ae]y\w*"
    r"|later|again|temporar\w+|defer\w*|busy|quota|full|storage|limit\w*|rate|too|administrat\w+|access|disabled"
    r"|inactive|suspend\w*|expired)\b",
    re.IGNORECASE,
)


def is_unknown_recipient(reply: Reply) -> bool:
    """Return whether a reply to RCPT says that the recipient does not exist, and nothing else.

    Every status code in it (RFC 3463) must be 5.1.1 or 5.1.10; without one, the text must be that of a server above.
    In both cases, no word may hint at another reason.
    """
    if reply.code not in _CODES:
        return False
    text = " ".join(_ADDRESS.sub(" ", " ".join(reply.lines)).split())
    if _OTHER_REASON.search(text):
        return False
    statuses = _statuses(reply)
    return statuses <= set(_STATUSES) if statuses else _UNKNOWN.search(text) is not None


def may_be_unknown_recipient(reply: Reply) -> bool:
    """Return whether a reply to RCPT may say that the recipient does not exist; for counting, not for the cache."""
    return is_unknown_recipient(reply) or (reply.code == 550 and "5.4.1" in _statuses(reply))


def is_about_message(reply: Reply, *, at_rcpt: bool) -> bool:
    """Return whether a permanent refusal is about the message, and not about the client that delivers it.

    Enhanced status codes about an address, a mailbox, the size or the format count (X.1, X.2, X.3.4 and X.6, RFC 3463);
    without one, 550 to 553 at RCPT count.
    """
    numbers = reply.text.partition(" ")[0].split(".")
    if len(numbers) == 3 and all(number.isdigit() for number in numbers):
        return numbers[1] in ("1", "2", "6") or numbers[1:] == ["3", "4"]
    return at_rcpt and 550 <= reply.code <= 553


def _statuses(reply: Reply) -> set[str]:
    """Return the status codes at the beginning of each line, and in qmail's form `(#5.1.1)`."""
    return {first or other for line in reply.lines for first, other in _STATUS.findall(line)}
