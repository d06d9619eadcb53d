# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of the web page that stand for a value."""

from __future__ import annotations

from mailgate.events import PROCESSED, RELAY_REFUSED, VIRUS_FOUND
from mailgate.translation import N_

VERDICTS = {
    "accepted": N_("Delivered"),
    "queued": N_("Through the queue"),
    "deferred": N_("Deferred"),
    "refused": N_("Refused"),
    "infected": N_("Infected"),
    "abandoned": N_("Abandoned"),
}
# Columns of a domain in the report.
DOMAIN_COLUMNS = {
    "accepted": N_("Delivered"),
    "queued": N_("Through the queue"),
    "refused": N_("Refused"),
    "deferred": N_("Deferred"),
    "refused_recipients": N_("Recipients refused"),
    "deferred_recipients": N_("Recipients deferred"),
}
TOTALS = {
    PROCESSED: N_("Mails processed"),
    RELAY_REFUSED: N_("Relay attempts refused"),
    VIRUS_FOUND: N_("Viruses found"),
}
LISTS = {
    "viruses": N_("Virus"),
    "rules": N_("Reason of refused recipients"),
    "recipients": N_("Busiest recipients"),
    "networks": N_("Client network"),
    "refused_networks": N_("Client network of refusals"),
}
KINDS = {
    "abandoned": N_("Transaction abandoned"),
    "command_refused": N_("Command refused"),
    "connection_closed": N_("Connection closed"),
    "connection_refused": N_("Connection refused"),
    "finding": N_("Finding"),
    "message": N_("Message"),
    "recipient_refused": N_("Recipient refused"),
    "relay_refused": N_("Relaying refused"),
    "resent": N_("Sent again"),
}
ROLES = {
    "postmaster": N_("Postmaster"),
    "viewer": N_("Viewer"),
    "faculty": N_("Faculty"),
}
# Title and explanation of an error, by its reason.
ERRORS = {
    "not_signed_in": (
        N_("Not signed in"),
        N_("The web server in front of this page did not say who you are. Sign in there; if that does not help,"
           " tell the postmaster."),
    ),
    "forbidden": (
        N_("Not allowed"),
        N_("You may not see or do this. Ask the postmaster, who decides about it in the settings of the gateway."),
    ),
    "not_found": (
        N_("Not found"),
        N_("This page, mail or message does not exist, or no longer. Records are kept for a limited time."),
    ),
    "invalid": (
        N_("Invalid request"),
        N_("A value is missing or not valid. Go back, correct it, and try again."),
    ),
    "method": (
        N_("Invalid request"),
        N_("This address cannot be used in this way. Begin at the first page."),
    ),
    "form_expired": (
        N_("The form has expired"),
        N_("Nothing was changed. Go back, reload the page, and try again."),
    ),
    "too_large": (
        N_("Request too large"),
        N_("Nothing was changed. Use a shorter text."),
    ),
    "failed": (
        N_("The gateway could not do this"),
        N_("Mail is not affected. The cause is below, and in the log of mailgate-web-data.service."),
    ),
    "unreachable": (
        N_("The gateway does not answer"),
        N_("Mail does not depend on it. Try again in a minute; then see the log of mailgate-web-data.service."),
    ),
    "error": (
        N_("Error of this page"),
        N_("Mail is not affected. The cause is in the log of mailgate-web.service."),
    ),
}  # fmt: skip
