# SPDX-License-Identifier: MIT
"""kkrelay's TCP sessions."""

import contextlib
import hashlib
import os
import resource
import select
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from relay_world import echo, make_relay, read_all, read_proxy2, tcp_target, unused_port, wait_for  # noqa: F401


def assert_reset(address):
    """The reset may be as quick as the connection."""
    with pytest.raises(ConnectionResetError), socket.create_connection(address, 30) as client:
        client.recv(1)


def test_echo_200_mb(relay):
    total, block = 200 << 20, os.urandom(1 << 20)
    sent, received = hashlib.sha256(), hashlib.sha256()

    def send():
        for _ in range(total // len(block)):
            client.sendall(block)
            sent.update(block)
        client.shutdown(socket.SHUT_WR)

    with tcp_target(echo) as target:
        _, address = relay.listen(target)
        with socket.create_connection(address) as client:
            sender = threading.Thread(target=send)
            sender.start()
            count = 0
            while True:
                data = client.recv(1 << 20)
                if not data:
                    break
                count += len(data)
                received.update(data)
            sender.join()
        assert count == total
        assert received.digest() == sent.digest()
        session = wait_for(lambda: [s for s in relay.sessions() if s["state"] == "closed"])[0]
    assert session["rx_bytes"] == total and session["tx_bytes"] == total
    assert session["client"] == "127.0.0.1:%s" % session["client"].split(":")[1]
    assert "received %d sent %d bytes" % (total, total) in relay.log_text()


def test_throughput(relay, capfd):
    total, block = 1 << 30, bytes(1 << 18)

    def pour(connection):
        connection.settimeout(10)
        for _ in range(total // len(block)):
            connection.sendall(block)

    with tcp_target(pour) as target:
        _, address = relay.listen(target)
        with socket.create_connection(address) as client:
            buffer = bytearray(1 << 20)
            start, cpu, count = time.monotonic(), relay.cpu_seconds(), 0
            while count < total:
                n = client.recv_into(buffer)
                assert n
                count += n
            seconds = time.monotonic() - start
            cpu = relay.cpu_seconds() - cpu
    with capfd.disabled():
        print("\nkkrelay TCP on loopback: %.1f Gb/s, %.2f CPU s/GB of the relay"
              % (total * 8e-9 / seconds, cpu / (total * 1e-9)), file=sys.stderr)


def test_half_close_both_ways(relay):
    def answer_after_end(connection):
        assert read_all(connection) == b"question"
        connection.sendall(b"answer")

    with tcp_target(answer_after_end) as target:
        _, address = relay.listen(target)
        with socket.create_connection(address, 5) as client:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"answer"

    def end_first(connection):
        connection.sendall(b"banner")
        connection.shutdown(socket.SHUT_WR)
        seen.append(read_all(connection))

    seen = []
    with tcp_target(end_first) as target:
        _, address = relay.listen(target)
        with socket.create_connection(address, 5) as client:
            assert read_all(client) == b"banner"
            client.sendall(b"still heard")
            client.shutdown(socket.SHUT_WR)
            wait_for(lambda: seen)
    assert seen == [b"still heard"]


def test_early_refusal_reaches_the_client(relay):
    """The target answers and closes while the client still sends: the answer must not be lost."""
    def refuse(connection):
        connection.recv(10)
        connection.sendall(b"413")

    with tcp_target(refuse) as target:
        _, address = relay.listen(target)
        with socket.create_connection(address, 5) as client:
            client.sendall(b"x" * 20)
            assert client.recv(3) == b"413"


def test_reset_is_passed_on(relay):
    def reset(connection):
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with tcp_target(reset) as target:
        _, address = relay.listen(target)
        with socket.create_connection(address, 5) as client:
            client.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        session = wait_for(lambda: [s for s in relay.sessions() if s["state"] == "failed"])[0]
    assert session["error"] == "target: Connection reset by peer"


def test_client_that_resets(relay):
    seen = []

    def note_end(connection):
        try:
            seen.append(connection.recv(1))
            seen.append(connection.recv(1))
        except ConnectionResetError:
            seen.append("reset")

    with tcp_target(note_end) as target:
        _, address = relay.listen(target)
        with socket.create_connection(address, 5) as client:
            client.sendall(b"x")
            wait_for(lambda: seen)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert wait_for(lambda: seen[1:]) == ["reset"]
        session = wait_for(lambda: [s for s in relay.sessions() if s["state"] == "closed"])[0]
    assert session["error"] == "client: Connection reset by peer"
    assert "error" not in relay.ask(op="list")["listeners"][0], "that is no fault of the target"


def tcp_info(local, remote):
    """What ss tells of the connection between two ports, in words."""
    return subprocess.run(["ss", "-tinHO", "sport", "= :%d" % local, "and", "dport", "= :%d" % remote],
                          capture_output=True, text=True, check=True).stdout.split()


def test_loopback_is_not_paced(relay):
    """The system's choice, which may pace, is for the way to the client only."""
    peers = []

    def keep(connection):
        peers.append(connection.getpeername()[1])
        echo(connection)

    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as f:
        default = f.read().strip()
    with tcp_target(keep) as target:
        _, address = relay.listen(target)
        with socket.create_connection(address) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            assert "reno" in tcp_info(peers[0], int(target.rpartition(":")[2]))
            assert default in tcp_info(address[1], client.getsockname()[1])


def test_target_down(relay):
    target = "127.0.0.1:%d" % unused_port()
    service, address = relay.listen(target)
    for _ in range(3):
        assert_reset(address)
    assert wait_for(relay.sessions)[0]["error"] == "target: Connection refused"
    listener = relay.ask(op="list")["listeners"][0]
    assert listener["service"] == service
    assert listener["error"] == "target %s: Connection refused" % target
    with tcp_target(echo) as up:
        assert relay.ask(op="set", service=service, target=up, proxy_protocol=False)["ok"]
        with socket.create_connection(address, 5) as client:
            client.sendall(b"well again")
            assert client.recv(100) == b"well again"
    assert "error" not in relay.ask(op="list")["listeners"][0]


def test_name_with_a_dead_address(relay):
    """localhost is ::1 and 127.0.0.1; the service is on the second only."""
    with tcp_target(echo) as target:
        _, address = relay.listen(target.replace("127.0.0.1", "localhost"))
        for _ in range(2):
            with socket.create_connection(address, 5) as client:
                client.sendall(b"x")
                assert client.recv(1) == b"x"


def test_name_that_does_not_resolve(relay):
    _, address = relay.listen("no-such-host.invalid:80")
    assert_reset(address)
    assert wait_for(lambda: relay.ask(op="list")["listeners"][0].get("error"))


def test_slow_reader_holds_the_sender_back(relay):
    moved = [0]

    def pour(connection):
        connection.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while True:
                moved[0] += connection.send(bytes(1 << 16))

    with tcp_target(pour) as target:
        _, address = relay.listen(target)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.connect(address)
            wait_for(lambda: moved[0])
            before = -1
            while moved[0] != before:
                before = moved[0]
                time.sleep(0.7)
            assert moved[0] < 64 << 20
            cpu = relay.cpu_seconds()
            time.sleep(0.5)
            assert relay.cpu_seconds() - cpu < 0.1, "the relay spins while the reader sleeps"
            client.settimeout(5)
            count = 0
            while count < moved[0]:
                data = client.recv(1 << 20)
                assert data
                count += len(data)
        assert count == moved[0]


def test_thousand_connections(relay):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    stop = threading.Event()
    poll = select.epoll()
    server = socket.create_server(("127.0.0.1", 0), backlog=1024)

    def serve():  # a thread for each would measure the threads
        connections = {server.fileno(): server}
        poll.register(server, select.EPOLLIN)
        while not stop.is_set():
            for fd, _ in poll.poll(0.1):
                if fd == server.fileno():
                    connection, _ = server.accept()
                    connections[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLIN)
                else:
                    data = connections[fd].recv(1000)
                    if data:
                        connections[fd].send(data)
                    else:
                        connections.pop(fd).close()
        for connection in connections.values():
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    clients = []
    try:
        idle = relay.fds()
        _, address = relay.listen("127.0.0.1:%d" % server.getsockname()[1])
        for _ in range(1000):
            clients.append(socket.create_connection(address, 10))
        for i, client in enumerate(clients):
            client.sendall(b"%d" % i)
        for i, client in enumerate(clients):
            assert client.recv(10) == b"%d" % i
        assert relay.ask(op="sessions")["open"] == 1000
        assert relay.fds() < idle + 2000 + 200, "idle connections hold pipes"
        for client in clients:
            client.close()
        wait_for(lambda: relay.ask(op="sessions")["open"] == 0)
        assert relay.fds() < idle + 200
    finally:
        for client in clients:
            client.close()
        stop.set()
        thread.join()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_proxy_protocol_tcp(relay):
    seen = []
    with tcp_target(lambda connection: seen.append(read_all(connection))) as target:
        _, address = relay.listen(target, proxy_protocol=True)
        with socket.create_connection(address, 5) as client:
            name = client.getsockname()
            client.sendall(b"payload")
            client.shutdown(socket.SHUT_WR)
            wait_for(lambda: seen)
    assert read_proxy2(seen[0]) == (0x11, name, address, b"payload")


def test_target_that_does_not_answer(relay):
    """A full backlog drops what comes: the client hears of it after ten seconds, and nobody waits for it."""
    with socket.socket() as silent, socket.socket() as filler, tcp_target(echo) as well:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        filler.connect(silent.getsockname())
        _, address = relay.listen("127.0.0.1:%d" % silent.getsockname()[1])
        _, other = relay.listen(well)
        start = time.monotonic()
        with socket.create_connection(address, 5) as client, socket.create_connection(address, 5) as gone:
            with socket.create_connection(other, 5) as quick:
                quick.sendall(b"x")
                assert quick.recv(1) == b"x"
            assert time.monotonic() - start < 8
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.close()
            wait_for(lambda: [s for s in relay.sessions() if s["state"] == "closed" and
                              s.get("error") == "client: gone before the target answered"])
            client.settimeout(30)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert 9 < time.monotonic() - start < 20
        assert "target: Connection timed out" in [s.get("error") for s in relay.sessions()]
