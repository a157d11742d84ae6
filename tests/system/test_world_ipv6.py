# SPDX-License-Identifier: MIT
"""Services over IPv6: the same ones, on the gateways' IPv6 addresses, behind an Agent that has none of its own."""

import socket

import pytest

from world import netns, topology
from world.product import Failed
from world.traffic import Stream, connect, receive_exactly, udp_socket


@pytest.fixture(params=list(topology.GATEWAYS6.values()), ids=list(topology.GATEWAYS6), name="address")
def give_address(request):
    return request.param


def ask(client, address, port, datagram):
    for _ in range(5):
        client.sendto(datagram, (address, port))
        try:
            return client.recvfrom(65536)
        except TimeoutError:
            continue
    raise TimeoutError(f"[{address}]:{port} does not answer")


def test_tcp(world, product, echo, address):
    stream = Stream(world.network["user"], address, 7000)
    client = f"[{topology.USER6}]:{stream.client.getsockname()[1]}"
    assert stream.greeting == echo.greeting
    sessions = [session for session in product.sessions() if session["client"] == client]
    assert [(session["service"], session["state"]) for session in sessions] == [("echo", "open")]
    assert stream.stop() < 4


def test_bulk(world, product, echo, address):
    """More than fits into any buffer on the way, so that segments are merged and cut."""
    data = bytes(range(256)) * 4096
    with connect(world.network["user"], address, 7000) as client:
        assert receive_exactly(client, 8) == echo.greeting
        for _ in range(8):
            client.sendall(data[:131072])
            assert receive_exactly(client, 131072) == data[:131072]


def test_udp_and_fragments(world, product, echo, address):
    with udp_socket(world.network["user"], timeout_s=3, family=socket.AF_INET6) as client:
        for length in (1, 1200, 60000):
            datagram = bytes(i % 251 for i in range(length))
            answer, sender = ask(client, address, 7000, datagram)
            assert answer == echo.greeting + datagram
            assert sender[:2] == (address, 7000)


def test_proxy_protocol_tells_the_client(world, product, address):
    """nginx logs and answers with the client that the PROXY header names."""
    page = netns.sh(*netns.within(world.network["user"], "curl", "-sS", "-f", "-i", "--noproxy", "*", "--max-time", "10",
                                  f"http://[{address}]:8080/"))
    client = next(line.split()[1] for line in page.splitlines() if line.lower().startswith("x-client:"))
    assert client == topology.USER6


def test_path_mtu_of_1280(world, product, echo):
    """A link of 1280 bytes on the way, which a router tells of: connections of both families go on."""
    inet = world.network["inet"]
    netns.sh("ip", "-n", inet, "link", "set", "user", "mtu", "1280")
    try:
        for address in (topology.GATEWAYS["gw1"], topology.GATEWAYS6["gw1"]):
            with connect(world.network["user"], address, 7000) as client:
                assert receive_exactly(client, 8) == echo.greeting
                data = bytes(100_000)
                client.sendall(data)
                assert receive_exactly(client, len(data)) == data
    finally:
        netns.sh("ip", "-n", inet, "link", "set", "user", "mtu", "1500")


def test_service_on_one_address(world, product, echo):
    """Published where it says and nowhere else; the port is free on the other addresses."""
    only = topology.GATEWAYS6["gw2"]
    product.publish("only6", "--tcp", "7300", "--target", "127.0.0.1:7000", "--address", only)
    try:
        with connect(world.network["user"], only, 7300) as client:
            assert receive_exactly(client, 8) == echo.greeting
        for address in (topology.GATEWAYS["gw2"], topology.GATEWAYS6["gw1"]):
            with pytest.raises(OSError):
                connect(world.network["user"], address, 7300, timeout_s=1).close()
    finally:
        product.kkctl("service", "rm", "only6")
    with pytest.raises(Failed, match="no gateway has the address 192.0.2.1"):
        product.publish("none", "--tcp", "7300", "--target", "127.0.0.1:7000", "--address", "192.0.2.1")


def test_another_address(world, product, echo):
    """A gateway gets one more address, and a service is published on that alone."""
    extra = "2001:db8:198::77"
    addresses = [topology.GATEWAYS["gw1"], topology.GATEWAYS6["gw1"]]
    netns.add_address6(world.network["gw1"], "eth0", f"{extra}/64")
    try:
        product.kkctl("gateway", "set", "gw1", *(word for one in (*addresses, extra) for word in ("--address", one)))
        product.publish("extra", "--tcp", "7301", "--target", "127.0.0.1:7000", "--address", extra)
        with connect(world.network["user"], extra, 7301) as client:
            assert receive_exactly(client, 8) == echo.greeting
        with pytest.raises(Failed, match="service extra is published on"):
            product.kkctl("gateway", "set", "gw1", *(word for one in addresses for word in ("--address", one)))
    finally:
        product.kkctl("service", "rm", "extra")
        product.kkctl("gateway", "set", "gw1", *(word for one in addresses for word in ("--address", one)))
        netns.sh("ip", "-n", world.network["gw1"], "addr", "del", f"{extra}/64", "dev", "eth0")
