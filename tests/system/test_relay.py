# SPDX-License-Identifier: MIT
"""kkrelay alone, on loopback, driven over its control socket as kkagentd drives it.

    client -> 127.0.0.1:listener =(kkrelay)=> 127.0.0.1:target, a thread of this process
"""
import contextlib
import hashlib
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

BUILD = os.environ.get("KK_BUILD") or os.path.join(os.path.dirname(__file__), "..", "..", "build")
RELAY = os.path.join(BUILD, "kkrelay")
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("not within %s s" % seconds)


class Relay:
    def __init__(self, directory, *options, files=None):
        argv = [RELAY, "--socket", str(directory / "relay.sock"), *options]
        if files:
            argv = ["sh", "-c", 'ulimit -n %d; exec "$@"' % files, "sh", *argv]
        self.path = str(directory / "relay.sock")
        self.log = open(str(directory / "relay.log"), "w+")
        self.services = 0
        self.process = subprocess.Popen(argv, stderr=self.log)
        self.control = wait_for(self.connect)
        self.control.settimeout(20)
        assert self.ask(op="list")["ok"]

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(5)
        try:
            s.connect(self.path)
            return s
        except OSError:
            s.close()
            return None

    def raw(self, data, fds=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("%di" % len(fds), *fds))]
        self.control.sendmsg([data], ancillary if fds else [])
        return json.loads(self.control.recv(65536))

    def ask(self, fd=None, **message):
        return self.raw(json.dumps(message).encode(), [] if fd is None else [fd])

    def sessions(self):
        return self.ask(op="sessions")["sessions"]

    def listen(self, target, protocol="tcp", proxy_protocol=False):
        """Opens a listener for it on a fresh port and returns (service id, address)."""
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET, kind) as s:
            s.bind(("127.0.0.1", 0))
            if protocol == "tcp":
                s.listen(1024)
            address = s.getsockname()
            self.services += 1
            answer = self.ask(fd=s.fileno(), op="listen", service=self.services,
                              name="s%d" % self.services, protocol=protocol, port=address[1], target=target,
                              proxy_protocol=proxy_protocol)
        assert answer == {"ok": True}
        return self.services, address

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.process.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def log_text(self):
        self.log.seek(0)
        return self.log.read()

    def close(self):
        self.control.close()
        self.process.terminate()
        status = self.process.wait(10)
        text = self.log_text()
        self.log.close()
        assert status == 0, text
        assert "ERROR: " not in text and "runtime error" not in text, text


@pytest.fixture
def relay(tmp_path):
    r = Relay(tmp_path)
    yield r
    r.close()


@contextlib.contextmanager
def tcp_target(handler, address="127.0.0.1"):
    """A server that runs @handler(connection) in a thread for each connection."""
    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection):
        with connection, contextlib.suppress(ConnectionError):
            handler(connection)

    server = socket.create_server((address, 0), backlog=1024)
    threading.Thread(target=serve, daemon=True).start()
    try:
        yield "%s:%d" % (address, server.getsockname()[1])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


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


def echo(connection):
    while True:
        data = connection.recv(1 << 20)
        if not data:
            return
        connection.sendall(data)


def echo_udp(server, data, peer):
    server.sendto(data, peer)


def unused_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def read_all(connection):
    data = b""
    while True:
        part = connection.recv(1 << 20)
        if not part:
            return data
        data += part


def assert_reset(address):
    """The reset may be as quick as the connection."""
    with pytest.raises(ConnectionResetError), socket.create_connection(address, 30) as client:
        client.recv(1)


def udp_client(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect(address)
    return s


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


def test_out_of_files_is_survived(tmp_path):
    """With few descriptors new clients wait in the kernel's queue until others have gone."""
    relay = Relay(tmp_path, files=256)
    with tcp_target(echo) as target:
        _, address = relay.listen(target)
        clients = [socket.create_connection(address, 10) for _ in range(60)]
        open_now = wait_for(lambda: relay.ask(op="sessions")["open"])
        time.sleep(0.5)
        cpu = relay.cpu_seconds()
        time.sleep(0.5)
        assert relay.cpu_seconds() - cpu < 0.1, "the relay spins on its full table"
        open_now = relay.ask(op="sessions")["open"]
        assert 0 < open_now < 60
        for client in clients:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            client.close()
    assert "no new TCP connections for now" in relay.log_text()
    relay.close()


def read_proxy2(data):
    assert data[:12] == SIGNATURE
    command, family, length = struct.unpack("!BBH", data[12:16])
    assert command == 0x21 and length == 12
    source, target, source_port, target_port = struct.unpack("!4s4sHH", data[16:28])
    return (family, (socket.inet_ntoa(source), source_port),
            (socket.inet_ntoa(target), target_port), data[28:])


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


def test_unlisten(relay):
    with tcp_target(echo) as target:
        service, address = relay.listen(target)
        other, other_address = relay.listen(target)
        with socket.create_connection(address, 5) as client:
            client.sendall(b"a")
            assert client.recv(1) == b"a"
            assert relay.ask(op="unlisten", service=service) == {"ok": True}
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address, 5)
            client.sendall(b"b")
            assert client.recv(1) == b"b"
        with socket.create_connection(other_address, 5) as client:
            client.sendall(b"c")
            assert client.recv(1) == b"c"
    assert [row["service"] for row in relay.ask(op="list")["listeners"]] == [other]
    udp, address = relay.listen("127.0.0.1:9", "udp")
    with udp_client(address) as client:
        client.send(b"x")
        wait_for(lambda: [s for s in relay.sessions() if s["protocol"] == "udp"])
    # The relay may still have the ends of the two clients before it to look at.
    wait_for(lambda: relay.ask(op="sessions")["open"] == 1)
    assert relay.ask(op="unlisten", service=udp)["ok"]
    assert relay.ask(op="sessions")["open"] == 0


def test_set_is_for_new_connections(relay):
    with tcp_target(lambda c: c.sendall(c.recv(1) + b"1")) as first, \
         tcp_target(lambda c: c.sendall(c.recv(1) + b"2")) as second:
        service, address = relay.listen(first)
        with socket.create_connection(address, 5) as old:
            wait_for(lambda: relay.ask(op="sessions")["open"] == 1)
            assert relay.ask(op="set", service=service, target=second)["ok"]
            with socket.create_connection(address, 5) as new:
                new.sendall(b"n")
                assert read_all(new) == b"n2"
            old.sendall(b"o")
            assert read_all(old) == b"o1"


def test_outlives_its_controller(relay):
    """A controller that is killed leaves connections and listeners as they are."""
    script = """
import json, socket, struct, sys, time
c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
c.connect(sys.argv[1])
s = socket.create_server(("127.0.0.1", 0))
message = dict(op="listen", service=77, name="held",
               protocol="tcp", port=s.getsockname()[1], target=sys.argv[2])
c.sendmsg([json.dumps(message).encode()],
          [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", s.fileno()))])
assert json.loads(c.recv(65536))["ok"]
print(s.getsockname()[1], flush=True)
s.close()
time.sleep(60)
"""
    with tcp_target(echo) as target:
        controller = subprocess.Popen([sys.executable, "-c", script, relay.path, target],
                                      stdout=subprocess.PIPE, text=True)
        address = ("127.0.0.1", int(controller.stdout.readline()))
        with socket.create_connection(address, 5) as client:
            client.sendall(b"before")
            assert client.recv(10) == b"before"
            controller.send_signal(signal.SIGKILL)
            controller.wait()
            controller.stdout.close()
            client.sendall(b"after")
            assert client.recv(10) == b"after"
        with socket.create_connection(address, 5) as client:
            client.sendall(b"new")
            assert client.recv(10) == b"new"
    assert relay.ask(op="list")["listeners"][0]["name"] == "held"


def test_second_relay_refuses(relay):
    second = subprocess.run([RELAY, "--socket", relay.path], stderr=subprocess.PIPE, text=True,
                            timeout=10)
    assert second.returncode == 1
    assert "another relay serves this socket" in second.stderr
    assert relay.ask(op="list")["ok"]


def test_socket_of_a_dead_relay_is_replaced(tmp_path):
    first = Relay(tmp_path)
    first.control.close()
    first.process.kill()
    first.process.wait()
    first.log.close()
    second = Relay(tmp_path)
    assert second.ask(op="list") == {"ok": True, "listeners": []}
    second.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")
def test_runs_without_privileges(relay):
    with open("/proc/%d/status" % relay.process.pid) as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    assert "0" not in status["Uid"].split()
    assert "0" not in status["Gid"].split() and status["Groups"].strip() == ""
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert os.stat(relay.path).st_mode & 0o777 == 0o660
    assert os.stat(relay.path).st_uid == 0


def test_hostile_messages(relay):
    good = dict(op="listen", service=1, name="x", protocol="tcp",
                port=1, target="127.0.0.1:1")
    bad = [b"{", b"[]", b"\0", b"\xff" * 10, b"{}", b'{"op":7}', b'{"op":"none"}',
           b'{"op":"list","op":"quit"}', b'{"op":"quit","extra":1}', b"[" * 60000,
           b" " * 65536 + b"{}", b"x" * 100000]
    changes = [dict(protocol="sctp"), dict(port=0), dict(port=65536), dict(service=-1),
               dict(target="nowhere"), dict(target="x" * 400 + ":1"), dict(name="../x"),
               dict(name=7), dict(target=None), dict(gateway=1), {}]
    for data in bad + [json.dumps(dict(good, **change)).encode() for change in changes]:
        answer = relay.raw(data)
        assert answer["ok"] is False and answer["error"], data[:80]
    before = relay.fds()
    with socket.create_server(("127.0.0.1", 0)) as stream, socket.socket() as idle, \
         socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram, \
         socket.socket(socket.AF_INET6) as six, open("/dev/null") as null:
        datagram.bind(("127.0.0.1", 0))
        message = json.dumps(good).encode()
        wrong = [[idle], [datagram], [six], [null], [stream, stream], [stream] * 20]
        for fds in wrong:
            answer = relay.raw(message, [s.fileno() for s in fds])
            assert answer["ok"] is False and answer["error"], fds
        assert relay.raw(b'{"op":"list"}', [stream.fileno()])["ok"]
        assert relay.raw(message, [stream.fileno()]) == {"ok": True}
        answer = relay.raw(message, [stream.fileno()])
        assert answer["ok"] is False and "already" in answer["error"]
        assert relay.ask(op="unlisten", service=1)["ok"]
    assert relay.fds() == before, "descriptors of refused messages stay open"
    for op in (dict(op="unlisten", service=1), dict(op="set", service=9, target="a:1")):
        assert relay.ask(**op)["ok"] is False
    assert relay.ask(op="list") == {"ok": True, "listeners": []}


def test_control_connections_without_end(relay):
    """More connections than there is room for, and one that asks and never listens: others go on."""
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(wait_for(relay.connect)) for _ in range(40)]
        assert relay.ask(op="list")["ok"]
        crowd[0].setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for _ in range(100000):
                crowd[0].send(b'{"op":"sessions"}')
        assert relay.ask(op="list")["ok"]
    with wait_for(relay.connect) as late:
        late.send(b'{"op":"list"}')
        assert json.loads(late.recv(65536))["ok"]


def test_list_in_parts(relay):
    target = "h" * 200 + ".invalid:80"
    with socket.create_server(("127.0.0.1", 0)) as s:
        for service in range(400):
            assert relay.ask(fd=s.fileno(), op="listen", service=service, name="s",
                             protocol="tcp", port=1, target=target)["ok"]
    seen, after = [], {}
    while True:
        answer = relay.ask(op="list", **after)
        seen += [row["service"] for row in answer["listeners"]]
        if not answer.get("more"):
            break
        after = dict(after_service=seen[-1])
    assert seen == list(range(400))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_strangers_may_look_and_not_touch(relay):
    os.chmod(relay.path, 0o666)
    directory = os.path.dirname(relay.path)
    while directory != "/":
        os.chmod(directory, os.stat(directory).st_mode | 0o111)
        directory = os.path.dirname(directory)
        if directory == "/tmp":
            break
    script = """
import os, socket, sys
os.setgid(65534); os.setuid(12345)
c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
c.connect(sys.argv[1])
for op in (b'{"op":"list"}', b'{"op":"sessions"}', b'{"op":"quit"}'):
    c.send(op)
    print(c.recv(65536).decode())
"""
    out = subprocess.run([sys.executable, "-c", script, relay.path], stdout=subprocess.PIPE,
                         text=True, check=True, timeout=10).stdout.splitlines()
    answers = [json.loads(line) for line in out]
    assert [a["ok"] for a in answers] == [True, True, False]
    assert relay.ask(op="list")["ok"]


def test_quit(tmp_path):
    relay = Relay(tmp_path)
    with tcp_target(echo) as target:
        _, address = relay.listen(target)
        with socket.create_connection(address, 5) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            assert relay.ask(op="quit") == {"ok": True}
            assert relay.process.wait(5) == 0
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
    relay.close()
