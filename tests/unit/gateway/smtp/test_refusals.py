# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What mail servers reply to RCPT, and whether that is cached for other senders."""

from __future__ import annotations

import pytest

from mailgate.smtp.refusals import is_unknown_recipient
from mailgate.smtp.reply import Reply

# Server, what is wrong, the reply; lines are separated by " / ".
UNKNOWN = [
    ("Postfix", "550 5.1.1 <u@a.example>: Recipient address rejected: User unknown in local recipient table"),
    ("Postfix", "550 5.1.1 <u@a.example>: Recipient address rejected: User unknown in virtual mailbox table"),
    ("Postfix", "550 5.1.1 <u@a.example>: Recipient address rejected: User unknown in relay recipient table"),
    ("Postfix", "550 5.1.1 <u@a.example>: Recipient address rejected: undeliverable address: no such user"),
    ("Postfix 2.2", "550 <u@a.example>: Recipient address rejected: User unknown in local recipient table"),
    ("sendmail", "550 5.1.1 <u@a.example>... User unknown"),
    ("sendmail 8.9", "550 <u@a.example>... User unknown"),
    ("sendmail, virtusertable", "550 5.1.1 <u@a.example>... No such user here"),
    ("Exim", "550 Unrouteable address"),
    ("Exim", "550 Unknown user"),
    ("Exchange 2010", "550 5.1.1 User unknown"),
    ("Exchange 2016", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
    ("Exchange", "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found"),
    ("OpenSMTPD", "550 Invalid recipient: <u@a.example>"),
    ("OpenSMTPD", "550 5.1.1 Invalid recipient: <u@a.example>"),
    ("Courier", "550 User unknown."),
    ("Courier", "550 User <u@a.example> unknown"),
    ("qmail, chkuser", "511 sorry, no mailbox here by that name (#5.1.1 - chkuser)"),
    ("qmail-ldap", "550 Sorry, no mailbox here by that name. (#5.1.1)"),
    ("Dovecot", "550 5.1.1 <u@a.example> User doesn't exist: u@a.example"),
    ("MDaemon", "550 5.1.1 Recipient unknown <u@a.example>"),
    ("Gmail", "550 5.1.1 The email account that you tried to reach does not exist. Please try / 5.1.1 double-checking"),
    ("any", "550 5.1.1 <sender.not.allowed@a.example>... User unknown"),
    ("any", "550 5.1.1 unknown"),
    ("any", "550 No such user here"),
]

OTHER = [
    ("Postfix", "sender", "550 5.1.8 <x@nosuch.example>: Sender address rejected: Domain not found"),
    ("Postfix", "sender", "550 5.1.0 <x@b.example>: Sender address rejected: User unknown in virtual mailbox table"),
    ("Postfix", "sender", "550 5.1.7 <x@b.example>: Sender address rejected: undeliverable address: unknown user"),
    ("Postfix 2.2", "sender", "550 <x@nosuch.example>: Sender address rejected: Domain not found"),
    ("Postfix 2.2", "sender", "550 <x@b.example>: Sender address rejected: User unknown in local recipient table"),
    ("Postfix", "sender", "553 5.7.1 <x@a.example>: Sender address rejected: not owned by user y"),
    ("Postfix", "policy", "554 5.7.1 <u@a.example>: Recipient address rejected: Access denied"),
    ("Postfix", "policy", "550 5.7.23 <u@a.example>: Recipient address rejected: Message rejected due to: SPF fail"),
    ("Postfix", "policy", "554 5.7.1 Service unavailable; Client host [198.18.0.1] blocked using dnsbl.example"),
    ("Postfix", "policy", "550 5.1.1 <u@a.example>: Recipient address rejected: undeliverable address: host b.example"
     " said: 550 5.7.1 blocked"),
    ("Postfix", "full", "552 5.2.2 <u@a.example>: Recipient address rejected: Mailbox is full"),
    ("Postfix", "greylist", "450 4.2.0 <u@a.example>: Recipient address rejected: Greylisted"),
    ("Postfix", "unverified", "450 4.1.1 <u@a.example>: Recipient address rejected: User unknown"),
    ("Postfix", "relay", "554 5.7.1 <u@a.example>: Relay access denied"),
    ("sendmail", "sender", "553 5.1.8 <u@a.example>... Domain of sender address x@nosuch.example does not exist"),
    ("sendmail 8.9", "sender", "501 <x@nosuch.example>... Sender domain must exist"),
    ("sendmail", "sender", "553 5.5.4 <u@a.example>... Domain name required for sender address x"),
    ("sendmail", "policy", "550 5.7.1 <u@a.example>... Access denied"),
    ("sendmail", "disabled", "550 5.2.1 <u@a.example>... Mailbox disabled for this recipient"),
    ("sendmail", "relay", "550 5.7.1 <u@a.example>... Relaying denied"),
    ("sendmail", "domain", "550 5.1.2 <u@a.example>... Host unknown (Name server: a.example: host not found)"),
    ("sendmail", "greylist", "451 4.7.1 Greylisting in action, please come back in 00:05:00"),
    ("Exim", "sender", "550 Verification failed for <x@b.example> / Unrouteable address / Sender verify failed"),
    ("Exim", "sender", "550 Verification failed for <x@b.example> / No such user here / Sender verify failed"),
    ("Exim", "sender", "550 Sender verify failed"),
    ("Exim", "sender", "550 Verification failed for <x@b.example> / Called: 198.18.0.9 / Response: 550 unknown user /"
     " Sender verify failed"),
    ("Exim", "policy", "550 Administrative prohibition"),
    ("Exim", "relay", "550 relay not permitted"),
    ("Exim", "full", "550 Mailbox quota exceeded"),
    ("Exchange", "sender", "550 5.1.0 Sender denied"),
    ("Exchange", "sender", "550 5.1.7 Invalid address"),
    ("Exchange", "sender", "550 5.1.8 Access denied, bad outbound sender"),
    ("Exchange", "several", "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)"),
    ("Exchange", "policy", "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required"),
    ("Exchange", "policy", "550 5.7.606 Access denied, banned sending IP [198.18.0.1]"),
    ("Exchange", "full", "554 5.2.2 mailbox full"),
    ("Exchange", "relay", "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"),
    ("OpenSMTPD", "sender", "530 Sender rejected"),
    ("OpenSMTPD", "alias", "524 5.2.4 Mailing list expansion problem: <u@a.example>"),
    ("Courier", "sender", "517 Domain does not exist: nosuch.example / Invalid domain, see a page"),
    ("Courier", "relay", "513 Relaying denied."),
    ("qmail", "sender", "511 sorry, can't find a valid MX for sender domain (#5.1.1 - chkuser)"),
    ("qmail", "sender", "550 sorry, your envelope sender is in my badmailfrom list (#5.7.1)"),
    ("qmail", "relay", "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
    ("qmail", "full", "522 sorry, recipient mailbox has reached its quota limit (#5.2.2 - chkuser)"),
    ("bounce check", "sender", "550 5.1.1 Backscatter Protection detected an invalid or unauthenticated address"),
    ("any", "several", "550 Requested action not taken: mailbox unavailable"),
    ("any", "several", "550 5.1.1 User unknown / 5.7.1 or not allowed"),
    ("any", "several", "550 5.1.3 bad address"),
    ("any", "several", "550 rejected"),
    ("any", "moved", "551 5.1.6 user has moved"),
    ("any", "rate", "550 5.2.1 The user you are trying to contact is receiving mail too quickly"),
    ("any", "error", "550"),
]  # fmt: skip


def reply_of(text: str) -> Reply:
    code, _space, lines = text.partition(" ")
    return Reply(int(code), tuple(lines.split(" / ")))


@pytest.mark.parametrize(("server", "text"), UNKNOWN)
def test_a_reply_about_the_recipient_is_recognized(server, text):
    assert is_unknown_recipient(reply_of(text)), server


@pytest.mark.parametrize(("server", "reason", "text"), OTHER)
def test_a_reply_for_another_reason_or_in_doubt_is_not_about_the_recipient(server, reason, text):
    assert not is_unknown_recipient(reply_of(text)), (server, reason)


def test_a_domain_named_like_a_phrase_proves_nothing():
    assert not is_unknown_recipient(Reply.of(550, "<no.such.user@a.example> cannot receive mail"))
