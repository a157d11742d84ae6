# SPDX-License-Identifier: MIT
"""kkrelay alone, on loopback, driven over its control socket as kkagentd drives it.

    client -> 127.0.0.1:listener =(kkrelay)=> 127.0.0.1:target, a thread of this process
"""

import contextlib
import json
import os
import socket
import struct
import subprocess
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


@pytest.fixture(name="relay")
def make_relay(tmp_path):
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


def echo(connection):
    while True:
        data = connection.recv(1 << 20)
        if not data:
            return
        connection.sendall(data)


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


def udp_client(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect(address)
    return s


def read_proxy2(data):
    assert data[:12] == SIGNATURE
    command, family, length = struct.unpack("!BBH", data[12:16])
    assert command == 0x21 and length == 12
    source, target, source_port, target_port = struct.unpack("!4s4sHH", data[16:28])
    return (family, (socket.inet_ntoa(source), source_port),
            (socket.inet_ntoa(target), target_port), data[28:])
