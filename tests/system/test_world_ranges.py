# SPDX-License-Identifier: MIT
"""A range of ports: one service, one row, and every port of it leads to its own port of the target."""

import socket
import threading

import pytest

from world import netns, topology
from world.product import Failed
from world.traffic import connect, receive_exactly, udp_socket

FIRST, LAST = 2000, 2100


class Ports:
    """A UDP service on each port of the range: it answers with the port that it was asked on."""

    def __init__(self, namespace, address):
        self.sockets = {}
        with netns.entered(namespace):
            for port in range(FIRST, LAST + 1):
                self.sockets[port] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self.sockets[port].bind((address, port))
        for port, server in self.sockets.items():
            threading.Thread(target=self._serve, args=(port, server), daemon=True).start()

    @staticmethod
    def _serve(port, server):
        while True:
            try:
                datagram, sender = server.recvfrom(2048)
                if sender is None:
                    return
                server.sendto(b"%d %s" % (port, datagram), sender)
            except OSError:
                return

    def close(self):
        for server in self.sockets.values():
            server.close()


@pytest.fixture(name="game", scope="module")
def publish_game(world):
    ports = Ports(world.network["lan"], topology.LAN)
    added = world.product.publish("game", "--udp", f"{FIRST}-{LAST}", "--target", f"{topology.LAN}:{FIRST}-{LAST}")
    yield added
    world.product.kkctl("service", "rm", "game")
    ports.close()


def ask(client, address, port, word):
    for _ in range(5):
        client.sendto(word, (address, port))
        try:
            return client.recvfrom(2048)
        except TimeoutError:
            continue
    raise TimeoutError(f"{address}:{port} does not answer")


def test_every_port_leads_to_its_own(world, product, game, gateway):
    assert (game["port"], game["last_port"]) == (FIRST, LAST)
    assert [item["name"] for item in product.items("service")].count("game") == 1
    address = topology.GATEWAYS[gateway]
    with udp_socket(world.network["user"]) as client:
        for port in range(FIRST, LAST + 1):
            answer, sender = ask(client, address, port, gateway.encode())
            assert (answer, sender) == (b"%d %s" % (port, gateway.encode()), (address, port))


def test_ports_beside_the_range_are_closed(world, product, game):
    with udp_socket(world.network["user"], timeout_s=0.5) as client:
        for port in (FIRST - 1, LAST + 1):
            client.sendto(b"?", (topology.GATEWAYS["gw1"], port))
            with pytest.raises((TimeoutError, ConnectionRefusedError)):
                client.recvfrom(2048)


def test_overlap_is_refused_with_both_names(world, product, game):
    with pytest.raises(Failed) as refused:
        product.publish("other", "--udp", "2050-2150", "--target", "127.0.0.1:2050-2150")
    assert refused.value.status == 1
    assert "2050-2150/udp of service other overlaps 2000-2100 of service game" in refused.value.message
    with pytest.raises(Failed, match="target: .* has 3 ports, the service 11"):
        product.publish("other", "--udp", "3000-3010", "--target", "127.0.0.1:1-3")
    with pytest.raises(Failed, match="is given twice"):
        product.publish("other", "--tcp", "1", "--tcp", "2", "--target", "22")


def test_range_to_one_port(world, product, echo):
    """TCP, and the target is one port for all of them."""
    product.publish("many", "--tcp", "7100-7199", "--target", "127.0.0.1:7000")
    try:
        for address in topology.GATEWAYS.values():
            for port in (7100, 7150, 7199):
                with connect(world.network["user"], address, port) as client:
                    assert receive_exactly(client, 8) == echo.greeting
    finally:
        product.kkctl("service", "rm", "many")
