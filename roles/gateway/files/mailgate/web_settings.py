# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Section `[web]` and tables `[web_faculties.NAME]` of the settings: the web page for postmaster and faculties."""

from __future__ import annotations

from dataclasses import dataclass

from mailgate.setting import setting

# Where `mailgate web-data` listens; systemd makes the socket, which only the user of the page may use.
DATA_SOCKET = "/run/mailgate-web-data.sock"
_USERS = "; `@NAME` for the users of a group in `groups_header`."


@dataclass(frozen=True)
class WebSettings:
    """Section `[web]`."""

    listen: str = setting(
        "127.0.0.1:8025",
        "Address and port of the page. The web server in front of it has TLS and the sign-in.",
        form="web_endpoint",
    )
    proxies: tuple[str, ...] = setting(
        (),
        "Addresses of the web servers in front of the page; others get nothing, and headers with the user's name are"
        " accepted from these only. If empty, loopback. Required if `listen` is not on loopback.",
        form="ip_address",
    )
    user_header: str = setting(
        "X-Remote-User", "Header with the name of the user, which the web server sets.", form="header_name"
    )
    groups_header: str = setting(
        "",
        "Header with the names of the user's groups, separated by commas or semicolons; if empty, there are no groups.",
        form="optional_header_name",
    )
    peers: tuple[str, ...] = setting(
        (),
        "Other gateways that the page shows too, each as `NAME=ADDRESS:PORT` with the `peer_listen` of that gateway.",
        form="peer",
    )
    peer_listen: str = setting(
        "",
        "Address and port on which other gateways ask what their pages show, by TLS with the certificate of `peer_file`"
        " on both sides; if empty, they cannot.",
        form="optional_endpoint",
    )
    peer_file: str = setting(
        "", "File with a private key and its certificate, the same on all gateways; who has it may ask.", form="path"
    )
    postmasters: tuple[str, ...] = setting(
        (), f"Users who see everything, and release or delete quarantined messages{_USERS}", form="text"
    )
    viewers: tuple[str, ...] = setting((), f"Users who see everything and change nothing{_USERS}", form="text")


@dataclass(frozen=True)
class Faculty:
    """Table `[web_faculties.NAME]`."""

    users: tuple[str, ...] = setting(
        (), f"Users who see the mail for `domains`, and nothing else{_USERS}", form="text", example=("carol",)
    )
    domains: tuple[str, ...] = setting(
        (), "Domains of the faculty, or `*.suffix` for all below.", form="domain", example=("eng.univ.example",)
    )
