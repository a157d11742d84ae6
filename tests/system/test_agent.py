# SPDX-License-Identifier: MIT
"""kkagentd alone: a scripted Control tells it what to do, gateways made of wireguard-go and a namespace send it traffic.

   ctl 198.51.100.5 Control
        |
   host 198.51.100.1  kkagentd, targets -------- gw1 198.51.101.2   client 203.0.113.9
        |             198.51.101.1, 198.51.102.1
        |                               -------- gw2 198.51.102.2   client 203.0.113.9
   tun: the Agent's end of the tunnel, made by kkagentd: one interface of kkwg for both gateways

The client has the same address behind both gateways: an answer by the wrong one reaches nobody.
"""

import copy
import hashlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from world import netns
from world.processes import Process, wait_until
from world.product import default_build
from world.record import Record, start_time, sweep
from world.scripted_control import ScriptedControl
from world.traffic import Echo, Stream, connect, receive_exactly, udp_socket

CONTROL, HOST, CLIENT = "198.51.100.5", "198.51.100.1", "203.0.113.9"
SUBNET, AGENT = "10.1.0.0/24", "10.1.0.100"
ECHO_PORT, OTHER_PORT = 7000, 7001
SOCKETS = pathlib.Path("/var/run/wireguard")
ENGINE_ENV = {"WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1"}
SANITIZER = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99", "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99"}


def output(*argv, **options):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, **options).stdout.strip()


def peer_pid(path, kind):
    """Who listens on a Unix socket, and since when: the same answer means the same process."""
    with socket.socket(socket.AF_UNIX, kind) as client:
        client.connect(str(path))
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid = struct.unpack("3i", credentials)[0]
    return pid, start_time(pid)


class Gateway:
    """Its machine, its end of the tunnel, and a client behind it."""

    def __init__(self, record, host, index):
        self.record, self.index = record, index
        self.id, self.name = 10 + index, f"gw{index}"
        self.namespace = record.namespace(self.name)
        self.address = f"198.51.10{index}.2"
        self.interface = record.interface(f"g{index}")
        netns.add(self.namespace)
        netns.add_cable(host, self.name, self.namespace, "eth0", peer_address=f"{self.address}/24")
        netns.sh("ip", "-n", host, "addr", "add", f"198.51.10{index}.1/24", "dev", self.name)
        netns.sh("ip", "-n", self.namespace, "addr", "add", f"{CLIENT}/32", "dev", "lo")
        self.new_key()

    def new_key(self):
        """As if the machine had been started anew."""
        self.private = output("wg", "genkey")
        self.public = output("wg", "pubkey", input=self.private)
        self._start_engine()

    def _start_engine(self):
        path = SOCKETS / f"{self.interface}.sock"
        if path.exists():
            self.end_engine()
        Process(self.record, f"engine-{self.name}", self.namespace, ["wireguard-go", "-f", self.interface],
                env=ENGINE_ENV)
        wait_until("the gateway's engine", path.exists)
        for words in (f"address add 10.1.0.{self.index}/32 dev {self.interface}",
                      f"link set {self.interface} mtu 1420 up",
                      f"route add {SUBNET} dev {self.interface} src {CLIENT}"):
            netns.sh("ip", "-n", self.namespace, *words.split())

    def end_engine(self, number=signal.SIGTERM):
        path = SOCKETS / f"{self.interface}.sock"
        os.kill(peer_pid(path, socket.SOCK_STREAM)[0], number)
        if number == signal.SIGKILL:
            path.unlink()
        wait_until("the old engine is gone", lambda: not path.exists())

    def accept(self, agent_key):
        """Takes the Agent with this key as its only peer."""
        for old in output("wg", "show", self.interface, "peers").split():
            if old != agent_key:
                netns.sh("wg", "set", self.interface, "peer", old, "remove")
        key = self.record.directory / f"{self.name}.key"
        key.write_text(self.private, encoding="ascii")
        netns.sh(*netns.within(self.namespace, "wg", "set", self.interface, "private-key", str(key), "listen-port",
                               "51820", "peer", agent_key, "allowed-ips", SUBNET))

    @property
    def received(self):
        """Bytes that came through the tunnel."""
        return int(output("wg", "show", self.interface, "transfer").split()[1])

    def config(self):
        return {"id": self.id, "name": self.name, "index": self.index, "endpoint": f"{self.address}:51820",
                "public_key": self.public}

    def connect(self, port, **options):
        return connect(self.namespace, AGENT, port, **options)

    def greeting(self, port):
        """Who answers on a published TCP port."""
        with self.connect(port) as client:
            return receive_exactly(client, 8).decode().strip()

    def udp_answer(self, port, text=b"hello"):
        with udp_socket(self.namespace) as client:
            client.connect((AGENT, port))
            for _ in range(5):
                client.send(text)
                try:
                    return client.recv(65536)
                except TimeoutError:
                    continue
        return None


class Place:
    """The namespaces, and kkagentd in one of them."""

    def __init__(self, record):
        self.record, self.directory = record, record.directory
        self.ctl, self.host, self.tun = (record.namespace(name) for name in ("ctl", "host", "tun"))
        self.interface = record.interface("a")
        self.run_dir, self.state = self.directory / "run", self.directory / "agent"
        self.daemon = None
        for namespace in (self.ctl, self.host):
            netns.add(namespace)
        netns.add_cable(self.host, "ctl", self.ctl, "eth0", peer_address=f"{CONTROL}/24")
        netns.sh("ip", "-n", self.host, "addr", "add", f"{HOST}/24", "dev", "ctl")
        # What a new namespace copies from a host that is a router must not matter.
        netns.set_forwarding(self.host)
        self.gateways = [Gateway(record, self.host, index) for index in (1, 2)]
        self.echo = Echo(self.host, "127.0.0.1", ECHO_PORT, "echo")
        self.other = Echo(self.host, "127.0.0.1", OTHER_PORT, "other")
        self.control = ScriptedControl(self.ctl, CONTROL, 8443, self.directory, role="agent", node="edge")

    def kkagentd(self, *argv):
        return subprocess.run(
            netns.within(self.host, str(default_build() / "kkagentd"), *argv), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            env={**os.environ, **SANITIZER})

    @property
    def options(self):
        return ["--state", str(self.state), "--run-dir", str(self.run_dir), "--netns", self.tun,
                "--tunnel-interface", self.interface]

    def join(self):
        done = self.kkagentd("join", self.control.token(), "--state", str(self.state))
        assert done.returncode == 0, done.stderr

    def start(self):
        """Starts the daemon; returns its hello."""
        self.daemon = Process(self.record, "kkagentd", self.host,
                              [str(default_build() / "kkagentd"), "run", "-v", *self.options],
                              env=SANITIZER, notify=True).ready()
        return self.control.expect("hello")

    def begin(self, config):
        """Starts the daemon, gateways and all, and gives it @config; returns its hello."""
        hello = self.start()
        for gateway in self.gateways:
            gateway.accept(hello["public_key"])
        self.apply(config)
        return hello

    def apply(self, config):
        self.control.send({"type": "snapshot", **config})
        assert self.control.expect("ack")["generation"] == config["generation"]

    def delta(self, config, put=None, remove=None):
        """Sends a change; returns the answer to it."""
        config["generation"] += 1
        self.control.send({"type": "delta", "from": config["generation"] - 1, "generation": config["generation"],
                           "put": put or {}, "remove": remove or {}})

    def stop(self, number=signal.SIGTERM):
        assert self.daemon.stop(number) == (0 if number == signal.SIGTERM else -number), self.daemon.tail(30)

    def down(self):
        done = self.kkagentd("down", *self.options)
        assert done.returncode == 0, done.stderr

    @property
    def relay_socket(self):
        return self.run_dir / "relay.sock"

    def outliving(self):
        """The processes and interfaces that outlive the daemon."""
        links = [line.split(":")[:2] for line in netns.sh("ip", "-n", self.tun, "-o", "link").splitlines()]
        return peer_pid(self.relay_socket, socket.SOCK_SEQPACKET), self.engine(), links

    def engine(self):
        return peer_pid(SOCKETS / f"{self.interface}.sock", socket.SOCK_STREAM)

    def engine_if_any(self):
        try:
            return self.engine()
        except OSError:
            return None

    def peers(self):
        """The keys of the gateways that the Agent has as peers."""
        return set(output("wg", "show", self.interface, "peers").split())

    def listening(self):
        """(protocol, port) of every socket in the tunnel's namespace."""
        found = set()
        for protocol, flag in (("tcp", "-Hltn"), ("udp", "-Huln")):
            for line in netns.sh(*netns.within(self.tun, "ss", flag)).splitlines():
                address, _, port = line.split()[3].rpartition(":")
                assert address == AGENT, line
                found.add((protocol, int(port)))
        return found

    def sessions(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(self.relay_socket))
            client.send(b'{"op":"sessions"}')
            return json.loads(client.recv(65536))["sessions"]

    def session(self, name):
        """The one of this client, once it is known by which gateway it came."""
        def known():
            return next((s for s in self.sessions() if s["client"] == name and "gateway" in s), None)
        return wait_until(f"the session of {name}", known)


def service(number, name, protocol, port, target, proxy_protocol=False):
    return {"id": number, "name": name, "protocol": protocol, "port": port, "agent_port": port, "target": target,
            "proxy_protocol": proxy_protocol}


@pytest.fixture(scope="module", name="place")
def make_place():
    sweep()
    record = Record.new()
    try:
        place = Place(record)
        place.join()
        yield place
        place.control.close()
        place.echo.close()
        place.other.close()
    finally:
        record.take_down()


@pytest.fixture(name="config")
def make_config(place):
    """The daemon running with both gateways and an echo service of each kind; all of it taken down afterwards."""
    config = {"epoch": "e1", "generation": 5, "self": {"id": 1, "name": "edge", "subnet": SUBNET},
              "gateways": [gateway.config() for gateway in place.gateways],
              "services": [service(21, "echo", "tcp", 7000, f"127.0.0.1:{ECHO_PORT}"),
                           service(22, "echo-udp", "udp", 7000, f"127.0.0.1:{ECHO_PORT}")]}
    place.begin(config)
    for gateway in place.gateways:
        wait_until(f"traffic by {gateway.name}", lambda gw=gateway: answers(gw, 7000))
    yield copy.deepcopy(config)
    if place.daemon.popen.poll() is None:
        place.stop()
    place.down()


def answers(gateway, port):
    try:
        with gateway.connect(port, timeout_s=1) as client:
            return receive_exactly(client, 8)
    except OSError:
        return None


def refused(gateway, port):
    """Nobody listens there: the Agent says so, or nothing."""
    try:
        gateway.connect(port, timeout_s=1).close()
    except (ConnectionRefusedError, TimeoutError):
        return True
    return False


def test_services_through_each_gateway(place, config):
    """TCP and UDP work by either gateway, answers take the way back, and the relay knows the client."""
    for gateway in place.gateways:
        other = place.gateways[gateway.index % 2]
        before = other.received
        with gateway.connect(7000) as client:
            assert receive_exactly(client, 8) == b"echo    "
            client.sendall(b"x" * 300000)
            assert receive_exactly(client, 300000) == b"x" * 300000
            name = "%s:%d" % client.getsockname()
            mine = place.session(name)
            assert (mine["gateway"], mine["service"], mine["state"]) == (gateway.name, "echo", "open")
        for size in (0, 1, 1392, 20000):
            assert gateway.udp_answer(7000, bytes(size)) == b"echo    " + bytes(size)
        assert other.received - before < 1000, "the answers came back by the other gateway"
    udp = {(s.get("gateway"), s["client"].rpartition(":")[0]) for s in place.sessions() if s["service"] == "echo-udp"}
    assert udp == {("gw1", CLIENT), ("gw2", CLIENT)}


def test_report(place, config):
    report = place.control.expect_report(
        lambda r: len(r.get("peers", [])) == 2 and all(p["last_handshake"] for p in r["peers"]))
    assert report["tunnel"]["kind"] == "userspace"
    for gateway, peer in zip(place.gateways, report["peers"]):
        assert peer["gateway"] == gateway.id and peer["endpoint"] == f"{gateway.address}:51820"
        assert abs(peer["last_handshake"] - time.time()) < 60 and peer["rx_bytes"] > 0
    assert report["services"] == [{"id": 21, "state": "ready"}, {"id": 22, "state": "ready"}]


def test_report_of_targets_that_are_not_well(place, config):
    port = 7399
    place.delta(config, put={"services": [service(23, "down", "tcp", 7002, f"127.0.0.1:{port}"),
                                          service(24, "typo", "tcp", 7003, "no-such-host.invalid:80")]})
    assert place.control.expect("ack")
    assert answers(place.gateways[0], 7002) is None

    def both_failed(report):
        states = {s["id"]: s for s in report["services"]}
        return states[23]["state"] == states[24]["state"] == "failed" and states

    report = place.control.expect_report(both_failed, timeout_s=20)
    states = both_failed(report)
    assert states[23]["message"] == f"target 127.0.0.1:{port}: Connection refused"
    assert states[24]["message"]
    assert states[21]["state"] == "ready"


def test_nothing_but_listeners(place, config):
    """The namespace holds the tunnel and what is published, and a single route."""
    assert place.listening() == {("tcp", 7000), ("udp", 7000)}
    links = {line.split(": ")[1] for line in netns.sh("ip", "-n", place.tun, "-o", "link", "show", "up").splitlines()}
    assert links == {"lo", place.interface}
    assert netns.sh("ip", "-n", place.tun, "route").split()[:3] == ["default", "dev", place.interface]
    # No pool6, no IPv6 address.
    assert netns.sh("ip", "-n", place.tun, "-6", "addr", "show", "dev", place.interface) == ""


def test_gateways_cannot_use_the_agent(place, config):
    """A gateway that was broken into reaches neither another gateway through the Agent nor the Agent's host."""
    one, two = place.gateways
    netns.sh("ip", "-n", one.namespace, "route", "replace", "default", "dev", one.interface, "src", CLIENT)
    key = output("wg", "show", one.interface, "peers")
    netns.sh("wg", "set", one.interface, "peer", key, "allowed-ips", "0.0.0.0/0")
    listener = Echo(two.namespace, "0.0.0.0", 7100, "two")
    host = Echo(place.host, "0.0.0.0", 7101, "host")
    try:
        for address, port in (("10.1.0.2", 7100), (two.address, 7100), (HOST, 7101), (CONTROL, 8443), (AGENT, 7101)):
            with pytest.raises(OSError):
                connect(one.namespace, address, port, timeout_s=1).close()
        assert one.greeting(7000) == "echo"  # so that silence means something
    finally:
        listener.close()
        host.close()
        netns.sh("wg", "set", one.interface, "peer", key, "allowed-ips", SUBNET)
        netns.sh("ip", "-n", one.namespace, "route", "del", "default")


class Transfer:
    """A long download through a gateway, checked by its digest."""

    LENGTH = 24 << 20

    def __init__(self, gateway, port, content):
        self.digest, self.received, self.error = hashlib.sha256(), 0, None
        self.client = gateway.connect(port, timeout_s=20)
        self.wanted = hashlib.sha256(content).hexdigest()
        self.content = content
        receive_exactly(self.client, 8)
        for work in (self._send, self._receive):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
        self.receiver = thread

    def _send(self):
        # At a pace that leaves time to do harm.
        for at in range(0, len(self.content), 1 << 18):
            self.client.sendall(self.content[at:at + (1 << 18)])
            time.sleep(0.02)
        self.client.shutdown(socket.SHUT_WR)

    def _receive(self):
        while data := self.client.recv(1 << 16):
            self.digest.update(data)
            self.received += len(data)

    def finish(self):
        self.receiver.join(60)
        self.client.close()
        return self.digest.hexdigest() == self.wanted


def test_killed_during_a_transfer(place, config):
    """SIGKILL and a new start: key, tunnels, relay and connections are those of before."""
    before = place.outliving()
    content = os.urandom(Transfer.LENGTH)
    transfers = [Transfer(gateway, 7000, content) for gateway in place.gateways]
    wait_until("transfer under way", lambda: all(t.received > 1 << 20 for t in transfers))
    place.stop(signal.SIGKILL)
    assert place.gateways[0].greeting(7000) == "echo"  # new ones, too
    hello = place.start()
    assert hello["generation"] == 0 and hello["epoch"] is None
    assert place.gateways[0].public and hello["public_key"] == output(
        "wg", "show", place.gateways[0].interface, "peers")
    place.apply(config)
    assert any(t.receiver.is_alive() for t in transfers), "the transfers were too quick to show anything"
    assert all(t.finish() for t in transfers)
    assert place.outliving() == before


def test_changes_disturb_nobody_else(place, config):
    streams = [Stream(gateway.namespace, AGENT, 7000) for gateway in place.gateways]
    before = place.outliving()
    one, two = place.gateways

    place.delta(config, put={"services": [service(23, "new", "tcp", 7002, f"127.0.0.1:{OTHER_PORT}")]})
    place.control.expect("ack")
    assert one.greeting(7002) == two.greeting(7002) == "other"

    # Another target is for new connections; the old one goes on.
    with one.connect(7002) as old:
        receive_exactly(old, 8)
        place.delta(config, put={"services": [service(23, "new", "tcp", 7002, f"127.0.0.1:{ECHO_PORT}")]})
        place.control.expect("ack")
        assert one.greeting(7002) == "echo"
        old.sendall(b"still here")
        assert receive_exactly(old, 10) == b"still here"

        # Another port, and then no service: the connection that runs goes on.
        place.delta(config, put={"services": [service(23, "new", "tcp", 7003, f"127.0.0.1:{ECHO_PORT}")]})
        place.control.expect("ack")
        assert refused(one, 7002) and one.greeting(7003) == "echo"
        place.delta(config, remove={"services": [23]})
        place.control.expect("ack")
        assert refused(one, 7003)
        old.sendall(b"even now")
        assert receive_exactly(old, 8) == b"even now"
    assert place.outliving() == before
    for stream in streams:
        assert stream.stop() < 1.5


def test_proxy_protocol(place, config):
    seen = []
    with netns.entered(place.host):
        target = socket.create_server(("127.0.0.1", 0))
    port = target.getsockname()[1]
    place.delta(config, put={"services": [service(23, "proxied", "tcp", 7002, f"127.0.0.1:{port}", True)]})
    place.control.expect("ack")
    with target, place.gateways[1].connect(7002) as client:
        client.sendall(b"payload")
        accepted, _ = target.accept()
        with accepted:
            accepted.settimeout(5)
            seen = receive_exactly(accepted, 35)
        name = client.getsockname()
    assert seen[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" and seen[28:] == b"payload"
    source, destination, source_port, destination_port = struct.unpack("!4s4sHH", seen[16:28])
    assert (socket.inet_ntoa(source), source_port) == name == (CLIENT, name[1])
    assert (socket.inet_ntoa(destination), destination_port) == (AGENT, 7002)


def test_gateway_removed_and_added(place, config):
    one, two = place.gateways
    stream = Stream(one.namespace, AGENT, 7000)
    place.delta(config, remove={"gateways": [two.id]})
    place.control.expect("ack")
    assert place.peers() == {one.public} and answers(two, 7000) is None
    place.delta(config, put={"gateways": [{**two.config(), "public_key": None}]})
    place.control.expect("ack")
    assert place.peers() == {one.public}, "a gateway without a key is no peer yet"
    place.delta(config, put={"gateways": [two.config()]})
    place.control.expect("ack")
    wait_until("traffic by gw2", lambda: answers(two, 7000))
    assert stream.stop() < 1.5


def test_gateway_comes_back_with_another_key(place, config):
    one, two = place.gateways
    stream = Stream(two.namespace, AGENT, 7000)
    agent_key = output("wg", "show", one.interface, "peers")
    one.new_key()
    one.accept(agent_key)
    place.delta(config, put={"gateways": [one.config()]})
    place.control.expect("ack")
    wait_until("traffic by gw1", lambda: answers(one, 7000))
    assert place.peers() == {one.public, two.public}
    assert stream.stop() < 1.5


def test_change_that_cannot_be_made_changes_nothing(place, config):
    """Two services on one port: Control would not say so."""
    before = place.listening()
    place.control.send({"type": "delta", "from": 5, "generation": 6, "remove": {"services": [22]},
                        "put": {"services": [service(23, "one", "tcp", 7002, "127.0.0.1:1"),
                                             service(24, "two", "tcp", 7002, "127.0.0.1:2")]}})
    nack = place.control.expect("nack")
    assert nack["generation"] == 6 and nack["field"] == "agent_port"
    assert "tcp port 7002" in nack["message"] and "Address already in use" in nack["message"]
    assert place.listening() == before
    for gateway in place.gateways:
        assert gateway.greeting(7000) == "echo" and gateway.udp_answer(7000)


def test_change_that_cannot_be_made_yet(place, config):
    """A cause that passes needs nobody's help: the Agent asks again."""
    with netns.entered(place.tun):
        squatter = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    squatter.bind((AGENT, 7002))
    squatter.listen(1)
    put = {"services": [service(23, "new", "tcp", 7002, f"127.0.0.1:{OTHER_PORT}")]}
    place.delta(config, put=put)
    assert "7002" in place.control.expect("nack")["message"]
    squatter.close()
    hello = place.control.expect("hello", timeout_s=20)
    assert (hello["epoch"], hello["generation"]) == ("e1", 5)
    config["generation"] = 5
    place.delta(config, put=put)
    place.control.expect("ack")
    assert place.gateways[0].greeting(7002) == "other"


def test_namespace_without_its_name(place, config):
    """Someone removed the name while no daemon ran: what is in there is of no use, and is replaced."""
    place.stop()
    netns.sh("ip", "netns", "del", place.tun)
    place.begin(config)
    for gateway in place.gateways:
        wait_until(f"traffic by {gateway.name}", lambda gw=gateway: answers(gw, 7000))


def test_relay_killed(place, config):
    """Its connections are lost, new ones are served within a moment."""
    pid, _ = peer_pid(place.relay_socket, socket.SOCK_SEQPACKET)
    os.kill(pid, signal.SIGKILL)
    for gateway in place.gateways:
        wait_until(f"traffic by {gateway.name}", lambda gw=gateway: answers(gw, 7000), timeout_s=5)
    assert peer_pid(place.relay_socket, socket.SOCK_SEQPACKET)[0] != pid


def test_engine_killed(place, config):
    """It is made again, with the key. Connections go on by the gateway that their client speaks through next."""
    clients = [gateway.connect(7000, timeout_s=20) for gateway in place.gateways]
    for client in clients:
        receive_exactly(client, 8)
    before = place.engine()
    key = output("wg", "show", place.interface, "public-key")
    time.sleep(0.2)  # nothing is on its way any more
    os.kill(before[0], signal.SIGKILL)
    wait_until("another engine", lambda: place.engine_if_any() not in (None, before), timeout_s=15)
    for gateway, client in zip(place.gateways, clients):
        with client:
            client.sendall(b"still here")
            assert receive_exactly(client, 10) == b"still here"
            place.sessions()
            assert place.session("%s:%d" % client.getsockname())["gateway"] == gateway.name
        assert answers(gateway, 7000)
    assert output("wg", "show", place.interface, "public-key") == key


def test_engine_that_cannot_reply_to_ingress(place, config):
    """One sentence, nothing left, and what was there is not touched before kkagentd down."""
    place.stop()
    place.down()
    done = place.kkagentd("run", *place.options, "--engine", "wireguard-go")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("cannot reply to ingress, as kkwg can"), done.stderr
    assert not (SOCKETS / f"{place.interface}.sock").exists()
    place.begin(config)
    wait_until("traffic", lambda: answers(place.gateways[0], 7000))


class Street:
    """The world outside: which gateway the client's packets for the Agent enter by."""

    def __init__(self, place):
        self.place = place
        self.namespace = place.record.namespace("user")
        netns.add(self.namespace)
        netns.sh("ip", "-n", self.namespace, "addr", "add", "203.0.113.77/32", "dev", "lo")
        for gateway in place.gateways:
            there = f"198.18.{gateway.index}"
            netns.add_cable(self.namespace, gateway.name, gateway.namespace, "street", peer_address=f"{there}.2/24")
            netns.sh("ip", "-n", self.namespace, "addr", "add", f"{there}.1/24", "dev", gateway.name)
            netns.sh("ip", "-n", gateway.namespace, "route", "add", "203.0.113.77", "via", f"{there}.1")
            netns.set_forwarding(gateway.namespace)
        self.enter_by(place.gateways[0])

    def enter_by(self, gateway):
        netns.sh("ip", "-n", self.namespace, "route", "replace", AGENT, "via", f"198.18.{gateway.index}.2",
                 "src", "203.0.113.77")

    def close(self):
        netns.sh("ip", "netns", "del", self.namespace)


def test_flows_move_with_the_public_address(place, config):
    """A gateway dies and the other takes over its address: a connection that runs goes on by that one."""
    one, two = place.gateways
    street = Street(place)
    try:
        with connect(street.namespace, AGENT, 7000) as client:
            name = "%s:%d" % client.getsockname()
            receive_exactly(client, 8)
            assert place.session(name)["gateway"] == "gw1"
            one.end_engine(signal.SIGKILL)
            client.sendall(b"lost at first")
            street.enter_by(two)
            assert receive_exactly(client, 13) == b"lost at first"
            client.sendall(b"x" * 100000)
            assert receive_exactly(client, 100000) == b"x" * 100000
            place.sessions()
            wait_until("the session by gw2", lambda: place.session(name)["gateway"] == "gw2")
    finally:
        street.close()
        key = output("wg", "show", place.interface, "public-key")
        one.new_key()
        one.accept(key)


def test_joined_anew(place, config):
    """Another joining, another WireGuard key: the gateways have forgotten the sessions of the earlier one."""
    before = output("wg", "show", place.interface, "public-key")
    _, engine, _ = place.outliving()
    place.control.key += "x"
    done = place.kkagentd("join", place.control.token(), "--state", str(place.state), "--run-dir", str(place.run_dir),
                          "--force")
    assert done.returncode == 0 and "restart it" in done.stdout
    place.stop()
    assert place.begin(config)["public_key"] != before
    assert place.engine() != engine
    wait_until("traffic again", lambda: all(answers(gateway, 7000) for gateway in place.gateways))
    # The mark that tells joinings apart is not the node's key.
    assert not any(place.control.key.encode() in path.read_bytes() for path in place.run_dir.iterdir()
                   if path.is_file())
    engine = place.engine()
    place.stop()
    place.begin(config)
    assert place.engine() == engine


def test_second_daemon_and_down_while_it_runs(place, config):
    for words in (["run", *place.options], ["down", *place.options]):
        done = place.kkagentd(*words)
        assert done.returncode == 1
        assert "runs already" in done.stderr and len(done.stderr.splitlines()) == 1
    assert place.gateways[0].greeting(7000) == "echo"


def test_down_ends_everything_and_nothing_else(place, config):
    relay, engine, _ = place.outliving()
    place.stop()
    assert place.gateways[0].greeting(7000) == "echo"
    place.down()
    assert not netns.exists(place.tun)
    wait_until("processes gone", lambda: all(start_time(pid) != since for pid, since in [relay, engine]))
    assert not (SOCKETS / f"{place.interface}.sock").exists() and not place.relay_socket.exists()
    assert (place.state / "node.json").exists()
    place.down()  # once more is no error
    hello = place.begin(config)
    assert hello["generation"] == 0
    wait_until("traffic again", lambda: answers(place.gateways[0], 7000))


def test_no_private_key_on_disk(place, config):
    """Requirement K7: neither in what joining left nor in the run directory."""
    private = output("wg", "show", place.interface, "private-key")
    forms = [private.encode(), __import__("base64").b64decode(private)]
    for directory in (place.state, place.run_dir):
        for path in directory.rglob("*"):
            if path.is_file():
                assert not any(form in path.read_bytes() for form in forms), path


def test_throughput(place, config, capsys):
    """For the record; what the engine allows is far below what the relay does."""
    with netns.entered(place.host):
        server = socket.create_server(("127.0.0.1", 0))
    place.delta(config, put={"services": [service(23, "bulk", "tcp", 7002,
                                                  f"127.0.0.1:{server.getsockname()[1]}")]})
    place.control.expect("ack")
    with server, place.gateways[0].connect(7002, timeout_s=20) as client:
        accepted, _ = server.accept()
        stop = time.monotonic() + 2
        total = [0]

        def drain():
            while data := accepted.recv(1 << 20):
                total[0] += len(data)

        thread = threading.Thread(target=drain)
        start = time.monotonic()
        thread.start()
        while time.monotonic() < stop:
            client.sendall(bytes(1 << 16))
        client.shutdown(socket.SHUT_WR)
        thread.join(20)
        seconds = time.monotonic() - start
        accepted.close()
    assert total[0] > 1 << 20
    with capsys.disabled():
        print(f"\n  client -> gateway -> Agent -> target: {total[0] * 8e-6 / seconds:.0f} Mb/s, wireguard-go at the gateway")
