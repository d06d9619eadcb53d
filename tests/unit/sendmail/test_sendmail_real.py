# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our lines in admins' configurations, with the real sendmail, m4 and makemap of Debian."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import lived_in
import pytest
import real_sendmail
from real_sendmail import run

from ansible_collections.campus.mailgate.plugins.module_utils import _replace
from ansible_collections.campus.mailgate.plugins.module_utils._keep import kept, text
from ansible_collections.campus.mailgate.plugins.module_utils._routes.table import Route
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail import adopt, host, removal, system
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.block import Wish
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.settings import Listener, Settings
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.system import SendmailError

pytestmark = pytest.mark.slow

PLAN = Settings(
    "a.univ.example",
    (Listener("0.0.0.0", 25),),
    ("a.univ.example", "old.example", "*.lab.a.univ.example"),
    ("b.univ.example",),
    (Route("b.univ.example", "198.18.1.2"), Route("*.c.univ.example", "198.18.1.3")),
)
HEAD = lived_in.HEAD % 7
MAILER = lived_in.MAILERS[0]
FULL = (
    HEAD + "FEATURE(`mailertable')dnl\nFEATURE(`access_db')dnl\nFEATURE(`use_cw_file')dnl\n"
    "FEATURE(`virtusertable')dnl\n" + MAILER
)
TABLES = dict.fromkeys(lived_in.ROWS, "") | {
    "mailertable": "partner.example\tesmtp:[192.0.2.7]\n",
    "names": "localhost\nold.example\n",
    "virtusertable": "info@old.example\troot\n",
    "aliases": "postmaster: root\nmailer-daemon: root\nstaff: root\n",
    "access": "Connect:198.18.1\tRELAY\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def debian() -> real_sendmail.System:
    system_ = real_sendmail.system()
    if system_ is None:
        pytest.skip(real_sendmail.REASON)
    return system_


def apply(wish: Wish | None = None, plan: Settings = PLAN) -> host.Outcome:
    # In a network without interfaces, Linux lets a socket have any address.
    host.own_addresses = lambda table: []
    return host.apply(plan, run, check=False, wish=wish)


def refused(wish: Wish | None = None, plan: Settings = PLAN) -> str:
    """Apply the plan; return the error, after which nothing has changed."""
    before = lived_in.files()
    try:
        apply(wish, plan)
    except SendmailError as error:
        assert lived_in.differing(before) == []
        return str(error)
    raise AssertionError("not refused")


def verified(*addresses: str) -> str:
    return run([system.SENDMAIL, "-bv", *addresses], "")[1]


def adopted(seed: int) -> str:
    """Put the routes into a generated configuration and take them out; return what was wrong."""
    random = Random(seed)
    mc = lived_in.source(random)
    tables = {name: lived_in.table(random, name) for name in lived_in.ROWS}
    complaints = lived_in.install(mc, tables)
    if "rror" in complaints:
        return f"{seed}: not a valid configuration: {complaints}"
    before = lived_in.files()
    try:
        outcome = apply()
    except SendmailError as error:
        return f"{seed}: {error}\n{mc}"
    found = []
    made = lived_in.files()
    for path in before:
        if path.endswith((".db", ".cf")) or made[path] == before[path]:
            continue
        style = adopt.MC_STYLE if path.endswith(".mc") else adopt.blocks.HASH
        if adopt.bare(text.decode(made[path][0]), style).encode("utf-8", "surrogateescape") != before[path][0]:
            found.append(f"{path}: other lines have changed")
    answer = verified("x@b.univ.example", "x@d.c.univ.example")
    for hop in ("host [198.18.1.2]", "host [198.18.1.3]"):
        if hop not in answer:
            found.append(f"no {hop}: {answer}")
    if seed % 5 == 0 and apply().files:
        found.append("a second run changes files")
    removal.remove(run, check=False)
    found += [f"not as before: {path}" for path in lived_in.differing(before)]
    if outcome.configuration != "block" or outcome.asked < 50:
        found.append(str(outcome.told))
    return "".join(f"{seed}: {each}\n" for each in found) + (mc if found else "")


def several(seeds: range) -> list[str]:
    wrong = []
    pristine = Path("/etc.pristine")
    shutil.copytree("/etc", pristine, symlinks=True)
    for seed in seeds:
        wrong.append(adopted(seed))
        shutil.rmtree("/etc/mail")
        shutil.copytree(pristine / "mail", "/etc/mail", symlinks=True)
        shutil.rmtree("/var/backups/mailgate", ignore_errors=True)
    return [each for each in wrong if each]


@pytest.mark.parametrize("start", range(0, 200, 25))
def test_any_configuration_answers_as_before_and_is_restored_to_the_byte(debian: Any, start: int) -> None:
    assert debian.do(several, range(start, start + 25)) == []


def case(mc: str = FULL, **tables: str) -> Callable[[], None]:
    def install() -> None:
        assert lived_in.install(mc, TABLES | tables) == ""

    return install


def refusal(debian: Any, install: Callable[[], None], wish: Wish | None = None, plan: Settings = PLAN) -> str:
    def do() -> str:
        install()
        return refused(wish, plan)

    return str(debian.do(do))


def test_all_conflicts_are_told_at_once_with_their_lines(debian: Any) -> None:
    install = case(
        mailertable="# x\nb.univ.example\terror:5.1.1:550 gone\n",
        names="localhost\nold.example\nb.univ.example\n",
        access="To:b.univ.example\tREJECT\n",
        virtusertable="info@b.univ.example\troot\n",
    )
    told = refusal(debian, install)
    for line in (
        "/etc/mail/mailertable, line 2: 'b.univ.example\\terror:5.1.1:550 gone'; the plan: 'b.univ.example relay:[",
        "/etc/mail/local-host-names, line 3: 'b.univ.example'",
        "/etc/mail/access, line 1: 'To:b.univ.example\\tREJECT'; the plan: 'To:b.univ.example RELAY'",
        "/etc/mail/virtusertable, line 1: ",
        "sendmail_routes_take", "mailgate_keep_route",
    ):  # fmt: skip
        assert line in told


def test_conflicting_lines_are_taken_or_kept(debian: Any) -> None:
    install = case(
        mailertable="b.univ.example\tesmtp:[192.0.2.66]\nx.example smtp:[192.0.2.1]\n",
        names="localhost\nold.example\n",
        access="To:b.univ.example\tREJECT\n",
    )

    def take() -> tuple[str, list[str], list[str]]:
        install()
        before = lived_in.files()
        told = apply(Wish(take=("b.univ.example",))).told
        again = apply(Wish(take=("b.univ.example",))).files
        answer = verified("x@b.univ.example")
        removal.remove(run, check=False)
        return answer, told, [*again, *lived_in.differing(before)]

    answer, told, wrong = debian.do(take)
    assert "host [198.18.1.2]" in answer
    assert sum("is out of use" in each for each in told) == 2
    assert wrong == []

    def keep() -> tuple[str, list[str]]:
        install()
        told = apply(Wish(keep=("b.univ.example",))).told
        return verified("x@b.univ.example"), told

    answer, told = debian.do(keep)
    assert "host [192.0.2.66]" in answer
    assert "b.univ.example: the admin's own route is kept, the plan's is left out" in told


def test_a_table_that_was_not_built_is_refused_with_both_answers(debian: Any) -> None:
    def install() -> None:
        case()()
        (lived_in.ETC_MAIL / "mailertable").write_text("partner.example\tesmtp:[192.0.2.99]\n")

    told = refusal(debian, install)
    assert "mail for mailgate-probe@partner.example: before 'mailer esmtp, host [192.0.2.7]" in told
    assert "after 'mailer esmtp, host [192.0.2.99]" in told


@pytest.mark.parametrize(
    ("mc", "words"),
    [
        (HEAD + "FEATURE(`nullclient', `hub.univ.example')dnl\n", "FEATURE(nullclient): this host sends all its mail to hub"),  # noqa: E501
        (FULL.replace("Port=smtp", "Port=smtp, Addr=127.0.0.1"),
         "listens on 127.0.0.1 25, 0.0.0.0 587, but the plan needs 0.0.0.0 25"),
        (FULL.replace("`mailertable'", "`mailertable', `LDAP'"), "mailertable is a map of the kind ldap"),
        (FULL.replace("`mailertable'", "`mailertable', `text /etc/mail/x'"), "mailertable is a map of the kind text"),
        (HEAD + "MAILER(`local')dnl\n", "no mailer sends to port 25"),
    ],
    ids=["nullclient", "loopback", "ldap", "text", "no smtp"],
)  # fmt: skip
def test_what_cannot_have_routes_is_refused(debian: Any, mc: str, words: str) -> None:
    assert words in refusal(debian, case(mc))


def test_the_daemon_listens_where_the_plan_needs_it_if_asked(debian: Any) -> None:
    def do() -> str:
        case(FULL.replace("Port=smtp", "Port=smtp, Addr=127.0.0.1"))()
        apply(Wish(manage=("listen", "max_daemon_children")))
        return (lived_in.ETC_MAIL / "sendmail.cf").read_text("latin-1")

    built = debian.do(do)
    assert "O DaemonPortOptions=Family=inet, Name=MTA, Port=smtp, Addr=127.0.0.1\n" in built
    assert "O DaemonPortOptions=Name=mailgate1, Family=inet, Addr=0.0.0.0, Port=25\n" in built
    assert "O MaxDaemonChildren=60\n" in built


def test_a_cf_that_is_not_made_from_the_mc_is_refused(debian: Any) -> None:
    def edited() -> None:
        case()()
        path = lived_in.ETC_MAIL / "sendmail.cf"
        path.write_bytes(path.read_bytes().replace(b"O AliasWait=10\n", b"O AliasWait=17\n"))

    def packaged() -> None:
        path = lived_in.ETC_MAIL / "sendmail.cf"
        path.write_bytes(path.read_bytes().replace(b"O AliasWait=10\n", b"O AliasWait=17\n"))

    for change in (edited, packaged):
        told = refusal(debian, change)
        assert "only in sendmail.cf: O AliasWait=17" in told
        assert "only from sendmail.mc: O AliasWait=10" in told

    def without() -> None:
        case()()
        (lived_in.ETC_MAIL / "sendmail.mc").unlink()

    assert "has no sendmail.mc that it is made from" in refusal(debian, without)

    def of_cf() -> None:
        without()
        (lived_in.ETC_MAIL / "sendmail.def").write_text("STATIC_ROUTE_FILE=static-route\n")
        (lived_in.ETC_MAIL / "static-route").write_text("STATIC b.univ.example smtp:[198.18.1.9]\n")

    told = refusal(debian, of_cf)
    assert "static-route, line 1: b.univ.example smtp:[198.18.1.9]; the plan: b.univ.example [198.18.1.2]" in told


def test_a_run_that_is_killed_at_any_write_is_completed_or_taken_back(debian: Any) -> None:
    kills = 0
    for way in (apply, lambda: None):
        for number in range(1, 60):
            finished, wrong = debian.do(killed, number, way)
            assert wrong == [], number
            if finished:
                break
            kills += 1
        else:
            pytest.fail("never finished")
    assert kills > 20


def killed(number: int, way: Callable[[], Any]) -> tuple[bool, list[str]]:
    """Kill a run before its write of that number; go on in a way, and remove; return what is not as before."""
    mc = HEAD + "FEATURE(`virtusertable')dnl\n" + MAILER
    assert lived_in.install(mc, TABLES | {"mailertable": "", "access": ""}) == ""
    before = lived_in.files()
    child = os.fork()
    if child == 0:
        put, count = _replace._put, [0]

        def stop(path: Path, staged: Path | None) -> None:
            count[0] += 1
            if count[0] == number:
                os._exit(9)
            put(path, staged)

        _replace._put = stop
        apply()
        os._exit(0)
    _pid, status = os.waitpid(child, 0)
    way()
    wrong = [] if way is not apply or "host [198.18.1.2]" in verified("x@b.univ.example") else ["no route"]
    removal.remove(run, check=False)
    wrong += [path for path in lived_in.differing(before) if ".mailgate-" not in path]
    return os.waitstatus_to_exitcode(status) == 0, wrong


def test_what_others_edit_since_stays(debian: Any) -> None:
    def do() -> tuple[list[str], bytes, str, list[str]]:
        case()()
        apply()
        path = lived_in.ETC_MAIL / "mailertable"
        path.write_text(path.read_text() + "late.example\tesmtp:[192.0.2.8]\n")
        run(["sh", "-c", f"makemap hash {path} < {path}"], "")
        outcome = removal.remove(run, check=False)
        answer = verified("x@late.example", "x@partner.example", "x@b.univ.example")
        return outcome.told, path.read_bytes(), answer, removal.remove(run, check=False).files

    told, content, answer, again = debian.do(do)
    assert content == b"partner.example\tesmtp:[192.0.2.7]\nlate.example\tesmtp:[192.0.2.8]\n"
    assert any(
        "/etc/mail/mailertable was edited since; only the lines of campus.mailgate are removed" in t for t in told
    )
    assert "x@late.example... deliverable: mailer esmtp, host [192.0.2.8]" in answer
    assert "host [192.0.2.7]" in answer
    assert "198.18.1.2" not in answer
    assert again == []


def test_files_of_the_package_are_generated_and_restored(debian: Any) -> None:
    def do() -> tuple[str, str, list[str], list[str]]:
        before = lived_in.files()
        for route in (Route("n.univ.example", "198.18.1.9"), Route("b.univ.example", "198.18.1.8")):
            apply(plan=replace(PLAN, routes=(route,)))
        outcome = apply()
        answer = verified("x@b.univ.example")
        assert apply().files == []
        told = removal.remove(run, check=False).told
        return outcome.configuration, answer, told, lived_in.differing(before)

    form, answer, told, wrong = debian.do(do)
    assert form == "generate"
    assert "relay, host [198.18.1.2]" in answer
    assert (told, wrong) == ([], [])


@pytest.mark.parametrize(
    "tables",
    [
        {"aliases": ""},
        {"aliases": "ops: postmaster, MAILER-DAEMON, nobody\n"},
        {
            "aliases": "",
            "access": "To:postmaster@mine.example\tOK\n",
            "names": "localhost\nold.example\nmine.example\n",
            "virtusertable": "a@mine.example\tpostmaster\n@mine.example\tmailer-daemon@mine.example\n",
        },
    ],
    ids=["none", "others", "virtual"],
)
def test_required_aliases_that_are_added_are_no_difference(debian: Any, tables: dict[str, str]) -> None:
    def do() -> tuple[str, list[str]]:
        case(**tables)()
        before = lived_in.files()
        apply(Wish(manage=("double_bounce_address",)))
        added = text.decode(Path("/etc/aliases").read_bytes())
        removal.remove(run, check=False)
        return added, lived_in.differing(before)

    added, wrong = debian.do(do)
    assert "\npostmaster: root\nmailer-daemon: postmaster\n" in added
    assert wrong == []


def test_a_host_of_an_earlier_release_works_and_says_that_it_has_no_copies(debian: Any) -> None:
    def do() -> tuple[list[str], list[str], list[str]]:
        apply()
        shutil.rmtree(kept.STORE)
        before = lived_in.files()
        told = removal.remove(run, check=False).told
        changed = lived_in.differing(before)
        new = Settings("a.univ.example", PLAN.listen, ("a.univ.example",), (), (Route("n.univ.example", "198.18.1.9"),))
        assert apply(plan=new).configuration == "generate"
        later = removal.remove(run, check=False)
        return changed + later.files, told, later.told

    wrong, told, later = debian.do(do)
    assert wrong == []
    for each in (told, later):
        assert "written by an earlier release, which kept no copies" in each[0]


def test_a_gateway_whose_sendmail_does_other_work_is_refused(debian: Any) -> None:
    plan = Settings(
        "gw.univ.example", (Listener("127.0.0.1", 10025),), (), (), (Route("b.univ.example", "198.18.1.2"),)
    )
    told = refusal(debian, case(), plan=plan)
    assert "listens on 0.0.0.0 25, 0.0.0.0 587, but the plan needs 127.0.0.1 10025" in told
