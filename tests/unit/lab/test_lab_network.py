# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network: interfaces, addresses and routes of each host."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from lab.inventory import Host, Inventory
from lab.network import plan
from lab.tools import LabError


def host(short: str, address: str = "", address6: str = "", border: str | None = None) -> Host:
    return Host(
        name=f"{short}.univ.example",
        short=short,
        address=IPv4Address(address) if address else None,
        address6=IPv6Address(address6) if address6 else None,
        outside_interface=border,
    )


GATEWAY = host("gw1", "198.18.0.25", "2001:db8:18::25")
BORDER = host("border", "198.18.0.1", "2001:db8:18::1", "outside0")
HUB = host("hub", "198.18.1.1")
LEAF = host("leaf", "198.18.1.30")
CAMPUS = Inventory((GATEWAY, BORDER, HUB, LEAF), ("198.18.0.0/16", "2001:db8:18::/48"))


def addresses(wiring) -> dict[str, tuple[str, ...]]:
    return {leg.interface: leg.addresses for leg in wiring.legs if leg.interface != "mgmt0"}


def test_the_border_has_an_interface_in_each_segment_and_avoids_used_addresses():
    assert addresses(plan(CAMPUS).wirings["border"]) == {
        "eth0": ("198.18.0.1/24", "2001:db8:18::1/64"),
        "eth1": ("198.18.1.254/24",),
        "outside0": ("198.19.255.1/24", "2001:db8:ffff::1/64"),
    }


def test_the_border_is_the_only_gateway_of_hosts():
    wirings = plan(CAMPUS).wirings
    assert wirings["gw1"].routes == ("route add default via 198.18.0.1", "route add ::/0 via 2001:db8:18::1")
    assert wirings["leaf"].routes == ("route add default via 198.18.1.254",)
    assert not wirings["leaf"].forwards


def test_management_ports_are_isolated_and_campus_ports_are_not():
    for wiring in plan(CAMPUS).wirings.values():
        isolated = [line.split()[3] for line in wiring.plug_batch("ns").splitlines() if line.endswith("isolated on")]
        assert isolated == [leg.port for leg in wiring.legs if leg.interface == "mgmt0"]


def test_without_a_border_there_is_a_plain_router():
    network = plan(Inventory((GATEWAY, LEAF)))
    assert addresses(network.wirings["router"]) == {
        "eth0": ("198.18.0.1/24", "2001:db8:18::1/64"),
        "eth1": ("198.18.1.1/24",),
        "outside0": ("198.19.255.1/24", "2001:db8:ffff::1/64"),
    }
    assert network.wirings["leaf"].routes == ("route add default via 198.18.1.1",)
    assert network.campus == ("198.18.0.0/24", "2001:db8:18::/64", "198.18.1.0/24")


def test_a_second_border_gets_its_own_addresses():
    second = host("border2", "198.18.0.2", border="eth0")
    wirings = plan(Inventory((BORDER, second, LEAF))).wirings
    assert addresses(wirings["border2"]) == {
        "eth1": ("198.18.0.2/24", "2001:db8:18::fe/64"),
        "eth2": ("198.18.1.254/24",),
        "eth0": ("198.19.255.2/24", "2001:db8:ffff::2/64"),
    }
    assert wirings["leaf"].routes == ("route add default via 198.18.1.1",)


def test_names_of_interfaces_and_ports_fit_the_kernel():
    many = [host(f"h{number}", f"198.18.{number // 200}.{number % 200 + 10}") for number in range(1500)]
    network = plan(Inventory((BORDER, *many)))
    names = [name for wiring in network.wirings.values() for leg in wiring.legs for name in (leg.port, leg.interface)]
    assert max(map(len, names)) <= 15
    ports = [leg.port for wiring in network.wirings.values() for leg in wiring.legs]
    assert len(ports) == len(set(ports))


def test_hardware_addresses_are_unique_and_stable():
    def all_of_them() -> list[str]:
        batches = [wiring.plug_batch("ns") for wiring in plan(CAMPUS).wirings.values()]
        words = [line.split() for batch in batches for line in batch.splitlines()]
        return [line[line.index("address") + 1] for line in words if "address" in line]

    assert len(set(all_of_them())) == len(all_of_them())
    assert all_of_them() == all_of_them()


@pytest.mark.parametrize("address", ["198.19.255.7", "198.19.230.7"])
def test_networks_of_the_twin_itself_are_rejected(address: str):
    with pytest.raises(LabError, match=rf"leaf\.univ\.example: {address} is in a network that the twin uses"):
        plan(Inventory((host("leaf", address),)))


def test_a_slash_64_in_two_segments_is_rejected():
    hosts = (host("a", "198.18.0.2", "2001:db8::2"), host("b", "198.18.1.2", "2001:db8::3"))
    with pytest.raises(LabError, match=r"2001:db8::/64 is used in 198\.18\.0\.0/24 and in 198\.18\.1\.0/24"):
        plan(Inventory(hosts))


def test_a_host_with_ipv6_only_joins_the_segment_of_its_slash_64():
    lonely, near = host("lonely", "", "2001:db8:18:9::30"), host("near", "", "2001:db8:18::30")
    network = plan(Inventory((near, lonely, *CAMPUS.hosts), CAMPUS.networks))
    assert network.bridges[2:] == ("seg0", "seg1", "seg2")
    assert network.wirings["near"].legs[1].bridge == network.wirings["gw1"].legs[1].bridge
    assert addresses(network.wirings["near"]) == {"eth0": ("2001:db8:18::30/64",)}
    assert network.wirings["near"].routes == ("route add ::/0 via 2001:db8:18::1",)
    assert addresses(network.wirings["lonely"]) == {"eth0": ("2001:db8:18:9::30/64",)}
    assert network.wirings["lonely"].routes == ("route add ::/0 via 2001:db8:18:9::1",)
    assert addresses(network.wirings["border"])["eth2"] == ("2001:db8:18:9::1/64",)
