# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A twin from boot to burial, and the ways to use it; what the command line and the demo's story are built on."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab import controller, host, image, network, seed
from lab.host import Machine
from lab.inventory import Host, Inventory, read
from lab.tools import REPOSITORY, RUN, LabError, command, locked, say, step

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
TWIN_VARIABLES = REPOSITORY / "lab" / "twin-vars.yml"
#: Seconds a boot may take, besides two for each host.
PATIENCE = 60

#: Settings of the machine that many hosts need; only ever raised.
MACHINE_SYSCTL = {
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 524288,
    "kernel/pid_max": 262144,
    "net/ipv4/neigh/default/gc_thresh1": 4096,
    "net/ipv4/neigh/default/gc_thresh2": 8192,
    "net/ipv4/neigh/default/gc_thresh3": 16384,
}


class Twin:
    """The twin of one inventory. `up` boots it; any later process uses it under the same name.

    `run`, `exec` and `playbook` return finished processes with captured bytes and never raise on a non-zero status.
    Hosts are called by inventory name, short name or address. All else raises LabError.
    """

    def __init__(self, inventory: Path | str = REPOSITORY / "inventories" / "demo", name: str | None = None) -> None:
        self.inventory_path = Path(inventory).resolve()
        self.name = name or re.sub(r"[^a-z0-9]+", "-", self.inventory_path.stem.lower()).strip("-")
        if not NAME.fullmatch(self.name):
            raise LabError(f"{self.name!r} can't name a twin; use up to 31 of a-z, 0-9 and -, as in --name demo")
        self.directory = RUN / self.name

    # --- from boot to burial

    def prepare(self) -> image.Images:
        """Build what is missing of the images."""
        return image.prepare()

    def up(self, bare: bool = False) -> None:
        """Boot every host of the inventory, and the outside; what an earlier boot left is removed first.

        `bare`: mail servers and gateways come without sendmail, so that a role's own installation is what is tested.
        """
        began = time.monotonic()
        image.check_machine()
        reserved = (network.OUTSIDE, network.ROUTER)
        inventory = read(self.inventory_path, reserved)
        plan = network.plan(inventory)
        kinds = {member.short: member.layers - ({"mail"} if bare else set()) for member in inventory.hosts}
        kinds[network.OUTSIDE] = frozenset({"dns"})
        images = image.prepare(kinds.values())
        with locked(RUN / f"{self.name}.lock", f"another command on twin {self.name}"):
            self._bury()
            with self._all_or_nothing():
                machines = self._build(inventory, plan, images, kinds)
                with step(f"boot {len(machines)} hosts"):
                    self._power_on(machines)
                with step("ssh to every host"):
                    self._greet(machines)
        say(f"lab: twin {self.name} is up, {time.monotonic() - began:.1f} s in all")

    def down(self) -> None:
        """End the twin and remove all that it had; no error if there is none."""
        image.check_machine()
        with locked(RUN / f"{self.name}.lock", f"another command on twin {self.name}"):
            self._bury()

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Bury a twin whose boot fails or is interrupted."""

        def stop(number: int, _frame: object) -> None:
            raise SystemExit(128 + number)

        earlier = signal.signal(signal.SIGTERM, stop)
        try:
            yield
        except BaseException:
            say(f"lab: twin {self.name} did not come up; taking it down")
            self._bury()
            raise
        finally:
            signal.signal(signal.SIGTERM, earlier)

    def _build(
        self,
        inventory: Inventory,
        plan: network.Network,
        images: image.Images,
        kinds: Mapping[str, frozenset[str]],
    ) -> list[Machine]:
        """Make namespaces of switch and controller, keys, disks; returns the machines, ready to be switched on."""
        for key, least in MACHINE_SYSCTL.items():
            setting = Path("/proc/sys") / key
            if setting.exists() and int(setting.read_text()) < least:
                setting.write_text(str(least))
        self.directory.mkdir(parents=True)
        members: dict[str, Host | None] = dict.fromkeys(plan.wirings)
        members |= {member.short: member for member in inventory.hosts}
        keys = controller.make_keys(self.name)
        campus_resolver = seed.resolver(inventory.hosts)
        machines = []
        for short, member in members.items():
            wiring = plan.wirings[short]
            name = member.name if member else f"{short}.example"
            addresses = [address.split("/")[0] for leg in wiring.legs[1:] for address in leg.addresses]
            if member:
                addresses = [str(a) for a in (member.address, member.address6) if a]
            machine = Machine(
                twin=self.name,
                short=short,
                name=name,
                address=addresses[0],
                ansible_host=member.ansible_host if member else name,
                management=str(wiring.management),
                lower=tuple(str(directory) for directory in images.lower(kinds.get(short, frozenset()))),
                repository=str(images.repository),
            )
            files = {**seed.identity(name, addresses), "/etc/resolv.conf": campus_resolver, **keys}
            if short == network.OUTSIDE:
                files |= {"/etc/resolv.conf": "nameserver 127.0.0.1\n", **seed.outside(inventory.hosts)}
            elif member and member.zones is not None:
                files |= seed.name_server(member, inventory.hosts, plan.campus)
            if member and "mail" in kinds[short]:
                files |= seed.mail_server(member)
            machine.wire(wiring)
            machine.furnish(files, {"/etc/ssh/ssh_host_ed25519_key": 0o600, "/root/.ssh/authorized_keys": 0o600})
            machines.append(machine)
        controller.config_path(self.name).write_text(controller.ssh_config(self.name, machines))
        state = {"inventory": str(self.inventory_path), "machines": [asdict(machine) for machine in machines]}
        (self.directory / "state.json").write_text(json.dumps(state, indent=1))

        switch = f"lab.{self.name}._switch"
        for namespace in (switch, controller.namespace(self.name)):
            command(["ip", "netns", "add", namespace])
        command(["ip", "-n", switch, "-batch", "-"], text=plan.switch_batch())
        port, own = controller.wires(self.name)
        command(["ip", "-n", switch, "-batch", "-"], text=port)
        command(["ip", "-n", controller.namespace(self.name), "-batch", "-"], text=own)
        return machines

    def _power_on(self, machines: Sequence[Machine]) -> None:
        with host.readiness(machines) as sockets:
            processes: dict[str, subprocess.Popen[bytes]] = {}
            try:
                for machine in machines:
                    processes[machine.short] = machine.power_on()
                host.await_ready(machines, sockets, processes, PATIENCE + 2 * len(machines))
            except BaseException:
                # A launcher that has not reached its control group yet would survive the burial.
                for process in processes.values():
                    process.kill()
                raise

    def _greet(self, machines: Sequence[Machine]) -> None:
        """Ask each host by ssh whether systemd is content; this opens the connections that Ansible shares."""
        with ThreadPoolExecutor(8) as pool:
            states = list(pool.map(lambda machine: self._state(machine, 30), machines))
        unwell = [f"host {m.name}: {s}" for m, s in zip(machines, states, strict=True) if s != "running"]
        if unwell:
            raise LabError("\n".join(unwell))

    def _state(self, machine: Machine, patience: float) -> str:
        """`running`, or what is wrong, as systemd or ssh has it."""
        ask = "systemctl is-system-running --wait; systemctl --failed --plain --no-legend"
        try:
            done = subprocess.run(
                controller.ssh(self.name, machine.short, [ask]), capture_output=True, text=True, timeout=patience,
                stdin=subprocess.DEVNULL, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"no answer by ssh within {patience:.0f} s"
        return (done.stdout.strip() or done.stderr.strip()).replace("\n", "; ")

    def _bury(self) -> None:
        """Remove every trace of the twin, also of one whose boot was cut short."""
        host.kill(self.name)
        prefix = f"lab.{self.name}."
        listed = command(["ip", "netns", "list"])
        namespaces = [line.split()[0] for line in listed.splitlines() if line.startswith(prefix)]
        for namespace in namespaces:
            pids = command(["ip", "netns", "pids", namespace]).split()
            for pid in pids:
                # What is left in these namespaces is the controller's: shared ssh connections, forgotten runs.
                if int(pid) != os.getpid():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            command(["ip", "netns", "delete", namespace])
        shutil.rmtree(self.directory, ignore_errors=True)
        host.remove_disk(self.name)

    # --- use

    def machines(self) -> dict[str, Machine]:
        """Hosts of the running twin by short name, the inventory's first."""
        try:
            state = json.loads((self.directory / "state.json").read_text())
        except FileNotFoundError:
            raise LabError(f"twin {self.name} is not up; mend with: python3 -m lab up --name {self.name}") from None
        self.inventory_path = Path(state["inventory"])
        found = [Machine(**{**fields, "lower": tuple(fields["lower"])}) for fields in state["machines"]]
        return {machine.short: machine for machine in found}

    def machine(self, called: str) -> Machine:
        """Return the host with this inventory name, short name or address."""
        machines = self.machines()
        for machine in machines.values():
            if called in (machine.short, machine.name, machine.address, machine.ansible_host):
                return machine
        raise LabError(f"twin {self.name} has no host {called!r}; it has {', '.join(machines)}")

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
        variables = f"@{TWIN_VARIABLES}"
        return ["ansible-playbook", "-i", str(self.inventory_path), "-e", variables, playbook, *arguments]

    def playbook(self, playbook: str, arguments: Sequence[str] = ()) -> subprocess.CompletedProcess[bytes]:
        """Run a playbook on the twin."""
        return self.run(self.playbook_arguments(playbook, arguments))

    def exec(
        self, called: str, arguments: Sequence[str] | str, *, input: bytes | None = b"", **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command on a host: an argument list, or a string as a shell line."""
        settings: dict[str, Any] = {"capture_output": True, "input": input, **options}
        return subprocess.run(self._ssh(called, arguments), check=False, **settings)

    def _ssh(self, called: str, arguments: Sequence[str] | str, *options: str) -> list[str]:
        words = [arguments] if isinstance(arguments, str) else list(arguments)
        return controller.ssh(self.name, self.machine(called).short, words, *options)

    def shell(self, called: str) -> int:
        """Enter a host; returns the shell's exit status."""
        return subprocess.run(self._ssh(called, [], "-t"), check=False).returncode

    def stop(self, called: str, graceful: bool = False) -> None:
        """Switch a host off: as a power failure does, or by systemd's own poweroff."""
        machine = self.machine(called)
        if graceful and machine.is_on():
            self.exec(called, "systemctl poweroff --no-block")
            controller.hang_up(self.name, machine)
            _until(lambda: not machine.is_on(), f"host {machine.name} does not power off")
        controller.hang_up(self.name, machine)
        machine.power_off()

    def start(self, called: str) -> None:
        """Switch a host on and wait until it has booted; its disk is as it was, its netfilter and routes are fresh."""
        machine = self.machine(called)
        if machine.is_on():
            raise LabError(f"host {machine.name} is on")
        self._power_on([machine])
        self._await_ssh(machine)

    def reboot(self, called: str) -> None:
        """Have a host reboot itself and wait until it answers again."""
        machine = self.machine(called)
        if not machine.is_on():
            raise LabError(f"host {machine.name} is off; start it")
        controller.hang_up(self.name, machine)
        with host.readiness([machine]) as sockets:
            self.exec(called, "systemctl reboot --no-block")
            controller.hang_up(self.name, machine)
            host.await_ready([machine], sockets, {}, PATIENCE)
        self._await_ssh(machine)

    def _await_ssh(self, machine: Machine) -> None:
        def answers() -> bool:
            return self.exec(machine.short, ["true"]).returncode == 0

        _until(answers, f"host {machine.name} does not answer by ssh")

    def status(self) -> dict[str, str]:
        """Each host's state: off, or what systemd says."""
        machines = self.machines()

        def state(machine: Machine) -> str:
            return self._state(machine, 10) if machine.is_on() else "off"

        with ThreadPoolExecutor(8) as pool:
            return dict(zip(machines, pool.map(state, machines.values()), strict=True))

    def snapshot(self, *called: str) -> dict[str, str]:
        """What differs from the images on these hosts (all without names): `short:/path` -> kind, mode, owner, hash.

        Two equal snapshots prove that nothing was written between them, save logs, caches and runtime state.
        """
        chosen = [self.machine(one) for one in called] or list(self.machines().values())
        return {f"{m.short}:{path}": word for m in chosen for path, word in m.snapshot().items()}


def _until(holds: Any, otherwise: str, patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            raise LabError(f"{otherwise} within {patience:.0f} s")
        time.sleep(0.1)
