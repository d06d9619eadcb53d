# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists in files: loaded again when they change, kept when they are invalid or gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from rule_clients import ALICE, OK, connect, reply_to, rule

from mailgate.rule_settings import ListSetting
from mailgate.rules.lists import load_list, load_lists


def replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "spamlist"
    path.write_text("spam.example\n")
    return path


async def spam(campus, domain="spam.example") -> str:
    return (await reply_to(campus, sender=f"a@{domain}"))[:3]


async def start(with_rules, path: Path):
    rules = rule("l", "refuse", 'sender = ["@l"]')
    return await with_rules(rules, lists=f'[lists.l]\nkind = "address"\nfile = "{path}"\nentries = ["junk.example"]\n')


async def test_a_changed_file_is_loaded(with_rules, listed):
    campus = await start(with_rules, listed)
    assert [await spam(campus), await spam(campus, "junk.example"), await spam(campus, "new.example")] == [
        "550", "550", "250",
    ]  # fmt: skip
    replace(listed, "new.example\n")
    await campus.gateway.rules.refresh()
    assert [await spam(campus), await spam(campus, "junk.example"), await spam(campus, "new.example")] == [
        "250", "550", "550",
    ]  # fmt: skip
    assert [event["entries"] for event in campus.events("list_loaded")] == [2, 2]


async def test_a_connection_that_is_open_uses_the_new_list(with_rules, listed):
    campus = await start(with_rules, listed)
    client = await connect(campus)
    assert (await client.start(ALICE, sender="a@new.example")) == [OK]
    replace(listed, "new.example\n")
    await campus.gateway.rules.refresh()
    await client.say("RSET")
    assert (await client.start(ALICE, sender="a@new.example"))[0].startswith("550")


@pytest.mark.parametrize("text", ["new.example\nnot valid\n", None])
async def test_the_old_list_stays_while_the_file_is_invalid_or_gone(with_rules, listed, text):
    campus = await start(with_rules, listed)
    if text is None:
        listed.unlink()
    else:
        replace(listed, text)
    for _time in range(3):
        await campus.gateway.rules.refresh()
    assert [await spam(campus), await spam(campus, "new.example")] == ["550", "250"]
    (event,) = campus.events("list_refused")
    expected = f"{listed}:2: 'not valid' is not user@domain, user@, a domain or *.suffix" if text else str(listed)
    assert event["problems"][0].startswith(expected)
    replace(listed, "new.example\n")
    await campus.gateway.rules.refresh()
    assert [await spam(campus), await spam(campus, "new.example")] == ["250", "550"]


async def test_the_service_starts_without_a_file_and_finds_it_later(with_rules, tmp_path):
    campus = await start(with_rules, tmp_path / "later")
    assert await spam(campus) == "250"
    assert len(campus.events("list_refused")) == 1
    replace(tmp_path / "later", "spam.example\n")
    await campus.gateway.rules.refresh()
    assert await spam(campus) == "550"


def test_an_unchanged_file_is_not_read_again(listed):
    settings = {"l": ListSetting("address", str(listed))}
    old = load_lists(settings)
    assert load_lists(settings, old)["l"] is old["l"]
    replace(listed, "x.example\n")
    assert load_lists(settings, old)["l"] is not old["l"]


def test_another_kind_does_not_keep_the_old_list(listed):
    old = load_lists({"l": ListSetting("address", str(listed))})
    new = load_lists({"l": ListSetting("network", str(listed))}, old)["l"]
    assert (len(new.table), len(new.problems)) == (0, 1)


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "l").write_bytes(b"\xff\xfe\x00a\nb.example\n")
    loaded = load_list("l", ListSetting("name", str(tmp_path / "l")))
    assert (len(loaded.table), len(loaded.problems)) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["network", "name", "address"])
def test_a_million_lines(tmp_path, kind):
    entry = {
        "network": lambda n: f"{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}.0/24",
        "name": lambda n: f"host{n}.spam{n % 1000}.example",
        "address": lambda n: f"user{n}@spam{n % 1000}.example",
    }[kind]
    with (tmp_path / "l").open("w") as lines:
        lines.writelines(f"{entry(n)}\n" for n in range(1_000_000))
    loaded = load_list("l", ListSetting(kind, str(tmp_path / "l")))
    assert (len(loaded.table), loaded.problems) == (1_000_000, ())
