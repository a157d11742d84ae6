# SPDX-License-Identifier: MIT
"""kkgatewayd alone: a scripted Control tells it what to do, an Agent made of wireguard-go and a namespace answers.

   out 203.0.113.9 user             gw 198.51.100.11                      ag 192.0.2.100
     198.51.100.5 Control  ------- eth0   kkgatewayd                       |
     192.0.2.1    ------------------------------------------------------- eth0
                                   tunnel 10.1.0.7 ==== WireGuard ======= tunnel 10.1.0.100
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import threading

import pytest

from world import netns, processes, tcx
from world.processes import Process
from world.product import default_build
from world.record import Record, start_time, sweep
from world.scripted_control import ScriptedControl

USER, CONTROL, GATEWAY, AGENT = "203.0.113.9", "198.51.100.5", "198.51.100.11", "192.0.2.100"
INDEX, WG_PORT = 7, 51821
SUBNET, AGENT_TUNNEL, GATEWAY_TUNNEL = "10.1.0.0/24", "10.1.0.100", f"10.1.0.{INDEX}"
SOCKETS = pathlib.Path("/var/run/wireguard")
PATIENCE_S = 60  # on an emulated, busy machine
ENGINE_ENV = {"WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1"}
SANITIZER = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99", "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99"}


def wait_until(what, condition):
    return processes.wait_until(what, condition, PATIENCE_S)


def key_pair():
    private = subprocess.run(["wg", "genkey"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    public = subprocess.run(["wg", "pubkey"], check=True, input=private, stdout=subprocess.PIPE, text=True).stdout
    return private, public.strip()


def engine_pid(interface):
    """Who serves an interface, and since when: the same answer means the same process."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(SOCKETS / f"{interface}.sock"))
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid = struct.unpack("3i", credentials)[0]
    return pid, start_time(pid)


class Place:
    """The three namespaces, and kkgatewayd in one of them."""

    def __init__(self, record):
        self.record = record
        self.directory = record.directory
        self.out, self.gw, self.ag = (record.namespace(name) for name in ("out", "gw", "ag"))
        self.tunnel = record.interface("g")
        self.pins = record.pin_dir("g")
        self.daemon = None
        self.kind = "userspace"
        for namespace in (self.out, self.gw, self.ag):
            netns.add(namespace)
        netns.set_forwarding(self.out)
        netns.sh("ip", "-n", self.out, "addr", "add", f"{USER}/32", "dev", "lo")
        self.plug_in("gw")
        self.plug_in("ag")
        self.control = ScriptedControl(self.out, CONTROL, 8443, self.directory)

    def plug_in(self, name):
        """The cable of a namespace, and its route."""
        namespace, near, far, route = {"gw": (self.gw, CONTROL, GATEWAY, "default"),
                                       "ag": (self.ag, "192.0.2.1", AGENT, "198.51.100.0/24")}[name]
        netns.add_cable(self.out, name, namespace, "eth0", peer_address=f"{far}/24")
        netns.sh("ip", "-n", self.out, "addr", "add", f"{near}/24", "dev", name)
        netns.sh("ip", "-n", namespace, "route", "add", route, "via", near)

    def run(self, *argv, namespace=None, check=True):
        done = subprocess.run(netns.within(namespace or self.gw, *argv), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
                              env={**os.environ, **SANITIZER})
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def kkgatewayd(self, *argv, check=True, namespace=None):
        return self.run(str(default_build() / "kkgatewayd"), *argv, check=check, namespace=namespace)

    @property
    def state(self):
        return self.directory / "gateway"

    @property
    def options(self):
        return ["--state", str(self.state), "--tunnel-interface", self.tunnel, "--pin-dir", str(self.pins),
                "--tunnel", self.kind, "--engine", "wireguard-go"]

    def join(self, *argv, token=None, check=True):
        return self.kkgatewayd("join", token or self.control.token(), "--state", str(self.state), *argv, check=check)

    def start(self):
        self.daemon = Process(self.record, "kkgatewayd", self.gw,
                              [str(default_build() / "kkgatewayd"), "run", "-v", *self.options],
                              env=SANITIZER, notify=True).ready(PATIENCE_S)
        return self.control.expect("hello")

    def stop(self, number=signal.SIGTERM):
        assert self.daemon.stop(number) == (0 if number == signal.SIGTERM else -number), self.daemon.tail(30)

    def tunnel_identity(self):
        """Another answer means that the tunnel was made anew."""
        index = json.loads(self.run("ip", "-j", "link", "show", self.tunnel).stdout)[0]["ifindex"]
        return index, engine_pid(self.tunnel) if self.kind == "userspace" else None

    def wg(self, what):
        """`wg show TUNNEL WHAT` as it is on the gateway."""
        return self.run("wg", "show", self.tunnel, what).stdout.strip()

    def addresses(self):
        return set(re.findall(r"inet (\S+)", self.run("ip", "-4", "addr", "show", "dev", self.tunnel).stdout))

    def http(self, path):
        with netns.entered(self.gw):
            connection = socket.create_connection(("127.0.0.1", 9180), timeout=5)
        with connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        head, _, body = text.partition("\r\n\r\n")
        return int(head.split()[1]), body

    def programs(self):
        """What says the names of the BPF programs at the public interface's tc: tcx, and the filters of clsact."""
        return f"{tcx.ingress(self.gw, 'eth0')} " + self.run("tc", "filter", "show", "dev", "eth0", "ingress").stdout


class Agent:
    """Its end of the tunnel: wireguard-go, and a TCP server that answers with the address that it sees."""

    def __init__(self, place):
        self.place = place
        self.private, self.public = key_pair()
        self.interface = place.record.interface("a")
        Process(place.record, "engine", place.ag, ["wireguard-go", "-f", self.interface], env=ENGINE_ENV)
        wait_until("the Agent's engine", (SOCKETS / f"{self.interface}.sock").exists)
        for words in (f"address add {AGENT_TUNNEL}/24 dev {self.interface}", f"link set {self.interface} up",
                      f"route add 203.0.113.0/24 dev {self.interface}"):
            netns.sh("ip", "-n", place.ag, *words.split())

    def connect(self, gateway_key, address=GATEWAY):
        key = self.place.directory / "agent.key"
        key.write_text(self.private, encoding="ascii")
        self.place.run("wg", "set", self.interface, "private-key", str(key), "peer", gateway_key, "endpoint",
                       f"{address}:{WG_PORT}", "allowed-ips", "0.0.0.0/0", "persistent-keepalive", "5",
                       namespace=self.place.ag)

    def serve(self, port):
        with netns.entered(self.place.ag):
            server = socket.create_server((AGENT_TUNNEL, port))
        threading.Thread(target=self.answer, args=(server,), daemon=True).start()
        return server

    @staticmethod
    def answer(server):
        while True:
            try:
                connection, peer = server.accept()
            except OSError:
                return
            threading.Thread(target=Agent._echo, args=(connection, peer), daemon=True).start()

    @staticmethod
    def _echo(connection, peer):
        # A client may end with a reset.
        with connection, contextlib.suppress(ConnectionResetError):
            connection.sendall(f"{peer[0]}\n".encode())
            while (data := connection.recv(65536)):
                connection.sendall(data)


@pytest.fixture(name="place")
def make_place():
    sweep()
    record = Record.new()
    place = None
    try:
        place = Place(record)
        yield place
    finally:
        if place:
            place.control.close()
        record.take_down()


@pytest.fixture(name="joined")
def make_joined(place):
    place.join()
    return place


@pytest.fixture(name="either", params=["userspace", "kernel"])
def make_either(joined, request):
    """With a userspace engine, and with the kernel's WireGuard where it has one."""
    joined.kind = request.param
    if joined.kind == "kernel":
        if joined.run("ip", "link", "add", "kkprobe", "type", "wireguard", check=False).returncode != 0:
            pytest.skip("this kernel has no WireGuard")
        joined.run("ip", "link", "del", "kkprobe")
    return joined


def agent_entry(key, number=5, name="home", subnet=SUBNET):
    return {"id": number, "name": name, "subnet": subnet, "public_key": key}


def service_entry(port, number=1, agent=5, protocol="tcp", agent_port=None):
    return {"id": number, "name": f"s{number}", "protocol": protocol, "port": port, "agent": agent,
            "agent_port": agent_port or port}


def snapshot(generation=1, agents=(), services=(), **self_changes):
    me = {"id": 1, "name": "gw", "index": INDEX, "address": GATEWAY, "wg_port": WG_PORT, "pool": "10.0.0.0/8"}
    return {"type": "snapshot", "epoch": "e1", "generation": generation, "self": {**me, **self_changes},
            "agents": list(agents), "services": list(services)}


def delta(start, put=None, remove=None):
    return {"type": "delta", "from": start, "generation": start + 1, "put": put or {}, "remove": remove or {}}


def accepted(place, message):
    place.control.send(message)
    assert place.control.expect("ack")["generation"] == message["generation"]


def rejected(place, message):
    place.control.send(message)
    nack = place.control.expect("nack")
    assert nack["generation"] == message["generation"]
    return nack


def open_service(place, port, timeout_s=3, address=GATEWAY):
    with netns.entered(place.out):
        client = socket.socket()
        client.settimeout(timeout_s)
        client.bind((USER, 0))
        client.connect((address, port))
    return client


def answers(place, port, address=GATEWAY):
    """Who the Agent thinks is there; None if nobody answers."""
    try:
        with open_service(place, port, 1, address) as client:
            return client.makefile().readline().strip()
    except OSError:
        return None


# Joining


def test_join_keeps_no_wireguard_key(joined):
    assert joined.control.joins == [{"secret": "c2VjcmV0", "version": joined.control.joins[0]["version"]}]
    assert (joined.state / "node.json").stat().st_mode & 0o777 == 0o600
    hello = joined.start()
    assert (hello["generation"], hello["epoch"]) == (0, None)
    assert hello["public_key"] == joined.wg("public-key")
    private = joined.wg("private-key")
    for file in joined.directory.rglob("*"):
        if file.is_file():
            assert private not in file.read_text(errors="replace"), file


def test_join_refuses(place):
    for argv, part in ((["nonsense"], "token"), ([place.control.token(role="agent")], "Agent"), ([], "TOKEN")):
        done = place.kkgatewayd("join", *argv, "--state", str(place.state), check=False)
        assert done.returncode in (1, 2) and part.lower() in done.stderr.lower(), done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not place.state.exists() or not list(place.state.iterdir())
    place.join()
    again = place.join(check=False)
    assert again.returncode == 1 and len(again.stderr.splitlines()) == 1
    place.join("--force")


# Refusals


@pytest.mark.parametrize("argv, part", [
    (["--public-interface", "nosuch0"], "nosuch0"),
    (["--address", "192.0.2.77"], "192.0.2.77"),
    (["--engine", "/nowhere/engine"], "/nowhere/engine"),
    (["--tunnel-interface", "eth0"], "eth0"),
    (["--metrics", "192.0.2.77:1"], "192.0.2.77"),
])
def test_run_refuses(joined, argv, part):
    done = joined.kkgatewayd("run", *joined.options, *argv, check=False)
    assert done.returncode == 1
    assert part in done.stderr.splitlines()[-1]
    assert "eth0" not in done.stderr or joined.run("ip", "link", "show", "eth0")
    assert joined.run("ip", "link", "show", joined.tunnel, check=False).returncode != 0
    assert not (SOCKETS / f"{joined.tunnel}.sock").exists()


def test_run_refuses_without_root_join_or_route(place):
    done = place.run("setpriv", "--reuid=65534", "--clear-groups", str(default_build() / "kkgatewayd"), "run",
                     *place.options, check=False)
    assert done.returncode == 1 and "root" in done.stderr
    done = place.kkgatewayd("run", *place.options, check=False)
    assert done.returncode == 1 and "join" in done.stderr
    place.join()
    netns.sh("ip", "-n", place.gw, "route", "del", "default")
    for command in ("run", "down"):
        done = place.kkgatewayd(command, *place.options, check=False)
        assert done.returncode == 1 and "--public-interface" in done.stderr


def test_tunnel_name_taken(joined):
    netns.sh("ip", "-n", joined.gw, "link", "add", joined.tunnel, "type", "bridge")
    for command in ("run", "down"):
        done = joined.kkgatewayd(command, *joined.options, check=False)
        assert done.returncode == 1 and f"{joined.tunnel} is taken" in done.stderr
    assert joined.run("ip", "link", "show", joined.tunnel)


def test_second_daemon_refused(joined):
    joined.start()
    for command in ("run", "down"):
        done = joined.kkgatewayd(command, *joined.options, check=False)
        assert done.returncode == 1 and "another kkgatewayd" in done.stderr
    assert joined.wg("public-key") and joined.pins.parent.exists()
    joined.daemon.check()


def test_engine_of_another_namespace_is_not_taken(joined):
    joined.start()
    joined.stop()
    key = joined.wg("public-key")
    options = [*joined.options, "--public-interface", "eth0", "--pin-dir", f"{joined.pins}-2"]
    done = joined.kkgatewayd("run", *options, namespace=joined.ag, check=False)
    assert done.returncode == 1 and "another network namespace" in done.stderr
    joined.kkgatewayd("down", *options, namespace=joined.ag)
    assert joined.wg("public-key") == key


# Configuration


def test_snapshot_and_deltas(either):
    """Peers as `wg show` sees them, addresses, and what users can reach, step by step."""
    agent = Agent(either)
    other = key_pair()[1]
    hello = either.start()
    accepted(either, snapshot(1, [agent_entry(agent.public), agent_entry(None, 6, "late", "10.2.0.0/24")],
                              [service_entry(2222)]))
    assert either.wg("allowed-ips") == f"{agent.public}\t{SUBNET}"
    assert either.wg("listen-port") == str(WG_PORT)
    assert either.addresses() == {f"{GATEWAY_TUNNEL}/24", f"10.2.0.{INDEX}/24"}
    assert either.run("sysctl", "-n", f"net.ipv4.conf.{either.tunnel}.rp_filter").stdout.strip() == "2"
    assert "mtu 1420" in either.run("ip", "link", "show", either.tunnel).stdout

    agent.connect(hello["public_key"])
    with agent.serve(2222), agent.serve(2223):
        assert wait_until("the service", lambda: answers(either, 2222)) == USER
        assert answers(either, 2223) is None
        accepted(either, delta(1, put={"services": [service_entry(2223, 2)],
                                       "agents": [agent_entry(other, 6, "late", "10.2.0.0/24")]}))
        assert answers(either, 2223) == USER
        assert answers(either, 2222) == USER
        assert f"{other}\t10.2.0.0/24" in either.wg("allowed-ips").splitlines()
        # An open connection does not notice what happens to others.
        with open_service(either, 2222) as client:
            stream = client.makefile("rwb", buffering=0)
            assert stream.readline().decode().strip() == USER
            accepted(either, delta(2, put={"services": [service_entry(80, 2, agent_port=2223)]},
                                   remove={"agents": [6]}))
            stream.write(b"still here\n")
            assert stream.readline() == b"still here\n"
        assert answers(either, 80) == USER and answers(either, 2223) is None
        assert either.wg("allowed-ips") == f"{agent.public}\t{SUBNET}"
        assert either.addresses() == {f"{GATEWAY_TUNNEL}/24"}
        accepted(either, delta(3, remove={"services": [1, 2]}))
        assert answers(either, 2222) is None and answers(either, 80) is None


def test_agent_with_a_new_key(either):
    """An Agent that starts anew has a new key; its subnet goes over to that."""
    first, second = key_pair()[1], key_pair()[1]
    either.start()
    accepted(either, snapshot(1, [agent_entry(first)]))
    accepted(either, delta(1, put={"agents": [agent_entry(second)]}))
    assert either.wg("allowed-ips") == f"{second}\t{SUBNET}"


def test_rejected_changes_change_nothing(either):
    key, other = key_pair()[1], key_pair()[1]
    either.start()
    accepted(either, snapshot(1, [agent_entry(key)], [service_entry(2222)]))
    before = either.wg("allowed-ips"), either.addresses(), either.wg("listen-port")
    with netns.entered(either.gw):
        taken = socket.create_server(("0.0.0.0", 4000))
        taken_udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        taken_udp.bind(("0.0.0.0", 4001))
    late = agent_entry(other, 6, "late", "10.2.0.0/24")
    with taken, taken_udp:
        cases = [
            ({"agents": [late], "services": [service_entry(4000, 2)]}, "port", f"4000/tcp.*process {os.getpid()}"),
            ({"agents": [late], "services": [service_entry(WG_PORT, 2, protocol="udp")]}, "port", "WireGuard"),
            ({"agents": [late], "services": [service_entry(2222, 2)]}, "port", "2222"),
            ({"agents": [late], "services": [service_entry(99, 2, agent=77)]}, "agent", "77"),
            ({"agents": [late], "services": [service_entry(99, 2, agent_port=2222)]}, "agent_port", "2222"),
            ({"agents": [agent_entry(key, 6, "late", "10.2.0.0/24")]}, "public_key", "home and late"),
            ({"agents": [late], "self": {**snapshot()["self"], "wg_port": 4001}}, "tunnel", "4001"),
            ({"agents": [late], "self": {**snapshot()["self"], "pool": "10.0.0.0/30"}}, "pool", "10.0.0.0|30"),
        ]
        for put, field, pattern in cases:
            nack = rejected(either, delta(1, put=put))
            assert nack.get("field") == field and re.search(pattern, nack["message"]), nack
            assert (either.wg("allowed-ips"), either.addresses(), either.wg("listen-port")) == before
    # On the same machine the same change is good once the port is free.
    accepted(either, delta(1, put={"agents": [late], "services": [service_entry(4000, 2)]}))


def test_wg_port_changes(either):
    either.start()
    accepted(either, snapshot(1, [agent_entry(key_pair()[1])]))
    key = either.wg("public-key")
    accepted(either, delta(1, put={"self": {**snapshot()["self"], "wg_port": WG_PORT + 1}}))
    assert either.wg("listen-port") == str(WG_PORT + 1)
    assert either.wg("public-key") == key


# Life


def test_killed_and_restarted(either):
    """The same key, the same engine, the handshake kept, and a connection that never noticed."""
    agent = Agent(either)
    hello = either.start()
    world = snapshot(1, [agent_entry(agent.public)], [service_entry(2222)])
    accepted(either, world)
    agent.connect(hello["public_key"])
    with agent.serve(2222):
        wait_until("the service", lambda: answers(either, 2222))
        identity, handshake = either.tunnel_identity(), either.wg("latest-handshakes")
        assert not handshake.endswith("\t0")
        with open_service(either, 2222) as client:
            stream = client.makefile("rwb", buffering=0)
            stream.readline()
            either.stop(signal.SIGKILL)
            stream.write(b"without a daemon\n")
            assert stream.readline() == b"without a daemon\n"
            assert answers(either, 2222) == USER
            again = either.start()
            assert (again["generation"], again["public_key"]) == (0, hello["public_key"])
            assert answers(either, 2222) == USER
            accepted(either, world)
            stream.write(b"with a new one\n")
            assert stream.readline() == b"with a new one\n"
        assert either.tunnel_identity() == identity
        assert either.wg("latest-handshakes") == handshake
        # What was changed meanwhile is made up for.
        either.stop()
        assert answers(either, 2222) == USER
        either.start()
        accepted(either, snapshot(9, [agent_entry(agent.public)]))
        assert answers(either, 2222) is None
        assert either.wg("latest-handshakes") == handshake


def test_port_taken_while_the_daemon_was_away(joined):
    """What is published goes on; a snapshot with it is no new claim."""
    joined.start()
    world = snapshot(1, [agent_entry(key_pair()[1])], [service_entry(4000)])
    accepted(joined, world)
    joined.stop()
    with netns.entered(joined.gw):
        taken = socket.create_server(("0.0.0.0", 4000))
    with taken:
        joined.start()
        accepted(joined, world)


def test_engine_dies(joined):
    """A tunnel that is lost is made anew, with a new key that Control is told."""
    key = key_pair()[1]
    hello = joined.start()
    world = snapshot(1, [agent_entry(key)])
    accepted(joined, world)
    pid, _ = engine_pid(joined.tunnel)
    os.kill(pid, signal.SIGKILL)
    again = joined.control.expect("hello")
    assert again["public_key"] != hello["public_key"]
    accepted(joined, world)
    assert joined.wg("allowed-ips") == f"{key}\t{SUBNET}"
    assert joined.wg("public-key") == again["public_key"]


def test_public_interface_made_anew(joined):
    """As a hot-plugged NIC or a restarted network: the data plane comes onto the new one, without Control."""
    agent = Agent(joined)
    hello = joined.start()
    accepted(joined, snapshot(1, [agent_entry(agent.public)], [service_entry(2222)]))
    agent.connect(hello["public_key"])
    joined.control.close()
    netns.sh("ip", "-n", joined.out, "link", "del", "gw")
    joined.plug_in("gw")
    with agent.serve(2222):
        assert wait_until("the service", lambda: answers(joined, 2222)) == USER
    assert "kk_tc_public" in joined.programs()


def test_address_changes(joined):
    agent = Agent(joined)
    hello = joined.start()
    accepted(joined, snapshot(1, [agent_entry(agent.public)], [service_entry(2222)]))
    agent.connect(hello["public_key"])
    with agent.serve(2222):
        wait_until("the service", lambda: answers(joined, 2222))
        for change in (("add", "198.51.100.12/24"), ("del", f"{GATEWAY}/24")):
            netns.sh("ip", "-n", joined.gw, "addr", change[0], change[1], "dev", "eth0")
        # Without its first address the interface has lost the second, too, unless told otherwise.
        netns.sh("ip", "-n", joined.gw, "addr", "replace", "198.51.100.12/24", "dev", "eth0")
        netns.sh("ip", "-n", joined.gw, "route", "replace", "default", "via", CONTROL)
        agent.connect(hello["public_key"], "198.51.100.12")
        assert wait_until("the service", lambda: answers(joined, 2222, "198.51.100.12")) == USER


def test_tunnel_mtu_changes(joined):
    agent = Agent(joined)
    hello = joined.start()
    accepted(joined, snapshot(1, [agent_entry(agent.public)], [service_entry(2222)]))
    agent.connect(hello["public_key"])
    def segment():
        try:
            with open_service(joined, 2222, 1, GATEWAY) as client:
                return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        except OSError:
            return None

    with agent.serve(2222):
        wait_until("the service", lambda: (segment() or 0) > 1240)
        netns.sh("ip", "-n", joined.gw, "link", "set", joined.tunnel, "mtu", "1280")
        # What the Agent's own tunnel takes has not changed: it is the gateway that says less.
        wait_until("smaller segments", lambda: 0 < (segment() or 0) <= 1240)


def test_control_gone_and_back(joined):
    joined.start()
    accepted(joined, snapshot(3, [agent_entry(key_pair()[1])], [service_entry(2222)]))
    joined.control.hang_up()
    hello = joined.control.expect("hello")
    assert (hello["generation"], hello["epoch"]) == (3, "e1")
    assert joined.http("/healthz")[0] == 200


# Reports


def test_reports(joined):
    agent = Agent(joined)
    hello = joined.start()
    accepted(joined, snapshot(1, [agent_entry(agent.public)]))
    report = joined.control.expect("report")
    assert report["dataplane"]["kind"] == "tc" and report["dataplane"]["reason"]
    assert report["tunnel"]["kind"] == "userspace" and report["tunnel"]["interface"] == joined.tunnel
    assert "userspace" in report["tunnel"]["reason"]
    assert report["ports_in_use"] == [{"protocol": "udp", "port": WG_PORT}]
    agent.connect(hello["public_key"])
    report = joined.control.expect_report(lambda message: message["peers"] and message["peers"][0]["last_handshake"])
    peer = report["peers"][0]
    assert peer["agent"] == 5 and peer["endpoint"].startswith(f"{AGENT}:")
    assert peer["rx_bytes"] > 0 and peer["tx_bytes"] > 0
    # A port that comes into use is told about at once, well before the next regular report is due.
    with netns.entered(joined.gw):
        served = [socket.create_server(("0.0.0.0", 4000)), socket.create_server(("127.0.0.1", 4001)),
                  socket.create_server((GATEWAY, 4002)),
                  socket.create_server(("::", 4003), family=socket.AF_INET6, dualstack_ipv6=True),
                  socket.create_server(("::", 4004), family=socket.AF_INET6)]
    wanted = [{"protocol": "tcp", "port": port} for port in (4000, 4002, 4003)]
    joined.control.expect_report(lambda m: [p for p in m["ports_in_use"] if p["protocol"] == "tcp"] == wanted, 4)
    for listener in served:
        listener.close()
    joined.control.expect_report(lambda m: not [p for p in m["ports_in_use"] if p["protocol"] == "tcp"], 4)


def test_metrics(joined):
    agent = Agent(joined)
    hello = joined.start()
    status, body = joined.http("/healthz")
    assert status == 200 and json.loads(body) == {"status": "ok", "control_connected": True, "generation": 0}
    accepted(joined, snapshot(4, [agent_entry(agent.public)], [service_entry(2222)]))
    agent.connect(hello["public_key"])
    with agent.serve(2222):
        wait_until("the service", lambda: answers(joined, 2222))
    status, body = joined.http("/metrics")
    assert status == 200
    values = {}
    for line in body.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) kakuremichi_\w+ .+|kakuremichi_\w+(\{[^}]*\})? -?\d+', line), line
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            assert name not in values
            values[name] = int(value)
    assert values["kakuremichi_generation"] == 4
    assert values["kakuremichi_control_connected"] == 1
    assert values["kakuremichi_agents"] == values["kakuremichi_services"] == 1
    assert values['kakuremichi_service_packets_total{service="s1",direction="in"}'] >= 3
    assert values['kakuremichi_service_bytes_total{service="s1",direction="out"}'] > 40
    assert 0 <= values['kakuremichi_peer_handshake_age_seconds{agent="home"}'] < 60
    assert values['kakuremichi_peer_bytes_total{agent="home",direction="rx"}'] > 0
    assert any(name.startswith("kakuremichi_packets_total") and "drop" in name for name in values)
    assert any(name.startswith('kakuremichi_dataplane_info{kind="tc"') for name in values)
    assert joined.http("/other")[0] == 404


# The end


def test_down(either):
    """Everything that run made is gone, and nothing else."""
    either.start()
    accepted(either, snapshot(1, [agent_entry(key_pair()[1])], [service_entry(2222)]))
    either.stop()
    pid = engine_pid(either.tunnel)[0] if either.kind == "userspace" else None
    links = set(re.findall(r"^\d+: ([^:@]+)", either.run("ip", "link").stdout, re.MULTILINE))
    assert "kk_tc_public" in either.programs() and either.pins.exists()
    either.kkgatewayd("down", *either.options)
    assert "kk_tc" not in either.programs()
    assert not either.pins.exists()
    assert not (SOCKETS / f"{either.tunnel}.sock").exists()
    wait_until("the engine's end", lambda: pid is None or start_time(pid) is None)
    assert set(re.findall(r"^\d+: ([^:@]+)", either.run("ip", "link").stdout, re.MULTILINE)) == links - {either.tunnel}
    assert (either.state / "node.json").exists()
    either.kkgatewayd("down", *either.options)
    # And it can begin again.
    either.start()
    accepted(either, snapshot(1))


# With the real Control, and the real Agent


class Real:
    """kkcontrold in out, kkagentd in ag, kkctl as the way to both."""

    def __init__(self, place):
        self.place = place
        self.directory = place.directory / "control"
        Process(place.record, "kkcontrold", place.out,
                [str(default_build() / "kkcontrold"), "--state", str(self.directory), "--listen", f"{CONTROL}:8444"],
                env=SANITIZER, notify=True).ready(PATIENCE_S)

    def kkctl(self, *argv, check=True):
        done = self.place.run(str(default_build() / "kkctl"), "--config", str(self.directory / "admin.json"), "--json",
                              *argv, namespace=self.place.out, check=check)
        return json.loads(done.stdout) if check else done

    def start_gateway(self):
        self.place.daemon = Process(self.place.record, "kkgatewayd", self.place.gw,
                                    [str(default_build() / "kkgatewayd"), "run", *self.place.options],
                                    env=SANITIZER, notify=True).ready(PATIENCE_S)

    def start_agent(self, token):
        state = ["--state", str(self.place.directory / "agent")]
        self.place.run(str(default_build() / "kkagentd"), "join", token, *state, namespace=self.place.ag)
        options = [*state, "--run-dir", str(self.place.directory / "agent-run"), "--netns",
                   self.place.record.namespace("tun"), "--tunnel-interface", self.place.record.interface("a")]
        Process(self.place.record, "kkagentd", self.place.ag, [str(default_build() / "kkagentd"), "run", *options],
                env=SANITIZER, notify=True).ready(PATIENCE_S)

    def gateway(self):
        return next(entry for entry in self.kkctl("status")["gateways"] if entry["name"] == "gw")


def test_with_the_real_control(place):
    real = Real(place)
    place.join(token=real.kkctl("gateway", "add", "gw", "--address", GATEWAY, "--wg-port", str(WG_PORT))["join_token"])
    real.start_gateway()
    wait_until("the gateway", lambda: real.gateway()["acked_generation"])
    assert real.gateway()["public_key"] == place.wg("public-key")
    real.start_agent(real.kkctl("agent", "add", "home")["join_token"])

    agent_key = wait_until("the Agent's key", lambda: real.kkctl("agent", "show", "home")["public_key"])
    # The subnet, and what it is in IPv6.
    wait_until("the peer", lambda: re.fullmatch(rf"{re.escape(agent_key)}\t{re.escape(SUBNET)} fd[0-9a-f:]+/120",
                                                place.wg("allowed-ips")))
    wait_until("the tunnel", lambda: not place.wg("latest-handshakes").endswith("\t0"))
    with netns.entered(place.ag):
        server = socket.create_server(("127.0.0.1", 4711))
    with server:
        threading.Thread(target=Agent.answer, args=(server,), daemon=True).start()
        added = real.kkctl("service", "add", "echo", "--agent", "home", "--tcp", "2222", "--target", "127.0.0.1:4711")
        assert added["applied"]["acknowledged"] == added["applied"]["gateways"] == 1
        shown = place.run(str(default_build() / "kkctl"), "--json", "datapath", "show", "--pin-dir", str(place.pins))
        assert "2222" in shown.stdout and AGENT_TUNNEL in shown.stdout
        assert answers(place, 2222)

        # The host's own ports: known to Control before, or found out by the gateway.
        with netns.entered(place.gw):
            taken = socket.create_server((GATEWAY, 4000))
        with taken:
            done = real.kkctl("service", "add", "own", "--agent", "home", "--tcp", "4000", "--target", "127.0.0.1:1",
                              check=False)
            assert done.returncode == 1 and "4000" in done.stderr + done.stdout and "gw" in done.stderr + done.stdout
            wait_until("the report", lambda: {"protocol": "tcp", "port": 4000} in
                       real.gateway()["report"]["ports_in_use"])
            done = real.kkctl("service", "add", "own", "--agent", "home", "--tcp", "4000", "--target", "127.0.0.1:1",
                              check=False)
            assert done.returncode == 1 and "4000" in done.stderr + done.stdout
        assert [service["name"] for service in real.kkctl("service", "list")["items"]] == ["echo"]

        identity, handshake = place.tunnel_identity(), place.wg("latest-handshakes")
        with open_service(place, 2222) as client:
            stream = client.makefile("rwb", buffering=0)
            stream.readline()
            place.stop(signal.SIGKILL)
            real.start_gateway()
            wait_until("the gateway", lambda: real.gateway()["connected"])
            stream.write(b"still here\n")
            assert stream.readline() == b"still here\n"
        assert place.tunnel_identity() == identity
        assert place.wg("latest-handshakes") == handshake
        assert real.gateway()["public_key"] == place.wg("public-key")
        real.kkctl("service", "rm", "echo")
        assert answers(place, 2222) is None

    place.stop()
    place.kkgatewayd("down", *place.options)
    assert not place.pins.exists() and not (SOCKETS / f"{place.tunnel}.sock").exists()
