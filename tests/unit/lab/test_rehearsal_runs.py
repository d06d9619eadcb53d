# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runs of a step: which are repeated, which end the rehearsal, and when something fails on purpose."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest

from lab.rehearsal import rehearsal, steps
from lab.rehearsal.rehearsal import Rehearsal, Result
from lab.rehearsal.steps import CONTROLLER_DIES, GATEWAY_DIES, Step
from lab.tools import LabError

#: A run: exit status, output, and whether it reached the task in which something fails.
Run = tuple[int, str, bool]


class Runs(Rehearsal):
    """A rehearsal whose playbooks have these results, one after the other."""

    def __init__(self, *runs: Run, scenarios: tuple[str, ...] = (), off: bool = False) -> None:
        self.runs = list(runs)
        self.scenarios = scenarios
        self.off = object() if off else None  # type: ignore[assignment]
        self.result = Result("x", 1, [], [], 1, 0)
        self._statuses = []
        self._present = None
        self.faults: list[str] = []

    def _play(self, step: Step, number: int, parts: Any, at_marker: Callable[[Any], None] | None = None) -> Any:
        status, output, reached = self.runs.pop(0)
        if reached and at_marker:
            at_marker(None)
        return status, output

    @contextmanager
    def _fault(self, name: str):
        happened: list[str] = []

        def fail(_process: object) -> None:
            happened.append(name)
            self.faults.append(name)

        yield fail, happened


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rehearsal.time, "sleep", lambda _seconds: None)


STEP = Step("mx", "playbooks/rollout.yml")
BACK = Step("back to routes", "playbooks/rollback.yml", again=steps.STAY)


def test_one_run_is_enough():
    runs = Runs((0, "", True), (0, "", True))
    runs._complete(STEP)
    assert runs._statuses == [0]


def test_a_failed_run_ends_the_rehearsal_with_its_output():
    runs = Runs((2, "first\nfatal: why\nPLAY RECAP\n", True), (0, "", True))
    with pytest.raises(LabError, match=r"(?s)phase 'mx' ended with exit status 2:\nfatal: why$"):
        runs._complete(STEP)


def test_unreachable_hosts_are_expected_only_while_a_server_is_off():
    with pytest.raises(LabError, match="exit status 4"):
        Runs((4, "", True))._complete(STEP)
    Runs((4, "", True), off=True)._complete(STEP)


def test_a_run_that_came_too_early_is_repeated():
    runs = Runs((2, "The gateways stay for now", False), (2, "stay for now", False), (0, "", True))
    runs._complete(BACK)
    assert runs._statuses == [2, 2, 0]


def test_too_many_runs():
    with pytest.raises(LabError, match="phase 'back to routes'"):
        Runs(*[(2, "stay for now", False)] * rehearsal.RUNS)._complete(BACK)


@pytest.mark.parametrize("scenario", [CONTROLLER_DIES, GATEWAY_DIES])
def test_a_run_in_which_something_failed_is_repeated_once(scenario):
    runs = Runs((-9, "", True), (0, "", True), scenarios=(scenario,))
    runs._complete(STEP)
    assert (runs._statuses, runs.faults) == ([-9, 0], [scenario])
    with pytest.raises(LabError, match="exit status 2"):
        Runs((-9, "", True), (2, "", True), scenarios=(scenario,))._complete(STEP)


def test_something_fails_in_the_first_run_that_comes_so_far():
    runs = Runs((2, "stay for now", False), (-9, "", True), (0, "", True), scenarios=(CONTROLLER_DIES,))
    runs._complete(BACK)
    assert runs.faults == [CONTROLLER_DIES]


def test_a_run_may_survive_a_gateway():
    runs = Runs((0, "", True), scenarios=(GATEWAY_DIES,))
    runs._complete(STEP)
    assert runs._statuses == [0]


def test_both_fail_in_one_run_each():
    runs = Runs((-9, "", True), (4, "", True), (0, "", True), scenarios=(GATEWAY_DIES, CONTROLLER_DIES))
    runs._complete(STEP)
    assert runs.faults == [CONTROLLER_DIES, GATEWAY_DIES]
