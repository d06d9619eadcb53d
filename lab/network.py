# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The twin's network: bridge, interfaces, addresses and routes of each host, as input for `ip -batch`.

There is one bridge per campus segment (an IPv4 /24 and the IPv6 /64s of its hosts), one for the outside and one for
management, all in a switch namespace. Border routers have an interface in every segment; the first of them is the
default gateway of all other hosts. Management ports are isolated, so hosts cannot bypass the router. Nothing is
connected to the machine's own network.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from lab.inventory import Host, Inventory
from lab.tools import LabError

Address: TypeAlias = IPv4Address | IPv6Address
Block: TypeAlias = IPv4Network | IPv6Network

OUTSIDE = "outside"
ROUTER = "router"
OUTSIDE_NETWORK = IPv4Network("198.19.255.0/24")
OUTSIDE_NETWORK6 = IPv6Network("2001:db8:ffff::/64")
OUTSIDE_ADDRESS = OUTSIDE_NETWORK[10]
OUTSIDE_ADDRESS6 = OUTSIDE_NETWORK6[0x10]
MANAGEMENT = IPv4Network("198.19.224.0/20")
CONTROLLER_ADDRESS = MANAGEMENT[1]
MANAGEMENT_BRIDGE = "mgmt"
OUTSIDE_BRIDGE = "outside"

SYSCTL = (
    "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0",
    "net.ipv6.conf.all.accept_ra=0", "net.ipv6.conf.default.accept_ra=0",
)  # fmt: skip
FORWARDING = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0")
#: A forwarding host must not forward packets into the management network.
NO_TRANSIT = (
    f"rule add pref 100 iif lo to {MANAGEMENT} lookup main",
    f"rule add pref 101 to {MANAGEMENT} prohibit",
)


@dataclass(frozen=True)
class Leg:
    """One interface of a host: its name there, its port's name in the switch, the port's bridge, its addresses."""

    interface: str
    port: str
    bridge: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Wiring:
    """All interfaces of a host, and its routes as arguments of `ip`."""

    management: IPv4Address
    legs: tuple[Leg, ...]
    routes: tuple[str, ...]
    forwards: bool = False

    def host_batch(self) -> str:
        """Return input of `ip -batch` for the host's namespace."""
        lines = ["link set lo up"]
        for leg in self.legs:
            lines += [f"link set dev {leg.interface} up"]
            lines += [
                f"address add {address} dev {leg.interface}{' nodad' if ':' in address else ''}"
                for address in leg.addresses
            ]
        return "\n".join([*lines, *self.routes, ""])

    def plug_batch(self, namespace: str) -> str:
        """Return input of `ip -batch` for the switch's namespace when the host is powered on."""
        lines = []
        for index, leg in enumerate(self.legs):
            # As with real cards, the hardware address stays the same after a reboot; neighbours cache it.
            number = int(self.management) & 0xFFFF
            hardware = f"02:00:{number >> 8:02x}:{number & 0xFF:02x}:{index >> 8:02x}:{index & 0xFF:02x}"
            peer = f"peer name {leg.interface} address {hardware} netns {namespace}"
            lines.append(f"link add name {leg.port} type veth {peer}")
            lines.append(f"link set dev {leg.port} master {leg.bridge} up")
            if leg.bridge == MANAGEMENT_BRIDGE:
                lines.append(f"link set dev {leg.port} type bridge_slave isolated on")
        return "\n".join([*lines, ""])

    def unplug_batch(self) -> str:
        """Return input of `ip -force -batch` for the switch's namespace when the host is powered off."""
        return "".join(f"link delete dev {leg.port}\n" for leg in self.legs)

    def sysctl(self) -> tuple[str, ...]:
        """Return the sysctl settings of the host's namespace."""
        return SYSCTL + (FORWARDING if self.forwards else ())


@dataclass
class _Segment:
    """A bridge with its IPv4 network, None if all of its hosts have IPv6 only, and its IPv6 networks."""

    bridge: str
    network: IPv4Network | None
    networks6: list[IPv6Network] = field(default_factory=list)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Its networks, IPv4 first."""
        return (*((self.network,) if self.network else ()), *self.networks6)


@dataclass(frozen=True)
class Network:
    """The whole twin: names of the bridges, wiring by short host name, campus networks as seen from outside."""

    bridges: tuple[str, ...]
    wirings: dict[str, Wiring]
    campus: tuple[str, ...]

    def switch_batch(self) -> str:
        """Return input of `ip -batch` that makes the bridges."""
        lines = ["link set lo up"]
        for bridge in self.bridges:
            lines += [f"link add name {bridge} type bridge mcast_snooping 0 stp_state 0", f"link set dev {bridge} up"]
        return "\n".join([*lines, ""])


def _segments(hosts: Iterable[Host]) -> dict[Block, _Segment]:
    """Return the segment of each network: an IPv4 /24 with the IPv6 /64s of its hosts, or a /64 without one."""
    segments: dict[Block, _Segment] = {}
    problems = []
    count = itertools.count()
    # A host with IPv6 only joins the segment of another host with its /64.
    for host in sorted(hosts, key=lambda host: host.address is None):
        blocks = _networks(host)
        problems += [
            f"  {host.name}: {address} is in a network that the twin uses itself; use another address"
            for address, block in zip(host.addresses, blocks, strict=True)
            if any(_overlap(block, own) for own in (MANAGEMENT, OUTSIDE_NETWORK, OUTSIDE_NETWORK6))
        ]
        segment = segments.get(blocks[0])
        if segment is None:
            first = blocks[0]
            segment = _Segment(f"seg{next(count)}", first if isinstance(first, IPv4Network) else None)
        for block in blocks:
            if segments.setdefault(block, segment) is not segment:
                problems.append(
                    f"  {host.name}: mailgate_address6 {host.address6}: {block} is used in "
                    f"{segments[block].network} and in {segment.network}; a /64 belongs to one /24"
                )
            elif isinstance(block, IPv6Network) and block not in segment.networks6:
                segment.networks6.append(block)
    if problems:
        raise LabError("the twin cannot be built from this inventory:\n" + "\n".join(problems))
    return segments


def _networks(host: Host) -> list[Block]:
    """Return the network of each address of a host: a /24 or a /64."""
    return [
        IPv4Network((address, 24), strict=False)
        if isinstance(address, IPv4Address)
        else IPv6Network((address, 64), strict=False)
        for address in host.addresses
    ]


def _overlap(one: Block, other: Block) -> bool:
    return one.version == other.version and one.overlaps(other)


def _free(network: Block, taken: set[Address]) -> Address:
    """Return a free address for a router: the network's first, or from its end down (of the first 254 in IPv6)."""
    last = min(network.num_addresses, 256) - 2
    for index in (1, *range(last, 1, -1)):
        if network[index] not in taken:
            taken.add(network[index])
            return network[index]
    raise LabError(f"no address left for the border router in {network}")


def _within(inner: Block, outer: Block) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _management(number: int) -> Leg:
    if 10 + number >= MANAGEMENT.num_addresses - 1:
        raise LabError(f"more hosts than {MANAGEMENT} has addresses")
    return Leg("mgmt0", f"m{number}", MANAGEMENT_BRIDGE, (f"{MANAGEMENT[10 + number]}/{MANAGEMENT.prefixlen}",))


def _router(
    number: int, order: int, border: Host | None, segments: Iterable[_Segment], taken: set[Address]
) -> tuple[Leg, ...]:
    """Return the interfaces of the border router number `order` (from 1): management, each segment, the outside."""
    outside_interface = (border and border.outside_interface) or "outside0"
    names = (name for name in (f"eth{index}" for index in itertools.count()) if name != outside_interface)
    own = border.addresses if border else ()
    legs = [_management(number)]
    for index, segment in enumerate(segments):
        addresses = []
        for block in segment.blocks:
            here = next((address for address in own if address in block), None) or _free(block, taken)
            addresses.append(f"{here}/{block.prefixlen}")
        legs.append(Leg(next(names), f"p{number}s{index}", segment.bridge, tuple(addresses)))
    outside = (f"{OUTSIDE_NETWORK[order]}/24", f"{OUTSIDE_NETWORK6[order]}/64")
    return (*legs, Leg(outside_interface, f"p{number}o", OUTSIDE_BRIDGE, outside))


def _outside(number: int, campus: Iterable[Block]) -> Wiring:
    """Return the wiring of the internet host: routes to the campus; all else is unreachable."""
    leg = Leg("eth0", f"p{number}o", OUTSIDE_BRIDGE, (f"{OUTSIDE_ADDRESS}/24", f"{OUTSIDE_ADDRESS6}/64"))
    routes = [f"route add {n} via {OUTSIDE_NETWORK6[1] if n.version == 6 else OUTSIDE_NETWORK[1]}" for n in campus]
    routes += ["route add unreachable default", "route add unreachable ::/0", *NO_TRANSIT]
    return Wiring(MANAGEMENT[10 + number], (_management(number), leg), tuple(routes), forwards=True)


def plan(inventory: Inventory) -> Network:
    """Return the network of an inventory; without a border router, it gets a plain one named `router`."""
    by_network = _segments(inventory.hosts)
    segments = list({segment.bridge: segment for segment in by_network.values()}.values())
    taken: set[Address] = {address for host in inventory.hosts for address in host.addresses}
    campus: list[Block] = [ipaddress.ip_network(network) for network in inventory.networks]
    for segment in segments:
        campus += [block for block in segment.blocks if not any(_within(block, known) for known in campus)]
    numbers = {host.short: index for index, host in enumerate(inventory.hosts)}
    numbers |= {name: len(numbers) + index for index, name in enumerate((OUTSIDE, ROUTER))}

    routers: dict[str, Host | None] = {host.short: host for host in inventory.hosts if host.outside_interface}
    way_out = [
        f"route add default via {OUTSIDE_ADDRESS}",
        f"route add ::/0 via {OUTSIDE_ADDRESS6}",
        # Unused addresses of the campus are unreachable at once, without routing loops.
        *(f"route add unreachable {block} metric 4000" for block in campus),
        *NO_TRANSIT,
    ]
    wirings = {}
    for order, (short, border) in enumerate((routers or {ROUTER: None}).items(), start=1):
        legs = _router(numbers[short], order, border, segments, taken)
        wirings[short] = Wiring(MANAGEMENT[10 + numbers[short]], legs, tuple(way_out), forwards=True)

    first_router = next(iter(wirings.values()))
    first_hops = [ipaddress.ip_interface(address) for leg in first_router.legs[1:] for address in leg.addresses]
    for host in inventory.hosts:
        if host.outside_interface:
            continue
        routes = [
            f"route add {'default' if address.version == 4 else '::/0'} via {hop.ip}"
            for address in host.addresses
            for hop in first_hops
            if address in hop.network
        ]
        addresses = tuple(f"{address}/{24 if address.version == 4 else 64}" for address in host.addresses)
        bridge = by_network[_networks(host)[0]].bridge
        number = numbers[host.short]
        legs = (_management(number), Leg("eth0", f"p{number}s", bridge, addresses))
        wirings[host.short] = Wiring(MANAGEMENT[10 + number], legs, tuple(routes))

    wirings[OUTSIDE] = _outside(numbers[OUTSIDE], campus)
    bridges = (MANAGEMENT_BRIDGE, OUTSIDE_BRIDGE, *(segment.bridge for segment in segments))
    return Network(bridges, wirings, tuple(str(block) for block in campus))
