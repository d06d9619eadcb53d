# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our lines in the files of an admin's sendmail: built in a temporary directory and proven before they are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .._keep import blocks
from .._keep.text import diff, encode, read
from .._routes.table import in_order, is_wildcard
from .._routes.transition import Present
from . import adopt, forms, inquiry, proof, system, tables
from . import trial as trials
from .adopt import Conflict
from .cf import cf
from .change import Change, build_aliases, build_map, map_entries
from .running import BUILT, Configuration, Map, statements
from .settings import Settings
from .system import Run, SendmailError, m4, redirected, refuse

_TRACE = ("-tMAILER", "-tMAILER_DEFINITIONS", "-tFEATURE", "-tinclude", "-tsinclude", "-dfla")
# Aliases that every host must have (RFC 5321, section 4.5.1).
_REQUIRED = ("postmaster", "mailer-daemon")
_FIX = (
    "For each conflict remove the admin's line; or name the domain in sendmail_routes_take, and the role takes the "
    "line out "
    "of use; or in mailgate_keep_route, and the line stays and the plan's route for the domain is left out"
)


@dataclass(frozen=True)
class Wish:
    """What an operator decides about a host.

    Attributes:
        configuration: `auto`, `block` or `generate`.
        take: Domains whose conflicting lines are taken out of use.
        keep: Domains that stay as the admin has them.
        manage: Which of `adopt.MANAGED` the block sets too.
    """

    configuration: str = "auto"
    take: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    manage: tuple[str, ...] = ()


@dataclass
class _Files:
    """An admin's configuration: the sources, without our lines too, and what they yield."""

    mc_path: Path
    cf_path: Path
    mc: str
    bare_mc: str
    own: Configuration
    now: Configuration
    trace: str
    traced: Path
    class_w: list[str]

    def table(self, name: str) -> Map:
        """Return a table that the files declare, with us or without; else the one that our block will declare."""
        found = self.own.map(name) or self.now.map(name)
        if found:
            return found
        default = system.ETC_MAIL / name
        unused = tables.map_entries(read(default) or "")
        path = default.with_name(f"mailgate-{name}") if unused else default
        return Map(name, "hash", str(path), path)

    @property
    def class_w_files(self) -> list[Path]:
        """Return the files of class w."""
        return self.own.class_files("w")


def present(run: Run, stage: Path) -> Present | None:
    """Return the domains and routes in our lines; None for a host without them."""
    files = _files(run, stage)
    class_w = files.class_w_files
    return adopt.present(
        _text(files.table("mailertable").path),
        _text(class_w[0]) if class_w else "",
        _text(files.table("access").path),
        files.mc,
    )


def build(settings: Settings, former: Present | None, wish: Wish, run: Run, stage: Path) -> Change:
    """Build the files of the host with our lines.

    Args:
        settings: The settings for this step, without the domains that stay as the admin has them.
        former: What our lines are now.
        wish: The operator's decisions.
        run: Runs commands.
        stage: A temporary directory.

    Raises:
        SendmailError: Nothing can be written. The message has all reasons.
    """
    files = _files(run, stage)
    _require_fitting(files, settings, wish)
    texts, taken, conflicts = _tables(files, settings, wish)
    if conflicts:
        raise refuse(f"Lines of this host contradict the plan. Nothing was changed. {_FIX}:", map(str, conflicts))
    change = Change()
    change.told += [f"{each.path}, line {each.line}: {each.theirs!r} is out of use" for each in taken]
    staged: dict[Path, Path] = {}
    for (path, kind), content in texts.items():
        before = read(path)
        if kind == "aliases":
            copy, built = build_aliases(run, stage, path, content, files.cf_path)
        elif kind == "class":
            copy, built = stage / f"class-{path.name}", b""
            copy.write_bytes(encode(content))
        else:
            copy, built = build_map(run, stage, path, kind, content)
        staged[path] = copy
        if (before or "") != content:
            change.new[path] = encode(content)
            change.diff.append(diff(path, before, content))
        database = path.with_name(f"{path.name}.db")
        if kind in (*BUILT, "aliases") and _needs_build(run, path, kind, content, change):
            change.new[database] = built
        if kind in BUILT:
            change.private += [path, database]
    mc = _mc(files, settings, wish, texts)
    source = stage / "sendmail.mc"
    source.write_bytes(encode(mc))
    configuration = m4(run, source, "build sendmail.cf")
    _require_declared(files, Configuration(configuration), settings)
    if mc != files.mc:
        change.new[files.mc_path] = encode(mc)
        change.diff.append(diff(files.mc_path, files.mc, mc))
    if statements(configuration) != statements(files.now.text):
        change.new[files.cf_path] = encode(cf(configuration, "sendmail.mc", mc))
    trial = stage / "trial.cf"
    trial.write_bytes(encode(redirected(configuration, staged)))
    change.tests = _test(files, settings, trial, run)
    result = inquiry.prove(run, files.cf_path, trial, settings, [*_domains(former), *_REQUIRED])
    change.asked, change.known = result.asked, result.known
    if result.differences:
        raise refuse(
            f"With the new configuration sendmail would answer differently about these addresses, of {result.asked} "
            f"that "
            "were asked. Nothing was changed. Look for lines that have an effect beyond their own domain:",
            proof.listed(result.differences),
        )
    return change


def _files(run: Run, stage: Path) -> _Files:
    """Read the admin's files."""
    mc_path, cf_path = (system.ETC_MAIL / name for name in ("sendmail.mc", "sendmail.cf"))
    mc = read(mc_path) or ""
    try:
        bare = adopt.bare(mc, adopt.MC_STYLE)
    except blocks.BlockError as error:
        raise SendmailError(f"{mc_path}: {error}") from error
    source = stage / "own.mc"
    source.write_bytes(encode(bare))
    trace = stage / "trace"
    base = m4(run, source, "build sendmail.cf from sendmail.mc", [*_TRACE, f"-o{trace}"])
    built = base if mc == bare else m4(run, mc_path, "build sendmail.cf from sendmail.mc")
    running = read(cf_path) or ""
    forms.require_source(base, built, running, cf_path)
    own = Configuration(base)
    # Class w as the admin has it, without our lines in its files.
    copies = {path: stage / f"own-{path.name}" for path in own.class_files("w")}
    for path, copy in copies.items():
        copy.write_bytes(encode(_bare(path)))
    trial = stage / "own.cf"
    trial.write_bytes(encode(redirected(base, copies)))
    class_w = inquiry.class_names(run, trial)["w"]
    return _Files(mc_path, cf_path, mc, bare, own, Configuration(running), read(trace) or "", source, class_w)


def _require_fitting(files: _Files, settings: Settings, wish: Wish) -> None:
    """Require that the admin's configuration can have routes; raise SendmailError with all reasons."""
    hub = adopt.null_client(files.trace)
    if hub is not None:
        raise SendmailError(
            f"{files.mc_path} has FEATURE(nullclient): this host sends all its mail to {hub} and has no domains and "
            f"routes "
            "of its own. Nothing was changed. Set mailgate_mta: none for it, or take it out of the inventory, if it "
            "is no "
            "mail server; or replace that feature in sendmail.mc by those of a server"
        )
    found = []
    if adopt.mailer(files.own) is None:
        found.append("no mailer sends to port 25 of a given host: add MAILER(`smtp'), or set no RELAY_MAILER_ARGS")
    if adopt.place(files.trace, files.traced, files.bare_mc) is None:
        found.append(f"{files.mc_path} has no MAILER line of its own, before which our block could be")
    for name, needed in (("mailertable", _routing(settings, files)), ("access", tables.access_entries(settings))):
        table = files.table(name)
        if needed and table.path is None:
            lines = ", ".join(f"{key} {value}" for key, value in list(needed.items())[:5])
            found.append(
                f"{name} is a map of the kind {table.kind}, which this role cannot write: set mailgate_mta: none for "
                f"this host and add the entries there ({lines}, …), or use a file"
            )
        elif needed and table.path and table.built and table.built.exists() and not table.path.exists():
            found.append(f"{table.built} has no source {table.path}: restore the file that it was made from")
    skipped = [d for d in settings.external if not is_wildcard(d)]
    if skipped and files.own.map("access") and not files.own.skips:
        found.append(f"{', '.join(skipped)}: access needs SKIP for them: FEATURE(`access_db', , `skip')")
    missing = [] if "listen" in wish.manage else adopt.uncovered(settings, files.own.listeners)
    if missing:
        present = ", ".join(f"{address} {port}" for address, port in files.own.listeners) or "nothing"
        found.append(
            f"the daemon listens on {present}, but the plan needs {', '.join(missing)}: change DAEMON_OPTIONS in "
            f"{files.mc_path}, or have the role add it with sendmail_routes_manage: [listen]"
        )
    if found:
        raise refuse("The configuration of sendmail cannot have the planned routes. Nothing was changed:", found)


def _tables(
    files: _Files, settings: Settings, wish: Wish
) -> tuple[dict[tuple[Path, str], str], list[Conflict], list[Conflict]]:
    """Return the new content of the tables with their kind, the lines taken out of use, and the other conflicts."""
    take = set(in_order(wish.take))
    bare = {}
    routes, access = files.table("mailertable"), files.table("access")
    planned = _routing(settings, files)
    found: list[Conflict] = []
    for table in (routes, access):
        if table.path:
            bare[table.path] = _bare(table.path)
    if routes.path:
        found += adopt.table_conflicts(routes.path, bare[routes.path], planned, settings)
    if access.path:
        found += adopt.access_conflicts(access.path, bare[access.path], settings)
    class_w = {path: _bare(path) for path in files.class_w_files}
    found += adopt.class_conflicts(files.class_w, class_w, files.mc_path, settings)
    virtual = files.own.map("virtuser")
    if virtual and virtual.path:
        bare[virtual.path] = _bare(virtual.path)
        found += adopt.user_conflicts(virtual.path, bare[virtual.path], settings)
    taken = [
        each for each in found if each.line and each.domain.removeprefix("*.") in {t.removeprefix("*.") for t in take}
    ]
    numbers: dict[Path, list[int]] = {}
    for each in taken:
        numbers.setdefault(each.path, []).append(each.line)

    def rest(path: Path, text: str) -> str:
        gone = numbers.get(path, [])
        return "\n".join("" if n in gone else line for n, line in enumerate(text.split("\n"), 1))

    texts: dict[tuple[Path, str], str] = {}
    if routes.path:
        lines = adopt.route_lines(rest(routes.path, bare[routes.path]), planned)
        _put(texts, routes.path, routes.kind, lines, adopt.ROUTES, numbers)
    if access.path:
        lines = adopt.relay_lines(rest(access.path, bare[access.path]), settings)
        _put(texts, access.path, access.kind, lines, adopt.RELAY, numbers)
    if virtual and virtual.path:
        _put(texts, virtual.path, virtual.kind, [], adopt.ROUTES, numbers)
    for number, path in enumerate(class_w):
        known = {n for n in files.class_w if path not in numbers or n not in {c.domain for c in taken}}
        lines = [d for d in adopt.local_names(settings) if d not in known] if number == 0 else []
        _put(texts, path, "class", lines, adopt.LOCAL, numbers)
    _put_aliases(texts, files)
    return texts, taken, [each for each in found if each not in taken]


def _put(  # noqa: PLR0917
    texts: dict[tuple[Path, str], str],
    path: Path,
    kind: str,
    lines: list[str],
    about: str,
    numbers: dict[Path, list[int]],
) -> None:
    """Add a table if it has, or gets, a block or a line that was taken out of use."""
    now = read(path) or ""
    content = adopt.with_lines(now, lines, about, numbers.get(path, ()))
    if lines or content != now or blocks.found(now) or numbers.get(path):
        texts[path, kind] = content


def _put_aliases(texts: dict[tuple[Path, str], str], files: _Files) -> None:
    """Add the required aliases, unless another user takes all unknown names."""
    paths = [path for value in files.own.options("AliasFile") for path in inquiry.alias_files(value)]
    paths = [path for path in paths if path.exists()]
    if not paths or files.own.macro("L"):
        return
    lines = adopt.alias_lines(_bare(path) for path in paths)
    now = read(paths[0]) or ""
    content = blocks.put(now, lines, tables.ALIASES_ABOUT)
    if lines or content != now:
        texts[paths[0], "aliases"] = content


def _mc(files: _Files, settings: Settings, wish: Wish, texts: Iterable[tuple[Path, str]]) -> str:
    """Return sendmail.mc with our block."""
    paths = {path for path, _kind in texts}
    declared = {}
    for name in ("mailertable", "access"):
        path = files.table(name).path
        if files.own.map(name) is None and path in paths and path:
            declared[name] = path
    names = [] if files.class_w_files else [d for d in adopt.local_names(settings) if d not in files.class_w]
    lines = adopt.mc_lines(files.own, settings, declared, wish.manage, names)
    place = adopt.place(files.trace, files.traced, files.bare_mc)
    return blocks.put(files.bare_mc, lines, adopt.MC, adopt.MC_STYLE, place)


def _require_declared(files: _Files, new: Configuration, settings: Settings) -> None:
    """Require that our block has an effect where it is."""
    for name, needed in (("mailertable", _routing(settings, files)), ("access", tables.access_entries(settings))):
        if needed and new.map(name) is None:
            raise SendmailError(
                f"{files.mc_path}: a block before the first MAILER has no effect on {name}. Nothing was changed. "
                f"Move MAILER "
                "out of conditions and quotes, or declare the features yourself"
            )


def _needs_build(run: Run, path: Path, kind: str, content: str, change: Change) -> bool:
    """Return whether a database must be built: its source changes, or our lines in it are not those of the source."""
    if path in change.new:
        return True
    if kind == "aliases":
        return not path.with_name(f"{path.name}.db").exists()
    have = map_entries(run, path.with_name(f"{path.name}.db"), kind)
    if have is None:
        return True
    ours = {
        key: value
        for block in blocks.found(content)
        for key, value in tables.map_entries("\n".join(block.lines)).items()
    }
    return any(have.get(key) != value for key, value in ours.items())


def _test(files: _Files, settings: Settings, trial: Path, run: Run) -> int:
    """Test the planned addresses; return the number of tests."""
    mailer = adopt.mailer(files.own) or tables.MAILER
    known = set(files.class_w)
    tests = [
        test
        for test in trials.address_tests(settings, files.own.text)
        # A domain that was local before is asked about in both configurations.
        if not (test.expected.startswith("$#local") and test.command.rpartition("@")[2] in known)
    ]
    command = [system.SENDMAIL, "-bt", "-C", str(trial)]
    output = system.must(run, command, trials.test_script(tests), "test the new files")
    failed = [
        each for each in trials.failures(tests, output) if not _same_host(each, mailer) and not _other_local(each)
    ]
    if failed:
        raise refuse(
            "The new configuration fails these address tests. Nothing was changed. Look for lines of the admin's "
            "that come "
            "before the mailertable (virtual users, LOCAL_RULE_0, LDAP routing), or that reject these domains "
            "(access):",
            failed,
        )
    return len(tests)


def _same_host(failure: str, mailer: str) -> bool:
    """Return whether a failed test only has another SMTP mailer, as an equal line of the admin has."""
    expected, _comma, got = failure.partition(": expected ")[2].partition("…, got ")
    for name in (mailer, "smtp", "esmtp", "smtp8", "dsmtp"):
        if got.lower().startswith(expected.replace(f"$#{tables.MAILER}$@", f"$#{name}$@").lower()):
            return expected.startswith(f"$#{tables.MAILER}$@")
    return False


def _other_local(failure: str) -> bool:
    """Return whether a failed test of a local domain is one of virtual users or another local mailer."""
    expected, _comma, got = failure.partition(": expected ")[2].partition("…, got ")
    return expected.startswith("$#local") and not _remote(got)


def _remote(got: str) -> bool:
    """Return whether an answer of ruleset 3,0 is a delivery to another host."""
    return got.lower().startswith(tuple(f"$#{name}$" for name in ("smtp", "esmtp", "smtp8", "dsmtp", "relay")))


def _domains(former: Present | None) -> list[str]:
    """Return the domains of our present lines; a line of access is for the names below one too."""
    if former is None:
        return []
    return [*former.local, *former.routes, *former.relay, *(f"*.{domain}" for domain in former.relay)]


def _routing(settings: Settings, files: _Files) -> dict[str, str]:
    return tables.routing_entries(settings, adopt.mailer(files.own) or tables.MAILER)


def _bare(path: Path) -> str:
    try:
        return adopt.bare(read(path) or "")
    except blocks.BlockError as error:
        raise SendmailError(f"{path}: {error}") from error


def _text(path: Path | None) -> str:
    return (read(path) or "") if path else ""
