# SPDX-License-Identifier: MIT
"""Traffic that can tell whether it was disturbed."""

import json
import select
import socket
import struct
import subprocess
import threading
import time

from . import netns
from .processes import PATIENCE, Process, wait_until
from .services import listening


# The longest that a stream may stand still where nothing should be noticed, on a busy machine. It is less than the
# 5 s after which WireGuard tries a handshake again, so that a tunnel that was lost does not pass for undisturbed; an emulated
# processor knows no such times.
QUIET_S = 4 if PATIENCE == 1 else 30
SILENT_S = 10 * PATIENCE
# How often a stream says something; each time is much work for an emulated processor.
EVERY_S = 0.01 if PATIENCE == 1 else 0.05


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def connect(namespace, address, port, timeout_s=15, source_port=0):
    """A TCP connection from the namespace."""
    with netns.entered(namespace):
        client = socket.socket(family_of(address), socket.SOCK_STREAM)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.settimeout(timeout_s * PATIENCE)
    try:
        client.bind(("", source_port))
        client.connect((address, port))
    except BaseException:
        client.close()
        raise
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def udp_socket(namespace, timeout_s=1, family=socket.AF_INET):
    with netns.entered(namespace):
        client = socket.socket(family, socket.SOCK_DGRAM)
    client.settimeout(timeout_s * PATIENCE)
    return client


def receive_exactly(client, length):
    data = b""
    while len(data) < length:
        more = client.recv(length - len(data))
        if not more:
            raise ConnectionError(f"closed after {len(data)} of {length} bytes")
        data += more
    return data


class Echo:
    """A server in a namespace that sends back what it gets, over TCP and UDP, each preceded by its name's 8 bytes
    (TCP: at the beginning of the connection, UDP: in every datagram)."""

    def __init__(self, namespace, address, port, name="echo"):
        self.greeting = name.encode().ljust(8)[:8]
        with netns.entered(namespace):
            self.tcp = socket.create_server((address, port))
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, port))
        self._threads = [threading.Thread(target=serve, daemon=True) for serve in (self._serve_tcp, self._serve_udp)]
        for thread in self._threads:
            thread.start()

    def _serve_tcp(self):
        while True:
            try:
                client, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_client, args=(client,), daemon=True).start()

    def _serve_client(self, client):
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                client.sendall(self.greeting)
                while data := client.recv(65536):
                    client.sendall(data)
            except OSError:
                return

    def _serve_udp(self):
        while True:
            try:
                datagram, sender = self.udp.recvfrom(65536)
                if sender is None:  # shut down
                    return
                self.udp.sendto(self.greeting + datagram, sender)
            except OSError:
                return

    def close(self):
        for listener in (self.tcp, self.udp):
            # shutdown() wakes the thread that waits in it; an unconnected UDP socket complains about that.
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        # Until they are out of their system calls the ports are taken.
        for thread in self._threads:
            thread.join(10)
        for listener in (self.tcp, self.udp):
            listener.close()


class Stream:
    """A TCP connection to an Echo with a numbered message every EVERY_S: was it reset, how long did it stand still?"""

    EVERY_S = EVERY_S
    MESSAGE = struct.Struct("!Q56x")

    def __init__(self, namespace, address, port):
        self.client = connect(namespace, address, port)
        self.greeting = receive_exactly(self.client, 8)
        self.sent = self.echoed = 0
        self.longest_gap_s = 0.0
        self.error = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._exchange()
        except OSError as error:
            self.error = error

    def _exchange(self):
        last = time.monotonic()
        received = b""
        while not self._stop.is_set() or self.echoed < self.sent:
            if not self._stop.is_set():
                self.client.sendall(self.MESSAGE.pack(self.sent))
                self.sent += 1
            while select.select([self.client], [], [], self.EVERY_S)[0]:
                more = self.client.recv(65536)
                if not more:
                    raise ConnectionError(f"closed after {self.echoed} echoes")
                now = time.monotonic()
                self.longest_gap_s = max(self.longest_gap_s, now - last)
                last = now
                received = self._count(received + more)
            if time.monotonic() - last > SILENT_S:
                raise TimeoutError(f"no echo for {SILENT_S} s after {self.echoed} echoes")

    def _count(self, received):
        while len(received) >= self.MESSAGE.size:
            (number,) = self.MESSAGE.unpack_from(received)
            if number != self.echoed:
                raise ConnectionError(f"echo {number} where {self.echoed} was due")
            self.echoed += 1
            received = received[self.MESSAGE.size:]
        return received

    def stop(self):
        """Ends it; raises if it was reset, lost or mixed up anything. Returns the longest time without an echo."""
        self._stop.set()
        self._thread.join(SILENT_S + 5)
        self.client.close()
        if self.error:
            raise self.error
        assert self.echoed == self.sent and self.sent > 0
        return self.longest_gap_s


class DatagramStream:
    """The same over UDP: how many of the numbered datagrams did not come back?"""

    EVERY_S = EVERY_S
    MESSAGE = struct.Struct("!8sQ56x")

    def __init__(self, namespace, address, port):
        self.client = udp_socket(namespace)
        self.client.connect((address, port))
        self.sent, self.back = 0, set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            self.client.send(self.MESSAGE.pack(b"", self.sent)[8:])
            self.sent += 1
            self._receive(self.EVERY_S)
        self._receive(5 * PATIENCE)

    def _receive(self, for_s):
        end = time.monotonic() + for_s
        while (left := end - time.monotonic()) > 0 and len(self.back) < self.sent:
            if select.select([self.client], [], [], left)[0]:
                self.back.add(self.MESSAGE.unpack(self.client.recv(2048))[1])
        if (left := end - time.monotonic()) > 0 and not self._stop.is_set():
            time.sleep(left)

    def stop(self):
        """Ends it and returns how many were lost."""
        self._stop.set()
        self._thread.join(SILENT_S + 5)
        self.client.close()
        assert self.sent > 0
        return self.sent - len(self.back)


class Iperf:
    """iperf3's server in a namespace; measure() gives the bit rate that arrived."""

    PORT = 5201

    def __init__(self, record, namespace, address):
        self.process = Process(record, "iperf3", namespace, ["iperf3", "--server", "--bind", address])
        wait_until("iperf3 listening", lambda: listening(namespace, "tcp", address, self.PORT))

    def measure(self, namespace, address, port, *options, seconds=3):
        def run():
            done = subprocess.run(
                netns.within(namespace, "iperf3", "--client", address, "--port", str(port), "--json",
                             "--time", str(seconds), "--connect-timeout", str(5000 * PATIENCE), *options),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                timeout=seconds + 30 * PATIENCE)
            answer = json.loads(done.stdout)
            # The server may not be done yet with the client before.
            if "server is busy" in answer.get("error", ""):
                return None
            if done.returncode != 0 or "error" in answer:
                raise RuntimeError(f"iperf3: {answer.get('error', done.stdout)}")
            return answer["end"]["sum_received"]["bits_per_second"]
        return wait_until("iperf3 is free", run)

    def stop(self):
        self.process.stop()
