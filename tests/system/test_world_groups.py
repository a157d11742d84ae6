# SPDX-License-Identifier: MIT
"""Two Agents behind one service: both are used, and when one dies its clients go over and the others do not notice."""

import os
import signal
import time

import pytest

from world import netns, topology
from world.processes import wait_until
from world.traffic import Echo, Stream, connect, receive_exactly, udp_socket

AGENTS = ("agent", "agent2")


@pytest.fixture(name="both", scope="module")
def publish_both(world):
    """An Echo on each Agent's machine under the Agent's name."""
    servers = [Echo(world.network[name], "127.0.0.1", 7500, name) for name in AGENTS]
    world.product.publish("both", "--tcp", "7500", "--target", "127.0.0.1:7500", agent=list(AGENTS))
    yield servers
    world.product.kkctl("service", "rm", "both")
    for server in servers:
        server.close()


def greeting(world, address, source_port):
    with connect(world.network["user"], address, 7500, timeout_s=5, source_port=source_port) as client:
        return receive_exactly(client, 8).decode().strip()


def test_both_are_used_and_gateways_agree(world, product, both):
    shown = product.kkctl("service", "show", "both")
    assert shown["agents"] == list(AGENTS)
    for address in (topology.GATEWAYS["gw1"], topology.GATEWAYS6["gw2"]):
        used = {greeting(world, address, 0) for _ in range(24)}
        assert used == set(AGENTS)


def test_one_agent_dies(world, product, both):
    """Its engine is stopped, as by a machine that hangs: no handshake, no answer, no reset."""
    address = topology.GATEWAYS["gw1"]
    streams = both_streams(world, address)
    kept = [stream for stream in streams if stream.greeting.decode().strip() == "agent"]
    for stream in streams:
        if stream not in kept:
            stream.client.close()
    engine = next(pid for pid in map(int, netns.sh("pgrep", "-f", f"kkwg.* {product.tunnels['agent2']}$").split()))
    # With Control away the gateways have to find out by themselves.
    product.daemons["control"].send(signal.SIGSTOP)
    os.kill(engine, signal.SIGSTOP)
    try:
        died = time.monotonic()
        time.sleep(2)
        for _ in range(20):
            assert greeting(world, address, 0) == "agent"
        assert time.monotonic() - died < 20
        for stream in kept:
            assert stream.stop() < 4
        product.daemons["control"].send(signal.SIGCONT)
        wait_until("the gateways tell of it", lambda: all(
            (node.get("report") or {}).get("silent_agents") == ["agent2"] for node in product.kkctl("status")["gateways"]))
        assert "gw1: agent agent2: does not answer" in product.run_kkctl("status").stdout
    finally:
        os.kill(engine, signal.SIGCONT)
        product.daemons["control"].send(signal.SIGCONT)
    product.wait_connected(*topology.GATEWAYS, *world.agents)
    wait_until("agent2 is used again", lambda: greeting(world, address, 0) == "agent2")


def test_target_of_one_agent_is_killed(world, product, both):
    """The Agent is well, what it serves is not: its clients go over, those of the other notice nothing; and back again."""
    address = topology.GATEWAYS["gw1"]
    streams = both_streams(world, address)
    for stream in streams:
        if stream.greeting.decode().strip() != "agent":
            stream.stop()
    kept = [stream for stream in streams if stream.greeting.decode().strip() == "agent"]
    # With Control away the gateways have to find out by themselves.
    product.daemons["control"].send(signal.SIGSTOP)
    try:
        both[1].close()
        wait_until("agent2 gets no more connections", lambda: all(name == "agent" for name in greetings(world, address)))
        for _ in range(20):
            assert greeting(world, address, 0) == "agent"
        for stream in kept:
            assert stream.stop() < 4
    finally:
        product.daemons["control"].send(signal.SIGCONT)
    product.wait_connected(*topology.GATEWAYS, *world.agents)
    wait_until("the gateways tell of it", lambda: all(
        (node.get("report") or {}).get("refusing") == [{"service": "both", "agent": "agent2"}]
        for node in product.kkctl("status")["gateways"]))
    assert "gw1: agent agent2 of service both: refuses connections" in product.run_kkctl("status").stdout
    both[1] = Echo(world.network["agent2"], "127.0.0.1", 7500, "agent2")
    wait_until("agent2 is used again", lambda: "agent2" in greetings(world, address))
    assert {greeting(world, address, 0) for _ in range(40)} == set(AGENTS)


@pytest.fixture(name="both_udp")
def publish_both_udp(world):
    servers = [Echo(world.network[name], "127.0.0.1", 7510, name) for name in AGENTS]
    world.product.publish("both-udp", "--udp", "7510", "--target", "127.0.0.1:7510", agent=list(AGENTS))
    yield servers
    world.product.kkctl("service", "rm", "both-udp")
    for server in servers:
        server.close()


def test_udp_target_of_one_agent_is_killed(world, product, both_udp):
    """Nothing asks an application of UDP that is well. A client's datagram is refused, and then its Agent gets no more."""
    address = topology.GATEWAYS["gw1"]
    clients = [udp_socket(world.network["user"], timeout_s=1) for _ in range(24)]
    by_agent = {client: answer_to(client, address) for client in clients}
    assert set(by_agent.values()) == set(AGENTS)
    kept = [client for client in clients if by_agent[client] == "agent"]
    product.daemons["control"].send(signal.SIGSTOP)
    try:
        both_udp[1].close()
        wait_until("agent2 gets no more datagrams",
                   lambda: all(answer_to(client, address) == "agent" for client in clients), timeout_s=60)
        assert all(answer_to(client, address, tries=5) == "agent" for client in kept)
    finally:
        product.daemons["control"].send(signal.SIGCONT)
    product.wait_connected(*topology.GATEWAYS, *world.agents)
    wait_until("the gateways tell of it", lambda: all(
        (node.get("report") or {}).get("refusing") == [{"service": "both-udp", "agent": "agent2"}]
        for node in product.kkctl("status")["gateways"]))
    told = product.run_kkctl("status").stdout
    assert "gw1: agent agent2 of service both-udp: refuses connections or datagrams" in told
    both_udp[1] = Echo(world.network["agent2"], "127.0.0.1", 7510, "agent2")
    wait_until("agent2 is used again, by those who had it before",
               lambda: {client: answer_to(client, address) for client in clients} == by_agent, timeout_s=60)
    assert "both-udp" not in product.run_kkctl("status").stdout


def answer_to(client, address, tries=1):
    """Whose answer a datagram gets; None: nobody's, in a second. A port that is closed may say so instead."""
    for _ in range(tries):
        try:
            client.sendto(b"?", (address, 7510))
            return client.recv(100)[:8].decode().strip()
        except OSError:
            continue
    return None


def both_streams(world, address):
    """Connections to each of the Agents."""
    streams = []
    while {stream.greeting.decode().strip() for stream in streams} != set(AGENTS) or len(streams) < 8:
        streams.append(Stream(world.network["user"], address, 7500))
        assert len(streams) < 60
    return streams


def greetings(world, address, times=8):
    """Who answers; None where a connection comes to nothing."""
    names = []
    for _ in range(times):
        try:
            names.append(greeting(world, address, 0))
        except OSError:
            names.append(None)
    return names
