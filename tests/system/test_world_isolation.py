# SPDX-License-Identifier: MIT
"""What an Agent that was broken into can reach through its tunnel, and who can reach an Agent.

The attacker owns agent2, whose own side allows everything, so that only the gateways are left to stop it; and
the gateways forward IP, as a router that is also a gateway would.
"""

import contextlib
import errno
import ipaddress
import select
import socket
import struct
import time

import pytest

from world import netns, topology
from world.traffic import Echo, connect, udp_socket

HOST_PORT = 9998
METRICS_PORT = 9180
WAIT_S = 1.5


@pytest.fixture(scope="module", name="hosts")
def make_hosts(world):
    """A server on every address of each gateway's host, which forwards IP; reachable from outside."""
    servers = [Echo(world.network[name], "0.0.0.0", HOST_PORT, name) for name in topology.GATEWAYS]
    for name, address in topology.GATEWAYS.items():
        netns.set_forwarding(world.network[name])
        connect(world.network["user"], address, HOST_PORT).close()
        with udp_socket(world.network["user"]) as client:
            client.sendto(b"x", (address, HOST_PORT))
            assert client.recv(100).startswith(name.encode())
    yield servers
    for server in servers:
        server.close()
    for name in topology.GATEWAYS:
        netns.set_forwarding(world.network[name], False)


def peers_of(world, agent):
    """The Agent's interface, and its peer for each gateway."""
    found, interface = {}, world.product.tunnels[agent]
    for line in netns.sh("wg", "show", interface, "endpoints").splitlines():
        peer, endpoint = line.split()
        for gateway, address in topology.GATEWAYS.items():
            if endpoint == f"{address}:51820":
                found[gateway] = peer
    assert set(found) == set(topology.GATEWAYS)
    return interface, found


@pytest.fixture(name="attack_by")
def make_attack_by(world, hosts, gateway):
    """The attacker's interface, everything of which goes by this gateway; its own side has no limits."""
    interface, peers = peers_of(world, "agent2")
    others = [peer for name, peer in peers.items() if name != gateway]
    assert netns.sh("wg", "show", interface, "allowed-ips").count("0.0.0.0/0") == len(peers)
    for peer in others:
        netns.sh("wg", "set", interface, "peer", peer, "allowed-ips", "")
    yield interface
    for peer in others:
        netns.sh("wg", "set", interface, "peer", peer, "allowed-ips", "0.0.0.0/0")


def subnet_host(world, agent, host):
    subnet = world.product.kkctl("agent", "show", agent)["subnet"]
    return subnet.rpartition(".")[0] + f".{host}"


def reached(world, interface, destinations):
    """Which (address, port) answered a connection by TCP, or a refusal of it, through one interface."""
    waiting = {}
    with contextlib.ExitStack() as stack:
        for destination in destinations:
            with netns.entered(world.network["agent2-tun"]):
                client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            assert client.connect_ex(destination) in (errno.EINPROGRESS, errno.EHOSTUNREACH, errno.ENETUNREACH)
            waiting[client] = destination
        # All of that time, as silence is what is hoped for.
        time.sleep(WAIT_S)
        _, answered, _ = select.select([], list(waiting), [], 0)
        results = {waiting[client]: client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) for client in answered}
    return {destination for destination, error in results.items() if error in (0, errno.ECONNREFUSED)}


def test_agent_reaches_nothing_through_a_gateway(world, product, attack_by, gateway):
    index = product.kkctl("gateway", "show", gateway)["index"]
    addresses = [subnet_host(world, agent, host) for agent in world.agents for host in (index, 77)]
    addresses += [subnet_host(world, "agent", 100), *topology.GATEWAYS.values(), topology.CONTROL, topology.USER,
                  "198.51.100.254"]
    ports = (HOST_PORT, METRICS_PORT, 22, 2222, 5432, 8443)
    assert reached(world, attack_by, [(address, port) for address in addresses for port in ports]) == set()


def test_agent_gets_no_answer_to_udp_and_ping(world, product, attack_by, gateway):
    index = product.kkctl("gateway", "show", gateway)["index"]
    addresses = [subnet_host(world, "agent2", index), subnet_host(world, "agent", 100), topology.GATEWAYS[gateway]]
    with udp_socket(world.network["agent2-tun"], WAIT_S) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, attack_by.encode())
        for address in addresses:
            client.sendto(b"x", (address, HOST_PORT))
        with pytest.raises(TimeoutError):
            client.recv(100)
    for address in addresses:
        with pytest.raises(RuntimeError):
            netns.sh(*netns.within(world.network["agent2-tun"], "ping", "-c", "1", "-W", "1", "-I", attack_by, address))


def test_published_port_as_source_reaches_no_host(world, product, attack_by, gateway):
    """The gateway lets out what a published port sends, to the internet; not to itself, nor to another Agent."""
    product.publish("bait", "--udp", "7400", "--target", "127.0.0.1:7400", agent="agent2")
    index = product.kkctl("gateway", "show", gateway)["index"]
    source = (subnet_host(world, "agent2", 100), product.kkctl("service", "show", "bait")["agent_port"])
    inside = [subnet_host(world, "agent2", index), subnet_host(world, "agent", index),
              subnet_host(world, "agent", 100), "127.0.0.1", topology.GATEWAYS[gateway]]
    listeners = [listener(world.network[gateway], HOST_PORT + 1), listener(world.network["agent-tun"], HOST_PORT + 1)]
    outside = listener(world.network["user"], HOST_PORT + 1)
    try:
        for address in [*inside, topology.USER]:
            send_datagram(world, attack_by, source, (address, HOST_PORT + 1))
        # The positive case, so that silence means something: the one to the internet arrives, as the gateway's.
        assert outside.recvfrom(100)[1] == (topology.GATEWAYS[gateway], 7400)
        readable, _, _ = select.select(listeners, [], [], WAIT_S)
        assert not readable
    finally:
        for sock in (*listeners, outside):
            sock.close()
        product.kkctl("service", "rm", "bait")


def listener(namespace, port):
    sock = udp_socket(namespace, 3)
    sock.bind(("0.0.0.0", port))
    return sock


def send_datagram(world, interface, source, destination, payload=b"forged"):
    """A UDP datagram from an address and port that are someone else's."""
    with netns.entered(world.network["agent2-tun"]):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    udp = struct.pack("!HHHH", source[1], destination[1], 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0,
                     socket.inet_aton(source[0]), socket.inet_aton(destination[0]))
    with raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        raw.sendto(ip + udp, destination)


def test_agent_addresses_are_not_reached_from_outside(world, product, hosts, gateway):
    """A neighbour of the gateway that routes the pool there gets nothing through, not even one way."""
    control = world.network["control"]
    inside = listener(world.network["agent-tun"], HOST_PORT + 2)
    netns.sh("ip", "-n", control, "route", "add", "10.0.0.0/8", "via", topology.GATEWAYS[gateway])
    try:
        with inside, udp_socket(control) as client:
            client.sendto(b"x", (subnet_host(world, "agent", 100), HOST_PORT + 2))
            readable, _, _ = select.select([inside], [], [], WAIT_S)
            assert not readable
    finally:
        netns.sh("ip", "-n", control, "route", "del", "10.0.0.0/8")


def test_the_tunnel_namespace_holds_nothing_but_listeners(world, product):
    """A gateway that was broken into finds the published services and nothing else."""
    wanted = {(service["protocol"], service["agent_port"]) for service in product.items("service")
              if service["agent"] == "agent"}
    found = set()
    for protocol, flag in (("tcp", "-Hltn"), ("udp", "-Huln")):
        for line in netns.sh(*netns.within(world.network["agent-tun"], "ss", flag)).splitlines():
            address, _, port = line.split()[3].rpartition(":")
            listener = ipaddress.ip_address(address.strip("[]").partition("%")[0])
            # In IPv6 the same address behind the pool's prefix.
            assert str(ipaddress.IPv4Address(int(listener) & 0xffffffff)) == subnet_host(world, "agent", 100), line
            assert listener.is_private, line
            found.add((protocol, int(port)))
    assert found == wanted


def test_a_gateway_reaches_no_network_behind_the_agent(world, product, gateway):
    """Neither the LAN nor the Agent's machine answers through the tunnel."""
    interface = product.tunnels[gateway]
    for address in (topology.LAN, topology.AGENTS["agent"], "192.168.77.1"):
        with netns.entered(world.network[gateway]):
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with client:
            client.settimeout(WAIT_S)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            with pytest.raises(OSError):
                client.connect((address, 80))
