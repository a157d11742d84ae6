# SPDX-License-Identifier: MIT
"""kkrelay's UDP sessions."""

import contextlib
import socket
import threading
import time

from relay_world import Relay, make_relay, read_proxy2, udp_client, unused_port, wait_for  # noqa: F401


@contextlib.contextmanager
def udp_target(handler):
    """Runs @handler(socket, data, peer) for every datagram."""
    def serve():
        while True:
            data, peer = server.recvfrom(65536)
            if data == b"end of test" and peer[1] == closer.getsockname()[1]:
                return
            handler(server, data, peer)

    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    server.bind(("127.0.0.1", 0))
    closer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closer.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield "127.0.0.1:%d" % server.getsockname()[1]
    finally:
        closer.sendto(b"end of test", server.getsockname())
        thread.join(5)
        server.close()
        closer.close()


def echo_udp(server, data, peer):
    server.sendto(data, peer)


def test_proxy_protocol_udp(relay):
    seen = []
    with udp_target(lambda server, data, peer: seen.append(data)) as target:
        _, address = relay.listen(target, "udp", proxy_protocol=True)
        with udp_client(address) as client:
            client.send(b"one")
            client.send(b"two")
            wait_for(lambda: len(seen) == 2)
            name = client.getsockname()
    assert read_proxy2(seen[0]) == (0x12, name, address, b"one")
    assert read_proxy2(seen[1]) == (0x12, name, address, b"two")


def test_udp_sessions(relay):
    peers = set()

    def answer(server, data, peer):
        peers.add(peer)
        server.sendto(data, peer)

    with udp_target(answer) as target:
        _, address = relay.listen(target, "udp")
        clients = [udp_client(address) for _ in range(20)]
        for turn in range(3):
            for i, client in enumerate(clients):
                client.send(b"%d from %d" % (turn, i))
            for i, client in enumerate(clients):
                assert client.recv(100) == b"%d from %d" % (turn, i)
        assert len(peers) == 20, "each client has one session, and keeps it"
        for size in (0, 1, 1472, 9000, 65507):
            clients[0].send(bytes(size))
            assert clients[0].recv(65536) == bytes(size)
        rows = {s["client"]: s for s in relay.sessions()}
        mine = rows["127.0.0.1:%d" % clients[0].getsockname()[1]]
        assert mine["protocol"] == "udp" and mine["state"] == "open"
        assert mine["rx_bytes"] == mine["tx_bytes"] > 65507
        for client in clients:
            client.close()


def test_udp_target_down_and_up_again(relay):
    port = unused_port(socket.SOCK_DGRAM)
    _, address = relay.listen("127.0.0.1:%d" % port, "udp")
    with udp_client(address) as client:
        for _ in range(5):
            client.send(b"nobody")
        wait_for(lambda: [s.get("error") for s in relay.sessions()] == ["target: Connection refused"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", port))
            server.settimeout(5)
            client.send(b"somebody")
            data, peer = server.recvfrom(100)
            assert data == b"somebody"
            server.sendto(b"hello", peer)
            assert client.recv(100) == b"hello"
        wait_for(lambda: [s["state"] for s in relay.sessions()] == ["open"])


def test_udp_name(relay):
    """localhost is ::1 and 127.0.0.1; the service is on the second only, which the first datagrams find out."""
    with udp_target(echo_udp) as target:
        _, address = relay.listen(target.replace("127.0.0.1", "localhost"), "udp")
        with udp_client(address) as client:
            def answered():
                client.send(b"x")
                client.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    return client.recv(10) == b"x"
            wait_for(answered)


def test_udp_waits_for_a_name(relay):
    """What comes while the name is looked up is kept: here it is there before the relay knows the name."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server, \
         socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        server.bind(("::", 0))  # both addresses of localhost
        server.settimeout(5)
        listener.bind(("127.0.0.1", 0))
        with udp_client(listener.getsockname()) as client:
            for i in range(5):
                client.send(b"%d" % i)
            assert relay.ask(fd=listener.fileno(), op="listen", service=1, name="s",
                             protocol="udp", port=1, target="localhost:%d" % server.getsockname()[1])["ok"]
            for i in range(5):
                data, peer = server.recvfrom(100)
                assert data == b"%d" % i
            server.sendto(b"answer", peer)
            assert client.recv(100) == b"answer"


def test_udp_sessions_end_by_idling(tmp_path):
    relay = Relay(tmp_path, "--udp-idle", "3")
    with udp_target(echo_udp) as target:
        _, address = relay.listen(target, "udp")
        with udp_client(address) as busy, udp_client(address) as idle:
            idle.send(b"x")
            for _ in range(50):
                busy.send(b"x")
                assert busy.recv(10) == b"x"
                time.sleep(0.1)
            states = {s["client"]: s["state"] for s in relay.sessions()}
            assert states["127.0.0.1:%d" % busy.getsockname()[1]] == "open"
            assert states["127.0.0.1:%d" % idle.getsockname()[1]] == "closed"
            idle.recv(10)
            idle.send(b"again")
            assert idle.recv(10) == b"again"
    relay.close()


def test_udp_session_that_idled_longest_makes_room(tmp_path):
    relay = Relay(tmp_path, files=256)
    with udp_target(echo_udp) as target, contextlib.ExitStack() as stack:
        _, address = relay.listen(target, "udp")
        clients = [stack.enter_context(udp_client(address)) for _ in range(60)]
        for client in clients:
            client.send(b"x")
            assert client.recv(10) == b"x"
        rows = {s["client"]: s["state"] for s in relay.sessions()}
        states = [rows["127.0.0.1:%d" % client.getsockname()[1]] for client in clients]
        room = states.count("open")
        assert 0 < room < 60
        assert states == ["closed"] * (60 - room) + ["open"] * room
        clients[0].send(b"back")
        assert clients[0].recv(10) == b"back"
    relay.close()
