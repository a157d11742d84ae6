# SPDX-License-Identifier: MIT
"""Agents that reach their gateways over IPv6: WireGuard's own packets are IPv6, what is in them of either family."""

import socket

import pytest

from world import netns, topology
from world.processes import wait_until
from world.traffic import connect, receive_exactly, udp_socket

LAN6 = "2001:db8:77::"
GATEWAY = "gw1"
# Where WireGuard's own packets go, and so of which family they are.
ENDPOINT = f"[{topology.GATEWAYS6[GATEWAY]}]:51820"


def add_lan6(network, agents):
    """The Agents' network gets IPv6 of its own, which the nat box routes; the addresses' last numbers are those of IPv4."""
    nat, inet = network["nat"], network["inet"]
    netns.add_address6(nat, "lan0", f"{LAN6}1/64")
    netns.add_address6(nat, "eth0", "2001:db8:198::30/64")
    netns.add_default_route(nat, "2001:db8:198::254")
    netns.sh("ip", "-n", inet, "route", "add", f"{LAN6}/64", "via", "2001:db8:198::30")
    for name in agents:
        netns.add_address6(network[name], "eth0", f"{LAN6}{topology.AGENTS[name].rpartition('.')[2]}/64")
        netns.add_default_route(network[name], f"{LAN6}1")


def remove_lan6(network, agents):
    netns.sh("ip", "-n", network["inet"], "route", "del", f"{LAN6}/64")
    netns.sh("ip", "-n", network["nat"], "addr", "del", f"{LAN6}1/64", "dev", "lan0")
    netns.sh("ip", "-n", network["nat"], "addr", "del", "2001:db8:198::30/64", "dev", "eth0")
    for name in agents:
        netns.sh("ip", "-n", network[name], "-6", "route", "flush", "default")
        netns.sh("ip", "-n", network[name], "-6", "addr", "flush", "dev", "eth0", "scope", "global")


def set_first(product, *addresses):
    """A gateway's first address is the one that its Agents dial. It loads its programs anew."""
    product.kkctl("--wait", "60", "gateway", "set", GATEWAY, *(word for one in addresses for word in ("--address", one)))


def endpoints(product, name):
    """Where a node's tunnel has its peers, as wg(8) tells."""
    return [line.split()[1] for line in netns.sh("wg", "show", product.tunnels[name], "endpoints").splitlines()]


def wait_endpoint(world, endpoint, agents):
    """Until every Agent has the gateway there, and the gateway has them where @agents begins: of one that has nothing to say
    it hears as soon as that keeps its tunnel alive (25 s)."""
    def there():
        heard = endpoints(world.product, GATEWAY)
        return (all(endpoint in endpoints(world.product, name) for name in world.agents)
                and len(heard) == len(world.agents) and all(one.startswith(agents) for one in heard))
    wait_until(f"Agents at {endpoint}", there, timeout_s=60)


BLOCK = f"""
table inet only6 {{
	chain forward {{
		type filter hook forward priority -10
		ip daddr {topology.GATEWAYS[GATEWAY]} drop
		ip saddr {topology.GATEWAYS[GATEWAY]} drop
	}}
}}
"""


@pytest.fixture(name="over6", scope="module")
def dial_over_ipv6(world, echo):
    """Both ends of the tunnels are IPv6 afterwards. A connection of before is not to be ended by that. The way of before is
    taken away: what is still under way on it would lead the tunnel back there, as WireGuard roams."""
    product, nat = world.product, world.network["nat"]
    four, six = topology.GATEWAYS[GATEWAY], topology.GATEWAYS6[GATEWAY]
    add_lan6(world.network, world.agents)
    before = connect(world.network["user"], four, 7000)
    assert receive_exactly(before, 8) == echo.greeting
    netns.sh(*netns.within(nat, "nft", "-f", "-"), input=BLOCK)
    set_first(product, six, four)
    wait_endpoint(world, ENDPOINT, f"[{LAN6}")
    yield before
    before.close()
    netns.sh(*netns.within(nat, "nft", "delete", "table", "inet", "only6"))
    remove_lan6(world.network, world.agents)
    set_first(product, four, six)
    wait_endpoint(world, f"{four}:51820", "198.51.100.30:")


def addresses():
    return (topology.GATEWAYS[GATEWAY], topology.GATEWAYS6[GATEWAY])


def test_connection_of_before_goes_on(over6):
    over6.sendall(b"still there?")
    assert receive_exactly(over6, 12) == b"still there?"


@pytest.mark.parametrize("address", addresses())
def test_services_of_both_families(world, over6, echo, address):
    exchange(world, echo, address)


@pytest.mark.parametrize("address", addresses())
def test_path_mtu_of_1280_under_the_tunnel(world, over6, echo, address):
    """Too small for the tunnel's packets, which a router on the way tells of: what is in them goes on, large and small."""
    names = [world.network["nat"], *(world.network[name] for name in world.agents)]
    links = [(names[0], "agent"), *((name, "eth0") for name in names[1:])]
    try:
        for namespace, interface in links:
            netns.sh("ip", "-n", namespace, "link", "set", interface, "mtu", "1280")
        netns.sh("ip", "-n", names[0], "link", "set", "lan0", "mtu", "1280")
        exchange(world, echo, address)
    finally:
        netns.sh("ip", "-n", names[0], "link", "set", "lan0", "mtu", "1500")
        for namespace, interface in links:
            netns.sh("ip", "-n", namespace, "link", "set", interface, "mtu", "1500")


def exchange(world, echo, address):
    """A megabyte each way, and datagrams up to ones of many fragments."""
    data = bytes(i % 251 for i in range(131072))
    with connect(world.network["user"], address, 7000) as client:
        assert receive_exactly(client, 8) == echo.greeting
        for _ in range(8):
            client.sendall(data)
            assert receive_exactly(client, len(data)) == data
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with udp_socket(world.network["user"], timeout_s=2, family=family) as client:
        for length in (1, 1200, 1400, 60000):
            assert ask(client, address, data[:length]) == echo.greeting + data[:length]


def ask(client, address, datagram):
    """The first datagrams may be lost, as the path is only being found out."""
    for _ in range(8):
        client.sendto(datagram, (address, 7000))
        try:
            while True:
                answer = client.recvfrom(65536)[0]
                if len(answer) == len(datagram) + 8:
                    return answer
        except TimeoutError:
            continue
    raise TimeoutError(f"{address}: no answer to {len(datagram)} bytes")
