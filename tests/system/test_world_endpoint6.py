# SPDX-License-Identifier: MIT
"""Agents that reach their gateways over IPv6: WireGuard's own packets are IPv6, what is in them of either family."""

import socket

import pytest

from world import netns, topology
from world.processes import wait_until
from world.traffic import Stream, connect, receive_exactly, udp_socket

LAN6 = "2001:db8:77::"
GATEWAY = "gw1"
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


def wait_endpoint(product, endpoint):
    """Every Agent has shaken hands with the gateway there."""
    def there():
        status = product.kkctl("status")
        [gateway] = [node["id"] for node in status["gateways"] if node["name"] == GATEWAY]
        peers = [peer for agent in status["agents"] for peer in (agent.get("report") or {}).get("peers", [])
                 if peer["gateway"] == gateway]
        return len(peers) == len(status["agents"]) and all(
            peer["endpoint"] == endpoint and peer.get("last_handshake") for peer in peers)
    wait_until(f"Agents at {endpoint}", there, timeout_s=60)


@pytest.fixture(name="over6", scope="module")
def dial_over_ipv6(world, echo):
    """A connection of before, which the change of the tunnel's endpoint does not end."""
    product = world.product
    four, six = topology.GATEWAYS[GATEWAY], topology.GATEWAYS6[GATEWAY]
    add_lan6(world.network, world.agents)
    stream = Stream(world.network["user"], four, 7000)
    set_first(product, six, four)
    wait_endpoint(product, ENDPOINT)
    yield stream
    set_first(product, four, six)
    wait_endpoint(product, f"{four}:51820")
    remove_lan6(world.network, world.agents)


def addresses():
    return (topology.GATEWAYS[GATEWAY], topology.GATEWAYS6[GATEWAY])


def test_outer_packets_are_ipv6(world, over6):
    """The gateway has its Agents at their IPv6 addresses."""
    def there():
        [gateway] = [node for node in world.product.kkctl("status")["gateways"] if node["name"] == GATEWAY]
        endpoints = [peer["endpoint"] for peer in gateway["report"]["peers"]]
        return len(endpoints) == len(world.agents) and all(endpoint.startswith(f"[{LAN6}") for endpoint in endpoints)
    wait_until("the gateway hears of its Agents over IPv6", there, timeout_s=60)


def test_connection_of_before_goes_on(over6):
    assert over6.stop() < 10


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
