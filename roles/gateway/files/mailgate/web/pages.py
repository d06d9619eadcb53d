# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages: each asks the gateway, and fills a template."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from mailgate.commands.check_names import name_of
from mailgate.commands.mail_queue import LogLine, QueuedMessage
from mailgate.commands.trace import Trace, outcome, steps
from mailgate.config import LANGUAGES
from mailgate.event_index.shard import time_of
from mailgate.event_index.terms import recipients_of, verdict_of
from mailgate.message import ID_LENGTH
from mailgate.period_report.charts import Chart, columns
from mailgate.period_report.page import summary
from mailgate.translation import N_, Text
from mailgate.web import merge, texts
from mailgate.web.request import COOKIE, Answer, PageError, Visit

PERIODS = {"1d": 1, "7d": 7, "30d": 30, "365d": 365}
# Seconds between two loads of the live log.
REFRESH_SECONDS = 10
LIVE_ROWS, SEARCH_ROWS = 50, 100
_YEAR = 365 * 86400
_SERIES = ("accepted", "queued", "deferred", "refused")


async def now(visit: Visit) -> Response:
    """Return the state of the gateways."""
    answers = await visit.ask_all("now", language=visit.language)
    series = _series(visit)
    gateways: list[dict[str, Any]] = []
    for each in answers:
        if each.answer is None:
            continue
        hours = {int(hour): numbers for hour, numbers in each.answer["hours"].items()}
        last = int(each.answer["time"] // 3600)
        rows = [(_hour(hour), hours.get(hour, {})) for hour in range(last - 23, last + 1)]
        total: Counter[str] = Counter()
        for _label, numbers in rows:
            total.update(numbers)
        checks = [(*name_of(check["name"], visit.translate), check) for check in each.answer.get("checks", ())]
        chart = _chart(visit, f"chart-{len(gateways)}", N_("Messages of the last 24 hours"), rows)
        gateways.append(
            {"name": each.gateway, "answer": each.answer, "chart": chart, "rows": rows, "total": total,
             "checks": checks}
        )  # fmt: skip
    return visit.page("now.html.j2", gateways=gateways, series=series, **_remarks(answers))


def _hour(hour: int) -> str:
    return datetime.fromtimestamp(hour * 3600).astimezone().strftime("%H:%M")


def _series(visit: Visit) -> dict[str, str]:
    return {name: visit.translate(texts.VERDICTS[name]) for name in _SERIES}


def _chart(visit: Visit, anchor: str, title: Text, rows: Sequence[tuple[str, Mapping[str, int]]]) -> Markup:
    """Return a chart of the report: a column for each label, with its numbers by result."""
    series = list(_series(visit).items())
    names = [name for name, _numbers in rows]
    values = [[numbers.get(kind, 0) for kind, _title in series] for _name, numbers in rows]
    about = summary(names, values, visit.translate)
    # It has escaped all texts itself.
    return Markup(columns(Chart(anchor, visit.translate(title), about, series, names, values)))  # noqa: S704


def _remarks(answers: list[Answer]) -> dict[str, Any]:
    """Return problems and notes with the names of their gateways."""
    return {
        "problems": [(each.gateway, each.problem) for each in answers if each.answer is None],
        "notes": [(each.gateway, note) for each in answers if each.answer for note in each.answer.get("notes", ())],
    }


async def queue(visit: Visit) -> Response:
    """Return what waits in the queues of all gateways, the oldest first."""
    answers = await visit.ask_all("queue")
    found = [(each.gateway, each.answer) for each in answers if each.answer]
    messages = [(gateway, message) for gateway, answer in found for message in answer["messages"]]
    return visit.page(
        "queue.html.j2", queues=found, messages=sorted(messages, key=lambda pair: pair[1]["since"]), **_remarks(answers)
    )


async def search(visit: Visit) -> Response:
    """Return the form of the search, and what was found."""
    given = {name: visit.parameter(name) for name in ("text", "verdict", "since", "until")}
    if given["verdict"] not in texts.VERDICTS:
        given["verdict"] = ""
    wrong = [name for name in ("since", "until") if given[name] and _midnight(given[name]) is None]
    values: dict[str, Any] = {"given": given, "wrong": wrong, "events": None, "rows": SEARCH_ROWS}
    if not wrong and (given["text"] or given["verdict"]):
        arguments: dict[str, object] = {"text": given["text"], "verdict": given["verdict"], "limit": SEARCH_ROWS}
        if since := _midnight(given["since"]):
            arguments["since"] = since
        if until := _midnight(given["until"], 1):
            arguments["until"] = until
        answers = await visit.ask_all("search", **arguments)
        values |= {"events": _events(visit, answers, SEARCH_ROWS), **_remarks(answers)}
    return visit.page("search.html.j2", **values)


async def live(visit: Visit) -> Response:
    """Return the newest decisions; on request, the browser loads the page again and again."""
    refreshes = visit.parameter("refresh") == "1"
    answers = await visit.ask_all("search", limit=LIVE_ROWS, since=time.time() - 86400)
    page = visit.page(
        "live.html.j2", events=_events(visit, answers, LIVE_ROWS), refreshes=refreshes, seconds=REFRESH_SECONDS,
        **_remarks(answers),
    )  # fmt: skip
    if refreshes:
        page.headers["Refresh"] = str(REFRESH_SECONDS)
    return page


def _events(visit: Visit, answers: list[Answer], limit: int) -> list[dict[str, Any]]:
    """Return events as rows of a table, newest first."""
    found = {each.gateway: each.answer["events"] for each in answers if each.answer}
    return [_row(visit, gateway, event) for gateway, event in merge.events(found, limit)]


def _row(visit: Visit, gateway: str, event: Any) -> dict[str, Any]:
    kind, verdict = str(event.get("event")), verdict_of(event)
    number = str(event.get("id") or "")
    return {
        "gateway": gateway,
        "time": time_of(event),
        "id": number[:ID_LENGTH],
        "kind": visit.translate(texts.KINDS[kind]) if kind in texts.KINDS else "",
        "raw_kind": kind,
        "verdict": verdict,
        "verdict_name": visit.translate(texts.VERDICTS[verdict]) if verdict in texts.VERDICTS else "",
        "client": event.get("client", ""),
        "helo": event.get("helo", ""),
        "sender": event.get("sender"),
        "recipients": recipients_of(event),
        "text": event.get("reply") or event.get("name") or event.get("reason") or "",
        "subject": event.get("subject", ""),
    }


async def mail(visit: Visit) -> Response:
    """Return what happened to a mail, step by step."""
    number = visit.parameter("id")
    if not number or "@" in number:
        raise PageError("invalid")
    found = await visit.ask("trace", id=number)
    trace = Trace(
        str(found["id"]),
        found["events"],
        [LogLine(**line) for line in found["log"]],
        None if found["queue"] is None else [QueuedMessage(**each) for each in found["queue"]],
    )
    return visit.page(
        "mail.html.j2",
        id=trace.id,
        gateway=visit.gateway,
        steps=steps(trace, visit.translate),
        outcome=list(outcome(trace, visit.translate)),
        events=trace.events,
    )


async def report(visit: Visit) -> Response:
    """Return the report of a period."""
    period = visit.parameter("period", "7d")
    since, until = _midnight(visit.parameter("since")), _midnight(visit.parameter("until"), 1)
    if since is None or until is None:
        period = period if period in PERIODS else "7d"
        until = time.time()
        since = until - PERIODS[period] * 86400
    else:
        period = ""
    if not 0 < until - since <= 2 * _YEAR:
        raise PageError("invalid")
    answers = await visit.ask_all("report", since=since, until=until)
    found = merge.reports(each.answer for each in answers if each.answer)
    series = _series(visit)
    rows = [(day, found["days"].get(day, {})) for day in _days(since, until)]
    chart = _chart(visit, "chart", N_("Messages by day"), [(day[5:], numbers) for day, numbers in rows])
    domains = sorted(found["domains"].items(), key=lambda item: (-sum(item[1].values()), item[0]))
    return visit.page(
        "report.html.j2", found=found, since=since, until=until, period=period, periods=PERIODS, rows=rows,
        chart=chart, series=series, domains=domains[:40],
        more_domains=max(0, len(domains) - 40), **_remarks(answers),
    )  # fmt: skip


def _days(since: float, until: float) -> list[str]:
    """Return the local days of a period."""
    first, last = (datetime.fromtimestamp(each).date() for each in (since, until - 1))
    return [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]


def _midnight(text: str, later: int = 0) -> float | None:
    """Return the beginning of a local day, or of one some days later; None if the text is not a date."""
    try:
        day = date.fromisoformat(text) + timedelta(days=later)
        return datetime(day.year, day.month, day.day).astimezone().timestamp() if 1970 < day.year < 2090 else None
    except (ValueError, OverflowError):
        return None


async def routes(visit: Visit) -> Response:
    """Return the delivery table, for print."""
    return visit.page("routes.html.j2", **await visit.ask("routes"))


async def address(visit: Visit) -> Response:
    """Return what would happen to a message to an address."""
    given = {name: visit.parameter(name) for name in ("recipient", "client", "helo", "sender")}
    wrong, found = "", None
    if given["recipient"] or given["client"]:
        try:
            found = await visit.ask("address", language=visit.language, **given)
        except PageError as error:
            if error.reason != "invalid":
                raise
            wrong = error.detail
    return visit.page("address.html.j2", given=given, found=found, wrong=wrong)


async def quarantine(visit: Visit) -> Response:
    """Return the list of the quarantine."""
    answers = await visit.ask_all("quarantine")
    entries = [(each.gateway, entry) for each in answers if each.answer for entry in each.answer["entries"]]
    total = sum(each.answer["total"] for each in answers if each.answer)
    done, number = visit.parameter("done"), visit.parameter("number")
    return visit.page(
        "quarantine.html.j2", entries=sorted(entries, key=lambda pair: -pair[1]["time"]), total=total,
        done=done if done in ("release", "delete") else "", number=number, **_remarks(answers),
    )  # fmt: skip


async def kept(visit: Visit) -> Response:
    """Return one message of the quarantine, with what can be done with it."""
    found = await visit.ask("quarantine", number=visit.request.path_params["number"])
    return visit.page("kept.html.j2", entry=found["entries"][0], gateway=visit.gateway)


async def change(visit: Visit) -> Response:
    """Release or delete a message of the quarantine."""
    action, number = visit.request.path_params["action"], visit.request.path_params["number"]
    if action not in ("release", "delete"):
        raise PageError("not_found")
    if visit.access is None or not visit.access.changes:
        raise PageError("forbidden")
    await visit.form()
    done = await visit.ask(action, number=number)
    return RedirectResponse(f"/quarantine?{urlencode({'done': action, 'number': done['number']})}", status_code=303)


async def language(visit: Visit) -> Response:
    """Have the browser remember a language, and return to where the visitor was."""
    chosen = visit.request.path_params["language"]
    if chosen not in LANGUAGES:
        raise PageError("not_found")
    back = visit.parameter("back", "/")
    # A path of this site: neither another host nor a control character.
    if not back.startswith("/") or back[1:2] in ("/", "\\") or not back.isprintable():
        back = "/"
    answer = RedirectResponse(back, status_code=303)
    answer.set_cookie(COOKIE, chosen, max_age=_YEAR, httponly=True, samesite="lax")
    return answer
