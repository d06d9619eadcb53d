# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the steps of a rehearsal on a twin under constant mail."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from lab.campus import Campus
from lab.host import Machine, cgroups
from lab.network import OUTSIDE
from lab.rehearsal import account
from lab.rehearsal.account import Phase
from lab.rehearsal.prepare import concrete
from lab.rehearsal.steps import CONTROLLER_DIES, GATEWAY_DIES, SERVER_DOWN, Step
from lab.rehearsal.traffic import Server
from lab.tools import REPOSITORY, LabError, log
from lab.twin import Twin

#: Seconds with mail before the first step, and after each one.
BEFORE_SECONDS, AFTER_SECONDS = 20, 3
#: Runs of one step, and seconds between two of them.
RUNS, RUN_PAUSE = 8, 10
#: Seconds for which a gateway is off.
OFF_SECONDS = 20
#: Seconds until the last messages must have arrived, and seconds between two runs of the queues.
DRAIN_SECONDS, QUEUE_SECONDS = 240, 10
#: What is shown of a failed run.
ERROR_LINES, ERROR_CHARACTERS = 10, 1000
#: Exit status of ansible-playbook when hosts were unreachable.
UNREACHABLE = 4


@dataclass
class Result:
    """What a rehearsal has found."""

    campus: str
    servers: int
    domains: list[str]
    scenarios: list[str]
    rate: float
    began: float
    phases: list[Phase] = field(default_factory=list)
    #: What was done beside the steps, with its time.
    remarks: list[tuple[float, str]] = field(default_factory=list)
    homes: dict[str, list[str]] = field(default_factory=dict)
    #: Why the rehearsal ended before its last step.
    failure: str = ""
    #: CPU time of the hosts, and of Ansible and the mail.
    cpu_hosts: float = 0.0
    cpu_controller: float = 0.0


class Mail:
    """The process of the traffic."""

    def __init__(self, twin: Twin, job: dict[str, Any]) -> None:
        namespace = f"lab.{twin.name}.{OUTSIDE}"
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, "-m", "lab.rehearsal.traffic"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
        if self._ask(json.dumps(job)) != "started":
            raise LabError("the mail could not be started; see its messages above")

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()

    def stop(self) -> None:
        """Stop new messages; those that were sent go on."""
        assert self._process.stdin is not None
        print("stop", file=self._process.stdin, flush=True)

    def open(self) -> list[int]:
        """Return the messages that have not arrived yet."""
        found: list[int] = json.loads(self._ask("open"))
        return found

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Rehearsal:
    """The steps on one twin, which is up and prepared."""

    def __init__(self, twin: Twin, directory: Path, rate: float, scenarios: Sequence[str]) -> None:
        self.twin = twin
        self.campus = Campus(twin)
        self.directory = directory
        self.scenarios = scenarios
        self.machines = {machine.name: machine for machine in twin.machines().values()}
        plan = self.campus.plan
        self.result = Result(
            campus=str(plan["campus"]["name"] or twin.name),
            servers=sum("servers" in facts["kinds"] for facts in plan["hosts"].values()),
            domains=[route["domain"] for route in plan["routes"]],
            scenarios=list(scenarios),
            rate=rate,
            began=time.time(),
            homes=self.homes(plan),
        )
        self.off = self._server_to_stop() if SERVER_DOWN in scenarios else None
        self._gateway_number = 0
        self._present: tuple[str, float] | None = None
        self._statuses: list[int] = []

    def homes(self, plan: dict[str, Any]) -> dict[str, list[str]]:
        """Return the hosts, by short name, that may have the mailbox of each domain: its home, and backup servers."""
        addresses = {
            address: name for name, facts in plan["hosts"].items() for address in (facts["address"], facts["address6"])
        }
        return {
            route["domain"]: [
                self.machines[name].short
                for name in dict.fromkeys([route["home"], *(addresses.get(hop, "") for hop in route["next_hops"])])
                if name in self.machines
            ]
            for route in plan["routes"]
        }

    def allow(self, homes: Mapping[str, str]) -> None:
        """Let domains have further homes, to which they move."""
        for domain, short in homes.items():
            self.result.homes[domain].append(short)

    @property
    def hubs(self) -> list[str]:
        """The inventory names of the hubs."""
        return sorted({facts["hub"] for facts in self.campus.plan["hosts"].values()} - {""})

    def job(self) -> dict[str, Any]:
        """Return the job of the traffic."""
        servers: dict[str, Server] = {}
        hosts = self.campus.plan["hosts"]
        families = {
            self.machines[name].short: [
                number for number, address in ((4, facts["address"]), (6, facts["address6"])) if address
            ]
            for name, facts in hosts.items()
            if name in self.machines
        }
        for domain, homes in self.result.homes.items():
            if homes and not domain.startswith("*."):
                machine = self.machines[next(n for n, m in self.machines.items() if m.short == homes[0])]
                servers.setdefault(machine.short, Server(machine.short, domain, machine.netns, families[machine.short]))
        return {
            "events": str(self.events),
            "rate": self.result.rate,
            "domains": {domain: concrete(domain) for domain, homes in self.result.homes.items() if homes},
            "families": {domain: families[homes[0]] for domain, homes in self.result.homes.items() if homes},
            "servers": [asdict(server) for server in servers.values()],
            "mailboxes": {m.short: str(m.disk / "up" / "var" / "mail") for m in self.machines.values()},
        }

    @property
    def events(self) -> Path:
        """File of the events."""
        return self.directory / "events.jsonl"

    def run(self, wanted: Iterable[Step]) -> Result:
        """Run the steps under mail; the result has the reason if they are not complete."""
        mail = Mail(self.twin, self.job())
        hosts, controller = self._cpu()
        try:
            self._enter("before")
            if self.off:
                self._remark(f"{self.off.short} switched off")
                self.twin.stop(self.off.short)
            time.sleep(BEFORE_SECONDS)
            for step in wanted:
                self._enter(step.name)
                self._complete(step)
                time.sleep(AFTER_SECONDS)
        except LabError as error:
            self.result.failure = str(error)
        except KeyboardInterrupt:
            # The report has what was found so far; a second interruption ends the wait for the last messages.
            self.result.failure = f"interrupted in phase {self._present[0] if self._present else ''}"
        finally:
            mail.stop()
            self._enter("end")
            if self.off and not self.off.is_on():
                self.twin.start(self.off.short)
                self._remark(f"{self.off.short} switched on")
            self._drain(mail)
            mail.end()
            self._leave()
            now = self._cpu()
            self.result.cpu_hosts, self.result.cpu_controller = now[0] - hosts, now[1] - controller
        return self.result

    def _cpu(self) -> tuple[float, float]:
        """Return the CPU time in seconds of the hosts, and of the ended processes that this one has started."""
        text = (cgroups(self.twin.name)[0] / "cpu.stat").read_text()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return int(text.split()[1]) / 1e6, children.ru_utime + children.ru_stime

    def _enter(self, name: str) -> None:
        """End the present phase and begin another one."""
        self._leave()
        self._present = (name, time.time())

    def _leave(self) -> None:
        """Record the present phase."""
        if self._present:
            name, began = self._present
            phase = Phase(name, began, time.time(), tuple(self._statuses))
            self.result.phases.append(phase)
            ends = " ".join(f"exit {status}" for status in phase.statuses)
            log(f"rehearse: {name}: {phase.seconds:.0f} s {ends}".rstrip())
        self._present, self._statuses = None, []

    def _remark(self, text: str) -> None:
        self.result.remarks.append((time.time(), text))
        log(f"rehearse: {text}")

    def _complete(self, step: Step) -> None:
        """Run a step until it is complete, the first time with what is to fail.

        Raises:
            LabError: it was not complete after all runs.
        """
        output = ""
        parts = list(step.parts)
        for host, command in step.commands:
            self.campus.sh(host, command)
        faults = [name for name in (CONTROLLER_DIES, GATEWAY_DIES) if name in self.scenarios]
        for number in range(1, RUNS + 1):
            broken = False
            if faults:
                with self._fault(faults[0]) as (at_marker, happened):
                    status, output = self._play(step, number, parts, at_marker)
                if happened:
                    broken = bool(faults.pop(0))
            else:
                status, output = self._play(step, number, parts)
            self._statuses.append(status)
            # What was unreachable meanwhile may be back.
            if status == 0 or (status == UNREACHABLE and self.off and not broken):
                return
            if not broken and not (step.again and step.again in output):
                break
            time.sleep(RUN_PAUSE if step.again else 1)
        name = self._present[0] if self._present else step.name
        raise LabError(f"phase {name!r} ended with exit status {status}:\n{essence(output)}")

    def _play(
        self,
        step: Step,
        number: int,
        parts: list[tuple[str, str]],
        at_marker: Callable[[subprocess.Popen[str]], None] | None = None,
    ) -> tuple[int, str]:
        """Run a playbook once, with its output in a file; return status and output."""
        options = [option for path in step.changes for option in ("-i", path)]
        records = [] if step.early else ["-e", f"mailgate_rollout_runs={self.directory / 'runs'}"]
        options += [*records, *step.options]
        line = self.twin.command(self.twin.playbook_arguments(step.playbook, options))
        output: list[str] = []
        name = f"{len(self.result.phases) + 1:02d}-{step.name.replace(' ', '-')}-{number}.log"
        environment = self.twin.environment(dict(step.environment))
        with (self.directory / name).open("w", buffering=1) as file, self._started(line, environment) as process:
            assert process.stdout is not None
            for text in process.stdout:
                file.write(text)
                output.append(text)
                if parts and parts[0][0] in text:
                    self._enter(parts.pop(0)[1])
                if at_marker is not None and step.marker in text:
                    at_marker(process)
                    at_marker = None
        return process.returncode, "".join(output)

    @contextlib.contextmanager
    def _started(self, line: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        """Start a run; end it with all its processes if the block does not read it to its end."""
        with subprocess.Popen(
            line, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True, cwd=REPOSITORY,
        ) as process:  # fmt: skip
            try:
                yield process
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise

    @contextlib.contextmanager
    def _fault(self, name: str) -> Iterator[tuple[Callable[[subprocess.Popen[str]], None], list[str]]]:
        """Yield what is to be done at the marker, and a list that is empty until then; wait until all is on again."""
        happened: list[str] = []
        threads: list[threading.Thread] = []

        def fail(process: subprocess.Popen[str]) -> None:
            happened.append(name)
            if name == CONTROLLER_DIES:
                os.killpg(process.pid, signal.SIGKILL)
                self._remark("ansible-playbook killed")
            else:
                threads.append(threading.Thread(target=self._power_cycle))
                threads[0].start()

        yield fail, happened
        for thread in threads:
            thread.join()

    def _power_cycle(self) -> None:
        """Switch the next gateway off, and on again some time later."""
        gateways = [gateway["host"] for gateway in self.campus.plan["gateways"]]
        machine = self.machines[gateways[self._gateway_number % len(gateways)]]
        self._gateway_number += 1
        self._remark(f"{machine.short} switched off")
        self.twin.stop(machine.short)
        time.sleep(OFF_SECONDS)
        self.twin.start(machine.short)
        self._remark(f"{machine.short} switched on")

    def _server_to_stop(self) -> Machine:
        """Return an inner server that no other one rests on: not a hub."""
        for name, facts in self.campus.plan["hosts"].items():
            if "servers" in facts["kinds"] and name not in self.hubs and name in self.machines:
                return self.machines[name]
        raise LabError(f"{SERVER_DOWN}: the inventory has no inner server that is not a hub")

    def _drain(self, mail: Mail) -> None:
        """Wait until all messages have arrived; the queues of their servers are run, as they are from time to time."""
        deadline = time.monotonic() + DRAIN_SECONDS
        due = time.monotonic() + QUEUE_SECONDS
        while (waiting := mail.open()) and time.monotonic() < deadline:
            if time.monotonic() > due:
                messages = account.read(read_events(self.events))
                flow = {messages[number].sender for number in waiting if number in messages}
                homes = {h for n in waiting if n in messages for h in self.result.homes.get(messages[n].domain, ())}
                gateways = {self.machines[each["host"]].short for each in self.campus.plan["gateways"]}
                with ThreadPoolExecutor(8) as pool:
                    list(pool.map(self._run_queues, sorted((flow | homes | gateways) - {OUTSIDE})))
                due = time.monotonic() + QUEUE_SECONDS
            time.sleep(1)

    def _run_queues(self, short: str) -> None:
        self.twin.exec(short, "sendmail -Ac -q; sendmail -q", timeout=60)


def essence(output: str) -> str:
    """Return the errors in the output of ansible-playbook, or its end if there are none."""
    lines = output.splitlines()
    errors = [line for line in lines if line.startswith(("fatal:", "failed:", "[ERROR]"))]
    return "\n".join(line[:ERROR_CHARACTERS] for line in (errors or lines)[-ERROR_LINES:])


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a file, without a last line that is being written."""

    def lines(file: IO[str]) -> Iterator[dict[str, Any]]:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)

    with path.open(encoding="utf-8") as file:
        yield from lines(file)
