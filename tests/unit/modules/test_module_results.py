# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of modules with paths and lines in any encoding."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.campus.mailgate.plugins.module_utils._results import text_only

CAFE = os.fsdecode(b"caf\xe9")
REPLACED = "caf\N{REPLACEMENT CHARACTER}"
MODULES = Path(__file__).parents[3] / "plugins" / "modules"


@pytest.mark.parametrize("way", ["exit", "fail"])
def test_bytes_that_are_not_utf8_are_replaced(way, tmp_path, capsys, module_arguments):
    with module_arguments({"_ansible_remote_tmp": str(tmp_path)}), pytest.raises(SystemExit):
        module = text_only(AnsibleModule)(argument_spec={})
        if way == "exit":
            module.exit_json(changed=True, zones=[{"file": CAFE, "serial": 1}], diff=({CAFE: "漢"},))
        module.fail_json(msg=CAFE, problems=[CAFE])
    result = json.loads(capsys.readouterr().out)
    assert "\\udce9" not in json.dumps(result)
    if way == "exit":
        assert result["zones"] == [{"file": REPLACED, "serial": 1}]
        assert result["diff"] == [{REPLACED: "漢"}]
    else:
        assert (result["msg"], result["problems"]) == (REPLACED, [REPLACED])


def test_a_warning_has_text_only():
    class Base:
        def __init__(self):
            self.warnings = []

        def warn(self, warning):
            self.warnings.append(warning)

    module = text_only(Base)()
    module.warn(CAFE)
    assert module.warnings == [REPLACED]


@pytest.mark.parametrize("path", sorted(MODULES.glob("*.py")), ids=lambda path: path.stem)
def test_no_module_returns_bytes_of_a_host_directly(path):
    assert not re.search(r"= AnsibleModule\(", path.read_text())
