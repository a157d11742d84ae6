# SPDX-License-Identifier: MIT
"""Services are added, changed and removed while others run: K9, and section 6 of the design."""

import json
import select
import signal
import socket

import pytest

from world import netns, topology
from world.processes import PATIENCE, wait_until
from world.traffic import QUIET_S, DatagramStream, Echo, Stream, connect, receive_exactly


def greeting(world, gateway, port):
    """Who answers on a published port."""
    with connect(world.network["user"], topology.GATEWAYS[gateway], port) as client:
        return receive_exactly(client, 8).decode().strip()


def refused(world, gateway, port):
    """
    Whether nothing is published on a port (any more). The gateway drops what comes to closed ports: silence counts once
    others who asked later, and through the same tunnel (echo), were answered.
    """
    user, address = world.network["user"], topology.GATEWAYS[gateway]
    with netns.entered(user):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with client:
        client.connect_ex((address, port))
        for _ in range(5):
            with connect(user, address, 7000) as other:
                receive_exactly(other, 8)
        answered = select.select([], [client], [], 0)[1]
        return not answered or client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


@pytest.fixture(name="other")
def make_other(world):
    """A second target on the Agent's machine."""
    server = Echo(world.network["agent"], "127.0.0.1", 7001, "other")
    yield server
    server.close()


def test_changes_disturb_nobody(world, product, echo, other):
    """Every kind of change, many times over, while streams run through both gateways: no pause, no loss."""
    user = world.network["user"]
    streams = [Stream(user, address, 7000) for address in topology.GATEWAYS.values()]
    datagrams = [DatagramStream(user, address, 7000) for address in topology.GATEWAYS.values()]
    for number in range(20 if PATIENCE == 1 else 4):
        kind = ("--tcp", "--udp")[number % 2]
        product.kkctl("service", "add", "guest", "--agent", "agent", kind, "7100", "--target", "127.0.0.1:7001")
        product.kkctl("service", "set", "guest", "--target", "127.0.0.1:7000")
        product.kkctl("service", "set", "guest", "--port", "7101")
        product.kkctl("service", "rm", "guest")
    for stream in streams:
        assert stream.stop() < QUIET_S
    assert [stream.stop() for stream in datagrams] == [0, 0]


def test_service_of_its_life(world, product, echo, other, gateway):
    """Added: it answers at once. Changed: so does the change. Removed: nothing answers."""
    assert refused(world, gateway, 7200)
    added = product.publish("guest", "--tcp", "7200", "--target", "127.0.0.1:7001")
    assert added["applied"] == {"gateways": 2, "acknowledged": 2, "agents": 1, "agents_acknowledged": 1,
                                "waiting": [], "disconnected": []}
    assert greeting(world, gateway, 7200) == "other"
    product.kkctl("service", "set", "guest", "--target", "127.0.0.1:7000")
    wait_until("the target is changed", lambda: greeting(world, gateway, 7200) == "agent")
    product.kkctl("service", "set", "guest", "--port", "7201")
    assert refused(world, gateway, 7200)
    wait_until("the Agent serves it", lambda: not refused(world, gateway, 7201))
    assert greeting(world, gateway, 7201) == "agent"
    removed = product.kkctl("service", "rm", "guest")
    assert removed["applied"]["acknowledged"] == 2
    assert refused(world, gateway, 7201)


def test_change_of_target_leaves_open_connections(world, product, echo, other):
    product.publish("guest", "--tcp", "7210", "--target", "127.0.0.1:7001")
    try:
        stream = Stream(world.network["user"], topology.GATEWAYS["gw1"], 7210)
        assert stream.greeting.decode().strip() == "other"
        product.kkctl("service", "set", "guest", "--target", "127.0.0.1:7000")
        wait_until("the target is changed", lambda: greeting(world, "gw1", 7210) == "agent")
        assert stream.stop() < QUIET_S
    finally:
        product.kkctl("service", "rm", "guest")


def test_add_says_who_has_acknowledged(world, product):
    done = product.run_kkctl("service", "add", "guest", "--agent", "agent", "--tcp", "7220",
                             "--target", "127.0.0.1:7000")
    product.kkctl("service", "rm", "guest")
    assert done.returncode == 0, done.stderr
    assert "2/2 gateways" in done.stdout or "2 of 2 gateways" in done.stdout


def test_add_waits_for_a_slow_gateway_and_names_it(world, product, echo):
    """A gateway that hangs: kkctl says so by its exit status, and the gateway catches up later."""
    product.daemons["gw2"].send(signal.SIGSTOP)
    try:
        done = product.run_kkctl("--wait", "1", "service", "add", "guest", "--agent", "agent", "--tcp", "7230",
                                 "--target", "127.0.0.1:7000")
        assert done.returncode == 4
        assert "gw2" in done.stdout + done.stderr and "gw1" not in done.stderr
        wait_until("gw1 serves it", lambda: not refused(world, "gw1", 7230))
        assert refused(world, "gw2", 7230)
    finally:
        product.daemons["gw2"].send(signal.SIGCONT)
    wait_until("gw2 serves it", lambda: not refused(world, "gw2", 7230))
    assert product.kkctl("service", "rm", "guest")["applied"]["acknowledged"] == 2


def test_two_agents_with_the_same_target_port(world, product, gateway):
    """Both targets are 127.0.0.1:7300, each on its own Agent's machine, published on two ports."""
    servers = [Echo(world.network[agent], "127.0.0.1", 7300, agent) for agent in world.agents]
    ports = dict(zip(world.agents, (7300, 7301)))
    try:
        for agent, port in ports.items():
            product.publish(f"same-{agent}", "--tcp", str(port), "--target", "127.0.0.1:7300", agent=agent)
        streams = {agent: Stream(world.network["user"], topology.GATEWAYS[gateway], port)
                   for agent, port in ports.items()}
        for agent, stream in streams.items():
            assert stream.greeting.decode().strip() == agent
        product.kkctl("service", "rm", "same-agent")
        assert greeting(world, gateway, ports["agent2"]) == "agent2"
        assert streams["agent2"].stop() < QUIET_S
    finally:
        for service in product.items("service"):
            if service["name"].startswith("same-"):
                product.kkctl("service", "rm", service["name"])
        for server in servers:
            server.close()


def test_services_change_places(world, product, echo, other, gateway, tmp_path):
    """In one apply two services take each other's port, at the gateways and at the Agent."""
    file = tmp_path / "places.json"

    def apply(one, two):
        file.write_text(json.dumps({"services": [
            {"name": "one", "agent": "agent", "protocol": "tcp", "port": one, "target": "127.0.0.1:7000"},
            {"name": "two", "agent": "agent", "protocol": "tcp", "port": two, "target": "127.0.0.1:7001"}]}))
        return product.kkctl("apply", "-f", file)

    try:
        apply(7310, 7311)
        wait_until("both are served", lambda: not refused(world, gateway, 7310) and not refused(world, gateway, 7311))
        assert (greeting(world, gateway, 7310), greeting(world, gateway, 7311)) == ("agent", "other")
        assert len(apply(7311, 7310)["changes"]) == 2
        wait_until("they have changed places", lambda: (greeting(world, gateway, 7310), greeting(world, gateway, 7311))
                   == ("other", "agent"))
    finally:
        for name in ("one", "two"):
            product.kkctl("service", "rm", name)
