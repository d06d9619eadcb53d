# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a wheelhouse come exactly the wheels that are needed, or one list of all that is missing or unfit."""

from __future__ import annotations

import io
import zipfile

import pytest

from ansible_collections.campus.mailgate.plugins.plugin_utils.wheelhouse import (
    parse_requirements,
    read_wheel,
    select_wheels,
)
from ansible_collections.campus.mailgate.plugins.plugin_utils.zipapp import BuildError


def wheel(name: str, version: str, *headers: str, **files: str) -> bytes:
    buffer = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", "\n".join([f"Name: {name}", f"Version: {version}", *headers]) + "\n\n")
        archive.writestr(f"{info}/RECORD", "")
        for path, text in files.items():
            archive.writestr(path, text)
    return buffer.getvalue()


def choose(requirements: str, house: dict[str, bytes], python: str = "3.11") -> list[str]:
    found = select_wheels(parse_requirements(requirements), house, house.__getitem__, python)
    return [item.filename for item in found]


def problems(requirements: str, house: dict[str, bytes], python: str = "3.11") -> list[str]:
    with pytest.raises(BuildError) as caught:
        choose(requirements, house, python)
    return caught.value.problems


def test_requirements_with_comments_hashes_and_markers():
    text = "# why\naiosmtpd==1.4.6\t# SMTP\n\npyclamd==0.4.0 \\\n  --hash=sha256:00 \\\n  --hash=sha256:11\n"
    text += "x; sys_platform=='win32'\n"
    assert [str(item) for item in parse_requirements(text)] == [
        "aiosmtpd==1.4.6",
        "pyclamd==0.4.0",
        'x; sys_platform == "win32"',
    ]


def test_lines_that_are_no_requirements_are_all_named():
    with pytest.raises(BuildError) as caught:
        parse_requirements("-r other.txt\ngood==1\n=1\n")
    assert [line.split(" is not")[0] for line in caught.value.problems] == [
        "requirement '-r other.txt'",
        "requirement '=1'",
    ]


def test_dependencies_come_along_and_what_nobody_needs_stays_out():
    house = {
        "a-1.0-py3-none-any.whl": wheel(
            "a", "1.0", "Requires-Dist: B_b>=2", 'Requires-Dist: old; python_version < "3.8"'
        ),
        "b_b-2.1-py2.py3-none-any.whl": wheel("b_b", "2.1", "Requires-Dist: extra; extra == 'more'"),
        "unused-1-py3-none-any.whl": b"not even read",
    }
    assert choose("A==1.0", house) == ["a-1.0-py3-none-any.whl", "b_b-2.1-py2.py3-none-any.whl"]


def test_extras_are_followed():
    house = {
        "a-1-py3-none-any.whl": wheel("a", "1", 'Requires-Dist: b; extra == "more"'),
        "b-1-py3-none-any.whl": wheel("b", "1"),
    }
    assert choose("a[more]", house) == list(house)
    assert choose("a", house) == ["a-1-py3-none-any.whl"]


def test_a_circle_of_dependencies_ends():
    house = {
        "a-1-py3-none-any.whl": wheel("a", "1", "Requires-Dist: b"),
        "b-1-py3-none-any.whl": wheel("b", "1", "Requires-Dist: a"),
    }
    assert choose("a", house) == list(house)


def test_the_newest_version_that_fits_is_taken():
    house = {f"a-{version}-py3-none-any.whl": wheel("a", version) for version in ("1.9", "1.10", "2.0")}
    assert choose("a<2", house) == ["a-1.10-py3-none-any.whl"]


def test_everything_that_is_wrong_is_reported_at_once():
    house = {
        "a-1-py3-none-any.whl": wheel("a", "1", "Requires-Dist: gone>=3", "Requires-Dist: b==2"),
        "b-1-py3-none-any.whl": wheel("b", "1"),
        "c-1-cp311-cp311-linux_x86_64.whl": wheel("c", "1"),
        "d-1-py3-none-any.whl": wheel("d", "1", "Requires-Python: >=3.12"),
    }
    assert problems("a\nc\nd\n", house) == [
        "b==2 is missing, required by a-1-py3-none-any.whl; available: 1",
        "c-1-cp311-cp311-linux_x86_64.whl is not pure Python (py3-none-any), so it cannot run from an archive",
        "d-1-py3-none-any.whl needs Python >=3.12; the gateways have 3.11",
        "gone>=3 is missing, required by a-1-py3-none-any.whl",
    ]


def test_requirements_that_disagree():
    house = {f"a-{n}-py3-none-any.whl": wheel("a", n) for n in ("1", "2")}
    assert problems("a==1\na==2\n", house) == [
        "a==2, required by the requirements, conflicts with a-1-py3-none-any.whl"
    ]


def test_an_empty_wheelhouse():
    assert problems("a==1\n", {}) == ["a==1 is missing, required by the requirements"]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 torn", wheel("a", "1")[:-30]])
def test_a_torn_wheel_is_named(data):
    assert problems("a", {"a-1-py3-none-any.whl": data})[0].startswith("a-1-py3-none-any.whl is not a wheel: ")


def test_only_what_is_imported_or_tells_the_version_is_kept():
    data = wheel("a", "1", **{"a-1.data/purelib/deep/b.py": "b", "a-1.data/scripts/tool": "s"})
    assert sorted(read_wheel("a-1-py3-none-any.whl", data).files) == ["a-1.dist-info/METADATA", "a.py", "deep/b.py"]
