# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot, use and remove a twin; the Python API of the command line and of the demo's scenario."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lab import controller, host, image, network, ready, seed
from lab.host import Machine
from lab.inventory import SEEDS, Host, Inventory, read
from lab.packages import SUITE, check_suite
from lab.tools import REPOSITORY, RUN, LabError, command, locked, log, step

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
TWIN_VARIABLES = REPOSITORY / "lab" / "twin-vars.yml"
#: Modes of a host's initial files that others must not read.
PRIVATE = {"/etc/ssh/ssh_host_ed25519_key": 0o600, "/root/.ssh/authorized_keys": 0o600}
#: Seconds a boot may take, in addition to two for each host.
BOOT_SECONDS = 60

#: Settings of the machine that many hosts need; never lowered.
MACHINE_SYSCTL = {
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 524288,
    "kernel/pid_max": 262144,
    "net/ipv4/neigh/default/gc_thresh1": 4096,
    "net/ipv4/neigh/default/gc_thresh2": 8192,
    "net/ipv4/neigh/default/gc_thresh3": 16384,
}


def chosen_suite(suite: str = "") -> str:
    """Return the Debian suite of all hosts, from an option or the environment; "" if each host has its own."""
    suite = suite or os.environ.get("MAILGATE_SUITE", "")
    return check_suite(suite) if suite else ""


class Twin:
    """The twin of one inventory, by default the demo's. `up` boots it; later processes use it by the same name.

    `run`, `exec` and `playbook` return completed processes with captured bytes and do not raise on a non-zero status.
    Hosts are given by inventory name, short name or address. All other problems raise LabError.
    """

    def __init__(self, inventory: Path | str | None = None, name: str | None = None) -> None:
        self._inventory_given = inventory is not None
        self.inventory_path = Path(inventory or REPOSITORY / "inventories" / "demo").resolve()
        self.name = name or re.sub(r"[^a-z0-9]+", "-", self.inventory_path.stem.lower()).strip("-")
        if not NAME.fullmatch(self.name):
            raise LabError(
                f"{self.name!r} is not a valid name of a twin; use up to 31 of a-z, 0-9 and -, as in --name demo"
            )
        self.directory = RUN / self.name

    # --- boot and removal

    def prepare(self) -> image.Images:
        """Build the missing images."""
        return image.prepare(suite=chosen_suite() or SUITE)

    def up(self, bare: bool = False, suite: str = "") -> None:
        """Boot every host of the inventory, and the outside; remove an earlier twin of this name first.

        Args:
            bare: without sendmail on mail servers and gateways, so that a role's own installation is tested.
            suite: Debian suite of all hosts; default: $MAILGATE_SUITE, else the host's own, else packages.SUITE.
        """
        began = time.monotonic()
        image.check_machine()
        reserved = (network.OUTSIDE, network.ROUTER)
        inventory = read(self.inventory_path, reserved)
        plan = network.plan(inventory)
        kinds = {member.short: member.layers - ({"mail"} if bare else set()) for member in inventory.hosts}
        kinds[network.OUTSIDE] = frozenset({"dns"})
        suite = chosen_suite(suite)
        suites = {network.OUTSIDE: suite or SUITE, network.ROUTER: suite or SUITE}
        suites |= {member.short: suite or member.suite or SUITE for member in inventory.hosts}
        images = {
            each: image.prepare([layers for short, layers in kinds.items() if suites[short] == each], each)
            for each in dict.fromkeys(suites[short] for short in plan.wirings)
        }
        with locked(RUN / f"{self.name}.lock", f"another command on twin {self.name}"):
            self._remove()
            with self._all_or_nothing():
                machines = self._build(inventory, plan, {short: images[suites[short]] for short in plan.wirings}, kinds)
                self._write_state(machines)
                with step(f"boot {len(machines)} hosts"):
                    self._power_on(machines)
                with step("ssh to every host"):
                    ready.check_hosts(self.name, machines)
                ready.complete(self.name, machines)
        log(f"lab: twin {self.name} is up, {time.monotonic() - began:.1f} s in total")

    def down(self) -> None:
        """Stop the twin and remove all its files; no error if it does not exist."""
        image.check_machine()
        with locked(RUN / f"{self.name}.lock", f"another command on twin {self.name}"):
            self._remove()

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Remove a twin whose boot fails or is interrupted."""

        def stop(number: int, _frame: object) -> None:
            raise SystemExit(128 + number)

        earlier = signal.signal(signal.SIGTERM, stop)
        try:
            yield
        except BaseException:
            log(f"lab: twin {self.name} did not boot; removing it")
            self._remove()
            raise
        finally:
            signal.signal(signal.SIGTERM, earlier)

    def _build(
        self,
        inventory: Inventory,
        plan: network.Network,
        images: Mapping[str, image.Images],
        kinds: Mapping[str, frozenset[str]],
    ) -> list[Machine]:
        """Make the namespaces of switch and controller, keys and disks; return the machines, ready to be powered on."""
        for key, minimum in MACHINE_SYSCTL.items():
            setting = Path("/proc/sys") / key
            if setting.exists() and int(setting.read_text()) < minimum:
                setting.write_text(str(minimum))
        self.directory.mkdir(parents=True)
        members: dict[str, Host | None] = dict.fromkeys(plan.wirings)
        members |= {member.short: member for member in inventory.hosts}
        keys = controller.make_keys(self.name)
        machines = []
        for short, member in members.items():
            wiring = plan.wirings[short]
            name = member.full_name if member else f"{short}.example"
            addresses = [address.split("/")[0] for leg in wiring.legs[1:] for address in leg.addresses]
            if member:
                addresses = [str(address) for address in member.addresses]
            machine = Machine(
                twin=self.name,
                short=short,
                name=member.name if member else name,
                address=addresses[0],
                ansible_host=member.ansible_host if member else name,
                management=str(wiring.management),
                lower=tuple(str(directory) for directory in images[short].lower(kinds.get(short, frozenset()))),
                repository=str(images[short].repository),
                suite=images[short].suite,
                seed=member.seed if member else "",
            )
            resolver = seed.resolver(inventory.hosts, ipv6=bool(member and member.address is None))
            files = {**seed.identity(name, addresses), "/etc/resolv.conf": resolver, **keys}
            if short == network.OUTSIDE:
                files |= {"/etc/resolv.conf": "nameserver 127.0.0.1\n", **seed.outside(inventory.hosts)}
            elif member and member.zones is not None:
                files |= seed.name_server(member, inventory.hosts, plan.campus)
            if member and "mail" in kinds[short]:
                files |= seed.mail_server(member)
            if machine.seed:
                files |= seed.lived_in(SEEDS / machine.seed)[0]
            machine.write_batches(wiring)
            machine.write_seed(files)
            machine.prepare_disk(files, PRIVATE)
            machines.append(machine)
        controller.config_path(self.name).write_text(controller.ssh_config(self.name, machines))
        switch = f"lab.{self.name}._switch"
        for namespace in (switch, controller.namespace(self.name)):
            command(["ip", "netns", "add", namespace])
        command(["ip", "-n", switch, "-batch", "-"], text=plan.switch_batch())
        port, own = controller.network_batches(self.name)
        command(["ip", "-n", switch, "-batch", "-"], text=port)
        command(["ip", "-n", controller.namespace(self.name), "-batch", "-"], text=own)
        return machines

    def _write_state(self, machines: Sequence[Machine]) -> None:
        state = {
            "inventory": str(self.inventory_path),
            "machines": [asdict(machine) for machine in machines],
        }
        (self.directory / "state.json").write_text(json.dumps(state, indent=1))

    def _power_on(self, machines: Sequence[Machine]) -> None:
        with host.readiness(machines) as sockets:
            processes: dict[str, subprocess.Popen[bytes]] = {}
            try:
                for machine in machines:
                    processes[machine.short] = machine.power_on()
                host.await_ready(machines, sockets, processes, BOOT_SECONDS + 2 * len(machines))
            except BaseException:
                # A launcher that has not entered its control group yet would survive the removal.
                for process in processes.values():
                    process.kill()
                raise

    def _remove(self) -> None:
        """Remove all parts of the twin, also after an incomplete boot."""
        host.kill(self.name)
        prefix = f"lab.{self.name}."
        listed = command(["ip", "netns", "list"])
        namespaces = [line.split()[0] for line in listed.splitlines() if line.startswith(prefix)]
        for namespace in namespaces:
            pids = command(["ip", "netns", "pids", namespace]).split()
            for pid in pids:
                # The remaining processes are the controller's: shared ssh connections, unfinished runs.
                if int(pid) != os.getpid():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            command(["ip", "netns", "delete", namespace])
        shutil.rmtree(self.directory, ignore_errors=True)
        host.remove_disk(self.name)

    # --- use

    def machines(self) -> dict[str, Machine]:
        """Return the hosts of the running twin by short name, the inventory's first."""
        state = self._state_file()
        # A playbook may be given a changed inventory of the same hosts.
        if not self._inventory_given:
            self.inventory_path = Path(state["inventory"])
        found = [Machine(**{**fields, "lower": tuple(fields["lower"])}) for fields in state["machines"]]
        return {machine.short: machine for machine in found}

    def _state_file(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads((self.directory / "state.json").read_text())
        except FileNotFoundError:
            raise LabError(f"twin {self.name} is not up; run: python3 -m lab up --name {self.name}") from None
        return state

    @property
    def suite(self) -> str:
        """Debian suites of the running twin's hosts."""
        return "+".join(dict.fromkeys(machine.suite for machine in self.machines().values()))

    def machine(self, name: str) -> Machine:
        """Return the host with this inventory name, short name or address."""
        machines = self.machines()
        for machine in machines.values():
            if name in (machine.short, machine.name, machine.address, machine.ansible_host):
                return machine
        raise LabError(f"twin {self.name} has no host {name!r}; its hosts are {', '.join(machines)}")

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Return the command line that runs something in the controller's namespace."""
        self.machines()
        return controller.inside(self.name, arguments)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment for `command`."""
        return controller.environment(self.name, self.inventory_path, extra)

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        input: bytes | None = b"",
        **options: Any,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command of the machine in the controller's namespace, with Ansible set up for the twin."""
        settings: dict[str, Any] = {"capture_output": True, "input": input, **options}
        line = self.command(arguments)
        return subprocess.run(line, env=self.environment(env), check=False, **settings)

    def playbook_arguments(self, playbook: str, arguments: Sequence[str] = ()) -> list[str]:
        """Return the ansible-playbook command for the twin."""
        self.machines()
        # The records of runs go with the twin.
        variables = ["-e", f"@{TWIN_VARIABLES}", "-e", f"mailgate_rollout_runs={self.directory / 'runs'}"]
        return ["ansible-playbook", "-i", str(self.inventory_path), *variables, playbook, *arguments]

    def playbook(self, playbook: str, arguments: Sequence[str] = ()) -> subprocess.CompletedProcess[bytes]:
        """Run a playbook on the twin."""
        return self.run(self.playbook_arguments(playbook, arguments))

    def exec(
        self, name: str, arguments: Sequence[str] | str, *, input: bytes | None = b"", **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command on a host: an argument list, or a string as a shell line."""
        settings: dict[str, Any] = {"capture_output": True, "input": input, **options}
        return subprocess.run(self._ssh(name, arguments), check=False, **settings)

    def _ssh(self, name: str, arguments: Sequence[str] | str, *options: str) -> list[str]:
        words = [arguments] if isinstance(arguments, str) else list(arguments)
        return controller.ssh(self.name, self.machine(name).short, words, *options)

    def shell(self, name: str) -> int:
        """Open a shell on a host; return its exit status."""
        return subprocess.run(self._ssh(name, [], "-t"), check=False).returncode

    def stop(self, name: str, graceful: bool = False) -> None:
        """Power a host off: at once, as a power failure does, or with systemd's poweroff."""
        machine = self.machine(name)
        if graceful and machine.is_on():
            self.exec(name, "systemctl poweroff --no-block")
            controller.close_connection(self.name, machine)
            _wait_for(lambda: not machine.is_on(), f"host {machine.name} did not power off")
        controller.close_connection(self.name, machine)
        machine.power_off()

    def start(self, name: str) -> None:
        """Power a host on and wait until it has booted, with its old disk and empty netfilter tables and routes."""
        machine = self.machine(name)
        if machine.is_on():
            raise LabError(f"host {machine.name} is on already")
        self._power_on([machine])
        self._await_ssh(machine)

    def reboot(self, name: str) -> None:
        """Reboot a host and wait until it answers by ssh."""
        machine = self.machine(name)
        if not machine.is_on():
            raise LabError(f"host {machine.name} is off; run: python3 -m lab start {machine.short}")
        controller.close_connection(self.name, machine)
        with host.readiness([machine]) as sockets:
            self.exec(name, "systemctl reboot --no-block")
            controller.close_connection(self.name, machine)
            host.await_ready([machine], sockets, {}, BOOT_SECONDS)
        self._await_ssh(machine)

    def reset(self, *names: str, layers: Iterable[str] | None = None) -> None:
        """Power hosts off, give them fresh disks with their initial files, and boot them.

        Args:
            names: the hosts.
            layers: image layers of their disks, built when missing; default: as before.
        """
        with locked(RUN / f"{self.name}.lock", f"another command on twin {self.name}"):
            machines = self.machines()
            fresh = []
            for name in names:
                old = self.machine(name)
                lower = old.lower
                if layers is not None:
                    lower = tuple(map(str, image.prepare([frozenset(layers)], old.suite).lower(layers)))
                machine = machines[old.short] = replace(old, lower=lower)
                controller.close_connection(self.name, machine)
                machine.power_off()
                shutil.rmtree(machine.disk)
                machine.prepare_disk(machine.read_seed(), PRIVATE)
                fresh.append(machine)
            self._write_state(list(machines.values()))
            self._power_on(fresh)
        for machine in fresh:
            self._await_ssh(machine)
        ready.complete(self.name, fresh)

    def _await_ssh(self, machine: Machine) -> None:
        def answers() -> bool:
            return self.exec(machine.short, ["true"]).returncode == 0

        _wait_for(answers, f"host {machine.name} did not answer by ssh")

    def status(self) -> dict[str, str]:
        """Return each host's state: off, or systemd's state."""
        machines = self.machines()

        def state(machine: Machine) -> str:
            return ready.state(self.name, machine, 10) if machine.is_on() else "off"

        with ThreadPoolExecutor(8) as pool:
            return dict(zip(machines, pool.map(state, machines.values()), strict=True))

    def snapshot(self, *names: str) -> dict[str, str]:
        """Return the files of these hosts (default: all) that differ from the images, as `short:/path` -> description.

        Two equal snapshots prove that nothing but logs, caches and runtime state was written between them.
        """
        chosen = [self.machine(name) for name in names] or list(self.machines().values())
        return {f"{m.short}:{path}": word for m in chosen for path, word in m.snapshot().items()}


def _wait_for(condition: Any, problem: str, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{problem} within {timeout:.0f} s")
        time.sleep(0.1)
