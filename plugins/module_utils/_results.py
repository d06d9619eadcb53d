# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Results of modules that may have bytes of an admin's files: paths, lines and messages in any encoding."""

from __future__ import annotations

from typing import Any, NoReturn


def text_only(base: type[Any]) -> type[Any]:
    """Return a subclass of AnsibleModule that returns text only.

    ansible-core 2.19 rejects a result with other bytes, and then the module has made its changes already.
    """

    class Module(base):  # type: ignore[misc]  # the base is a parameter
        def exit_json(self, **kwargs: Any) -> NoReturn:
            super().exit_json(**displayable(kwargs))
            raise AssertionError("exit_json ends the module")

        def fail_json(self, msg: str, **kwargs: Any) -> NoReturn:
            super().fail_json(displayable(msg), **displayable(kwargs))
            raise AssertionError("fail_json ends the module")

        def warn(self, warning: str, **kwargs: Any) -> None:
            super().warn(displayable(warning), **kwargs)

    return Module


def displayable(value: Any) -> Any:
    """Return plain data in which bytes that are not UTF-8 (surrogate escapes) are replaced."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {displayable(key): displayable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [displayable(each) for each in value]
    return value
