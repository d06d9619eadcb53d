# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates."""

from __future__ import annotations

import pytest

from mailgate import tls
from mailgate.config import ConfigError
from mailgate.config_file import parse_config


class TestCertificate:
    def test_an_invalid_certificate_is_named(self, tmp_path, certificate):
        text = f'hostname = "gw.example"\nroutes_file = "{tmp_path}/routes"\n[tls]\n'
        with pytest.raises(ConfigError, match="certificate and key must be set together"):
            parse_config(text + 'certificate = "/x"\n')
        with pytest.raises(ConfigError, match="are not a matching certificate and key"):
            tls.server_context(parse_config(text + f'certificate = "{tmp_path}/x"\nkey = "{tmp_path}/y"\n'))
        good = parse_config(
            text + f'certificate = "{certificate[0]}"\nkey = "{certificate[1]}"\nrequired_for = ["*.a.example"]'
        )
        assert tls.server_context(good)
        assert good.tls.required("x.a.example") and not good.tls.required("a.example")
        with pytest.raises(ConfigError, match=r"tls.required_for: '-' is not a valid domain"):
            parse_config(text + 'required_for = ["-"]')
