# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of the checks of `mailgate status` in other languages."""

from __future__ import annotations

from mailgate.translation import N_, Translator

# By the beginning of their names; what follows a space there is what a check is about.
NAMES = {
    "listening on ": N_("SMTP"),
    "front ": N_("Front"),
    "metrics ": N_("Metrics"),
    "queue ": N_("Queue"),
    "mail in the queue": N_("Mail in the queue"),
    "mail in the queue of the front": N_("Mail in the queue of the front"),
    "clamd ": N_("Virus scanner"),
    "unpacker ": N_("Unpacker of archives"),
    "routes": N_("Delivery table"),
    "event loop": N_("Event loop"),
    "state directory": N_("State directory"),
    "index of events": N_("Index of events"),
    "recipient cache": N_("Verified recipients"),
    "bans": N_("Bans"),
    "bans and greylist": N_("Bans and greylist"),
    "store of limits": N_("Store of limits"),
    "greylist": N_("Greylist"),
    "shared store": N_("Shared store"),
    "rates": N_("Rates"),
    "memory of sent mail": N_("Memory of sent mail"),
    "relaying hosts": N_("Relaying hosts"),
    "rules": N_("Refusal rules"),
    "mail authentication": N_("Mail authentication"),
    "list ": N_("List"),
    "DNS list ": N_("DNS list"),
    "DNS of rules": N_("DNS of rules"),
    "rspamd ": N_("Spam scanner"),
    "spam scan": N_("Spam scan"),
    "DKIM of ": N_("DKIM key"),
}


def name_of(name: str, translate: Translator) -> tuple[str, str]:
    """Return the translated name of a check, empty if it has none, and what it is about."""
    for start, text in NAMES.items():
        if name == start or (start.endswith(" ") and name.startswith(start)):
            return translate(text), name.removeprefix(start)
    return "", name
