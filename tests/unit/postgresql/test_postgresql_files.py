# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of the event database in the files of PostgreSQL, and passwords as it stores them."""

from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._postgresql import files, scram
from ansible_collections.campus.mailgate.plugins.module_utils._postgresql.files import Gateway, Line
from ansible_collections.campus.mailgate.plugins.module_utils._postgresql.server import Cluster, parse_clusters

OWN = "/etc/postgresql/15/main/conf.d/mailgate.conf"
MAIN = "/etc/postgresql/15/main/postgresql.conf"
AUTO = "/var/lib/postgresql/15/main/postgresql.auto.conf"
ADDRESS = "198.18.0.30"
HBA = "# the admin's\nlocal all postgres peer\nhost all all 0.0.0.0/0 reject\n"


def settings(*lines: Line, address: str = ADDRESS) -> list[str]:
    return files.settings_text(lines, OWN, address, "/c.pem", "/k.pem").splitlines()[1:]


class TestAccess:
    LINES = files.access_lines("mailgate", [Gateway("gw1", "mailgate_gw1", ("198.18.0.25", "2001:db8::25"))])

    def test_each_address_has_a_line(self):
        assert self.LINES == [
            'hostssl "mailgate" "mailgate_gw1" 198.18.0.25/32 scram-sha-256',
            'hostssl "mailgate" "mailgate_gw1" 2001:db8::25/128 scram-sha-256',
        ]

    def test_they_come_before_a_line_that_rejects_all(self):
        text = files.with_access(HBA, self.LINES)
        assert text.index("mailgate_gw1") < text.index("reject")
        assert files.without_access(text) == HBA

    def test_a_second_time_changes_nothing_wherever_the_admin_has_moved_them(self):
        text = files.with_access(HBA, self.LINES)
        assert files.with_access(text, self.LINES) == text
        moved = HBA.replace("local", text.removesuffix(HBA) + "local")
        assert files.with_access(moved, self.LINES) == moved

    def test_a_gateway_that_is_gone_has_no_line(self):
        text = files.with_access(files.with_access(HBA, self.LINES), self.LINES[1:])
        assert "198.18.0.25" not in text
        assert "2001:db8::25" in text

    def test_quotes_in_a_name(self):
        assert files.quoted('a"b') == '"a""b"'


class TestSettings:
    def test_the_default_of_the_server_stays(self):
        assert settings()[0] == f"listen_addresses = 'localhost,{ADDRESS}'"

    def test_the_admins_addresses_stay(self):
        assert settings(Line("listen_addresses", "localhost, 10.0.0.1", MAIN))[0] == (
            f"listen_addresses = 'localhost, 10.0.0.1,{ADDRESS}'"
        )

    @pytest.mark.parametrize("value", ["*", "0.0.0.0", f"localhost, {ADDRESS}"])
    def test_no_line_if_it_listens_there(self, value):
        assert not settings(Line("listen_addresses", value, MAIN))[0].startswith("listen")

    def test_ipv4_is_not_ipv6(self):
        assert settings(Line("listen_addresses", "0.0.0.0", MAIN), address="2001:db8::1")[0].startswith("listen")
        assert not settings(Line("listen_addresses", "::", MAIN), address="2001:db8::1")[0].startswith("listen")

    def test_its_own_line_is_not_the_admins(self):
        assert settings(Line("listen_addresses", f"localhost,{ADDRESS}", OWN)) == settings()


class TestConflicts:
    def test_none_with_debians_files(self):
        lines = [Line("ssl", "on", MAIN), Line("ssl_cert_file", "/etc/ssl/certs/ssl-cert-snakeoil.pem", MAIN)]
        assert files.conflicts(lines, OWN, ADDRESS) == []

    def test_a_certificate_of_the_admins(self):
        found = files.conflicts([Line("ssl_cert_file", "/etc/ssl/db.pem", MAIN)], OWN, ADDRESS)
        assert ["/etc/ssl/db.pem" in each for each in found] == [True]

    @pytest.mark.parametrize("line", [Line("ssl", "off", AUTO), Line("listen_addresses", "10.0.0.1", AUTO)])
    def test_what_alter_system_has_set_overrides(self, line):
        assert len(files.conflicts([line], OWN, ADDRESS)) == 1
        assert files.conflicts([Line(line.name, line.value, MAIN)], OWN, ADDRESS) == []

    def test_what_comes_after_the_file_overrides(self):
        after = [Line("ssl", "on", OWN), Line("ssl", "off", MAIN)]
        assert len(files.conflicts(after, OWN, ADDRESS)) == 1
        assert files.conflicts(after[::-1], OWN, ADDRESS) == []

    def test_an_override_with_the_address_is_none(self):
        assert files.conflicts([Line("listen_addresses", "*", AUTO)], OWN, ADDRESS) == []


class TestPasswords:
    # RFC 7677, 3: password "pencil".
    SALT = bytes.fromhex("5b6d99689d123589ee0e8b5b7c8f1c6b")

    def test_of_the_rfc(self):
        import base64

        salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
        server = scram.verifier("pencil", salt, 4096).rpartition(":")[2]
        # The server's signature of the RFC's exchange, by this key.
        import hashlib
        import hmac

        nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        message = (
            f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
        ).encode()
        signature = hmac.digest(base64.b64decode(server), message, hashlib.sha256)
        assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

    def test_fits(self):
        assert scram.fits(scram.verifier("secret"), "secret")
        assert not scram.fits(scram.verifier("secret"), "Secret")

    @pytest.mark.parametrize("stored", ["", "md5abc", "SCRAM-SHA-256$x:y$z", "SCRAM-SHA-256$4096:%%%$a:b"])
    def test_of_another_kind_fits_nothing(self, stored):
        assert not scram.fits(stored, "secret")


def test_clusters():
    text = "13 main 5432 down   postgres /d /l\n15 main 5433 online,recovery postgres /d /l\n"
    assert parse_clusters(text) == [Cluster("13", "main", 5432, False), Cluster("15", "main", 5433, True)]
