# SPDX-License-Identifier: MIT
"""Whom services let in: lists, limits, bans, and what goes on while a service is drained."""

import time

import pytest

from world import topology
from world.processes import wait_until
from world.product import Failed
from world.traffic import DatagramStream, Stream, connect, receive_exactly, udp_socket

GATEWAY = topology.GATEWAYS["gw1"]


def is_open(world, address=GATEWAY, port=7600):
    try:
        with connect(world.network["user"], address, port, timeout_s=1.2) as client:
            return len(receive_exactly(client, 8)) == 8
    except OSError:
        return False


def opens(world, *where, **port):
    """As is_open(), where it has to be: a busy machine may take longer."""
    return wait_until("it answers", lambda: is_open(world, *where, **port))


@pytest.fixture(name="guarded")
def publish_guarded(world, echo):
    name = "guarded"
    for protocol in ("tcp", "udp"):
        world.product.publish(f"{name}-{protocol}", f"--{protocol}", "7600", "--target", "127.0.0.1:7000")
    yield f"{name}-tcp"
    for protocol in ("tcp", "udp"):
        world.product.kkctl("service", "rm", f"{name}-{protocol}")


def test_service_lists(world, product, guarded):
    assert opens(world) and opens(world, topology.GATEWAYS6["gw2"])
    product.kkctl("service", "set", guarded, "--deny", "203.0.113.0/24")
    assert not is_open(world)
    assert opens(world, topology.GATEWAYS6["gw2"])
    product.kkctl("service", "set", guarded, "--allow", f"{topology.USER}/32", "--deny", "203.0.113.0/24")
    assert opens(world)
    assert not is_open(world, topology.GATEWAYS6["gw2"])
    shown = product.kkctl("service", "show", guarded)
    assert (shown["allow"], shown["deny"]) == ([f"{topology.USER}/32"], ["203.0.113.0/24"])
    product.kkctl("service", "set", guarded, "--allow", "none", "--deny", "none")
    assert opens(world) and opens(world, topology.GATEWAYS6["gw2"])


def test_access_rules(world, product, guarded):
    """A closed service lets in the hosts and groups of its rules, by name, and nobody else on any gateway."""
    kkctl = product.kkctl
    v6 = topology.GATEWAYS6["gw2"]
    kkctl("host", "add", "user", "--prefix", f"{topology.USER}/32")
    kkctl("host", "add", "far", "--prefix", "198.51.100.128/25")
    kkctl("group", "add", "staff", "--host", "far")
    kkctl("service", "set", guarded, "--access", "rules")
    try:
        assert not is_open(world) and not is_open(world, v6)
        kkctl("rule", "add", "staff-in", "--from", "staff", "--to", guarded)
        assert not is_open(world) and not is_open(world, topology.GATEWAYS["gw2"])
        kkctl("group", "set", "staff", "--host", "far", "--host", "user")
        assert opens(world) and opens(world, topology.GATEWAYS["gw2"])
        assert not is_open(world, v6)
        # Other services are as they were, and a running connection ends with what let it in.
        assert opens(world, port=7000)
        with connect(world.network["user"], GATEWAY, 7600) as client:
            receive_exactly(client, 8)
            kkctl("host", "set", "user", "--prefix", "2001:db8::/32")
            client.settimeout(1)
            client.sendall(b"x")
            with pytest.raises(TimeoutError):
                client.recv(1)
        assert not is_open(world) and opens(world, v6)
        with pytest.raises(Failed, match="host user is in group staff"):
            kkctl("host", "rm", "user")
        kkctl("rule", "rm", "staff-in")
        assert not is_open(world) and not is_open(world, v6)
    finally:
        for noun, name in (("rule", "staff-in"), ("group", "staff"), ("host", "user"), ("host", "far")):
            if name in {item["name"] for item in product.items(noun)}:
                kkctl(noun, "rm", name)
        kkctl("service", "set", guarded, "--access", "open")
    assert opens(world) and opens(world, v6)


def test_deny_list_of_all(world, product, guarded):
    product.kkctl("deny", "add", "203.0.113.0/24")
    try:
        assert [item["prefix"] for item in product.items("deny")] == ["203.0.113.0/24"]
        assert not is_open(world) and not is_open(world, topology.GATEWAYS["gw2"])
        assert opens(world, topology.GATEWAYS6["gw1"])
        with pytest.raises(Failed, match="is denied already"):
            product.kkctl("deny", "add", "203.0.113.0/24")
    finally:
        product.kkctl("deny", "rm", "203.0.113.0/24")
    assert opens(world)


def test_ban_in_the_middle_of_a_connection(world, product, guarded):
    with connect(world.network["user"], GATEWAY, 7600) as client:
        receive_exactly(client, 8)
        product.kkctl("ban", "add", topology.USER, "--for", "3s")
        client.settimeout(1)
        client.sendall(b"x")
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert not is_open(world)
        # It ends by itself, and the connection goes on.
        client.settimeout(15)
        assert client.recv(1) == b"x"
    wait_until("Control forgets the ban", lambda: product.items("ban") == [])
    product.kkctl("ban", "add", topology.USER, "--service", guarded)
    assert ", 1 ban\n" in product.run_kkctl("status").stdout
    assert not is_open(world) and opens(world, port=7000)
    product.kkctl("ban", "rm", topology.USER, "--service", guarded)
    assert opens(world)


def test_limit_of_packets(world, product, guarded):
    """100 a second of one source: of 100 a second nothing is lost, of a burst of many most is."""
    product.kkctl("service", "set", "guarded-udp", "--limit-packets", "100/s")
    with udp_socket(world.network["user"], timeout_s=1) as client:
        client.connect((GATEWAY, 7600))
        start = time.monotonic()
        for _ in range(2000):
            client.send(b"x" * 64)
        took = time.monotonic() - start
        back = 0
        try:
            while client.recv(2048):
                back += 1
        except TimeoutError:
            pass
    assert 50 <= back <= 100 + 100 * (took + 1) + 20
    product.kkctl("service", "set", "guarded-udp", "--limit-packets", "none")
    stream = DatagramStream(world.network["user"], GATEWAY, 7600)
    time.sleep(1)
    assert stream.stop() == 0


def test_limit_of_connections(world, product, guarded):
    product.kkctl("service", "set", guarded, "--limit-connections", "5/s")
    stream = Stream(world.network["user"], GATEWAY, 7600)
    opened = sum(is_open(world) for _ in range(4))
    assert opened >= 3
    start = time.monotonic()
    for _ in range(30):
        try:
            connect(world.network["user"], GATEWAY, 7600, timeout_s=0.05).close()
        except OSError:
            continue
        opened += 1
    assert opened <= 5 + 5 * (time.monotonic() - start + 1) + 3
    # What is established is not limited.
    assert stream.stop() < 4


def test_drain(world, product, echo):
    """Who is connected finishes, nobody else gets in, and then the service is gone."""
    product.publish("drained", "--tcp", "7601", "--target", "127.0.0.1:7000")
    stream = Stream(world.network["user"], GATEWAY, 7601)
    product.kkctl("service", "rm", "drained", "--drain", "4s")
    assert product.kkctl("service", "show", "drained")["draining_until"]
    assert not is_open(world, port=7601)
    time.sleep(0.5)
    assert stream.stop() < 4
    wait_until("the service is removed", lambda: "drained" not in {item["name"] for item in product.items("service")})


def test_games_of_two_clients(world, product, echo):
    """Many small datagrams each way of two clients at once through each gateway: none is lost or mixed up."""
    streams = [DatagramStream(world.network["user"], address, 7000)
               for address in (*topology.GATEWAYS.values(),) * 2]
    time.sleep(2)
    lost = [stream.stop() for stream in streams]
    assert lost == [0, 0, 0, 0]
