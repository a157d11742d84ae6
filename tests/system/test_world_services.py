# SPDX-License-Identifier: MIT
"""Every published service through each gateway, with the client's address, and how fast."""

import select
import socket
import struct

import pytest

from world import topology
from world.processes import PATIENCE, wait_until
from world.published import DEMO
from world.traffic import Iperf, Stream, connect, receive_exactly, udp_socket


# Bits a second: that something is wrong, not how fast it is.
LEAST = 10e6 / PATIENCE
SECONDS = 3 if PATIENCE == 1 else 1


@pytest.mark.parametrize("service", DEMO, ids=lambda service: service.name)
def test_service_through_each_gateway(world, product, service, gateway):
    assert world.attempt(service, gateway) == topology.USER


def test_throughput(world, product, say):
    iperf = Iperf(world.record, world.network["agent"], "127.0.0.1")
    product.publish("iperf", "--tcp", "5201", "--target", "127.0.0.1:5201")
    try:
        for gateway, address in topology.GATEWAYS.items():
            up = iperf.measure(world.network["user"], address, 5201, seconds=SECONDS)
            down = iperf.measure(world.network["user"], address, 5201, "--reverse", seconds=SECONDS)
            say(f"throughput of a published TCP port through {gateway}, delivered: "
                f"{up / 1e6:.0f} Mb/s to the service, {down / 1e6:.0f} Mb/s from it")
            assert up > LEAST and down > LEAST
    finally:
        product.kkctl("service", "rm", "iperf")
        iperf.stop()


def test_same_udp_client_through_both_gateways(world, product, echo):
    """One socket of the user, both gateways in turn: each answer comes from the gateway that was asked."""
    with udp_socket(world.network["user"], timeout_s=3) as client:
        for number in range(20):
            for address in topology.GATEWAYS.values():
                word = f"{number} {address}".encode()
                client.sendto(word, (address, 7000))
                assert client.recvfrom(2048) == (echo.greeting + word, (address, 7000))


def test_datagram_larger_than_every_link(world, product, echo):
    """In fragments to the gateway, larger than its tunnel takes, and in fragments back."""
    with udp_socket(world.network["user"], timeout_s=5) as client:
        for number, address in enumerate(topology.GATEWAYS.values()):
            datagram = bytes([number]) + bytes(range(1, 251)) * 240
            client.sendto(datagram, (address, 7000))
            assert client.recvfrom(65536) == (echo.greeting + datagram, (address, 7000))


def test_same_tcp_port_through_both_gateways(world, product, echo):
    """A client that takes the same port again for the other gateway: the answers go where it now asks. Not both at
    once: to the Agent, which has one interface and sees the client's own address, those are one connection."""
    for number in range(6):
        for address in topology.GATEWAYS.values():
            with connect(world.network["user"], address, 7000, source_port=40777) as client:
                assert receive_exactly(client, 8) == echo.greeting
                word = f"{address} {number}".encode()
                client.sendall(word)
                assert receive_exactly(client, len(word)) == word
                # No TIME_WAIT at the client, which would keep the port from being taken again.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # The end of the one and the beginning of the other go different ways: the end has to be there first.
            wait_until("the Agent knows of the end", lambda: not any(
                session["client"] == f"{topology.USER}:40777" and session["state"] == "open"
                for session in product.sessions()))


def test_sessions_tell_both_gateways_apart(world, product, echo):
    streams = {gateway: Stream(world.network["user"], address, 7000)
               for gateway, address in topology.GATEWAYS.items()}
    wanted = {(gateway, "tcp", f"{topology.USER}:{stream.client.getsockname()[1]}")
              for gateway, stream in streams.items()}
    wait_until("the Agent knows the gateways", lambda: wanted <= {
        (session.get("gateway"), session["protocol"], session["client"]) for session in product.sessions()
        if session["service"] == "echo" and session["state"] == "open"})
    for stream in streams.values():
        stream.stop()


def test_bulk_both_ways_is_whole(world, product, echo, gateway):
    """Segments of every size and GSO on the way, nothing changed in them."""
    block = bytes(range(256)) * 16384
    with connect(world.network["user"], topology.GATEWAYS[gateway], 7000, timeout_s=20) as client:
        assert receive_exactly(client, 8) == echo.greeting
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        back = bytearray()
        client.setblocking(False)
        _pump(client, block, back)
    assert bytes(back) == block


def _pump(client, block, back):
    sent = 0
    while len(back) < len(block):
        readable, writable, _ = select.select([client], [client] if sent < len(block) else [], [], 20)
        assert readable or writable, f"stands still at {sent} sent, {len(back)} back"
        if writable:
            sent += client.send(block[sent:sent + 65536])
        if readable:
            more = client.recv(1 << 20)
            assert more, f"closed after {len(back)} bytes"
            back += more


def test_refused_target_is_refused(world, product):
    """Nobody listens at the target: the client's connection ends, and the session says why."""
    product.publish("nobody", "--tcp", "7099", "--target", "127.0.0.1:7099")
    try:
        try:
            with connect(world.network["user"], topology.GATEWAYS["gw1"], 7099) as client:
                assert client.recv(1) == b""
        except ConnectionResetError:
            pass
        session = next(s for s in product.sessions() if s["service"] == "nobody")
        assert session["state"] == "failed" and "refused" in session["error"].lower()
    finally:
        product.kkctl("service", "rm", "nobody")
