# SPDX-License-Identifier: MIT
"""kkwg with four workers, however few cores there are: the peers are spread over them, and nobody outside sees it.

    hub (4 workers) --- veth n, 192.0.(100+n).0/24 --- spoke n          inner addresses 10.97.0.x, hub is .1
"""
import base64
import json
import os
import signal
import socket
import subprocess
import time

import pytest

import test_kkwg_control
import test_kkwg_flood
import test_kkwg_ingress
from test_kkwg_control import end  # noqa: F401
from kkwg_world import BUILD, KKWG, WIREGUARD_GO, End, World, run, wait_for

WORKERS = "4"
SPOKES = "bcdefg"


@pytest.fixture(autouse=True)
def four_workers(monkeypatch):
    monkeypatch.setenv("KKWG_WORKERS", WORKERS)


class Star:
    """A hub and spokes, all up. Even spokes know where the hub is, odd ones wait for it to begin."""

    def __init__(self, w, engines, hub=KKWG, port=51820, kind=End, flags=()):
        self.world = w
        self.hub = kind(w, "a", hub, flags)
        self.spokes = [End(w, side, engine) for side, engine in zip(SPOKES, engines)]
        self.hub.start()
        self.hub.inner = "10.97.0.1"
        conf = f"[Interface]\nPrivateKey={self.hub.private}\nListenPort={port}\n"
        for n, spoke in enumerate(self.spokes):
            spoke.inner = f"10.97.0.{n + 10}"
            spoke.outer, spoke.hub = f"192.0.{100 + n}.2", f"192.0.{100 + n}.1"
            run("ip", "link", "add", f"v{n}", "netns", self.hub.ns, "type", "veth", "peer", "name", "eth",
                "netns", spoke.ns)
            for end, name, address in ((self.hub, f"v{n}", spoke.hub), (spoke, "eth", spoke.outer)):
                end.ip("addr", "add", f"{address}/24", "dev", name)
                end.ip("link", "set", name, "up")
            conf += f"[Peer]\nPublicKey={spoke.public}\nAllowedIPs={spoke.inner}/32\n"
            if n % 2:
                conf += f"Endpoint={spoke.outer}:51820\n"
        self.hub.wg("setconf", self.hub.iface, "/dev/stdin", stdin=conf)
        self.open(self.hub)
        for n, spoke in enumerate(self.spokes):
            spoke.start()
            conf = (f"[Interface]\nPrivateKey={spoke.private}\nListenPort=51820\n"
                    f"[Peer]\nPublicKey={self.hub.public}\nAllowedIPs=10.97.0.0/24\n")
            if n % 2 == 0:
                conf += f"Endpoint={spoke.hub}:{port}\n"
            spoke.wg("setconf", spoke.iface, "/dev/stdin", stdin=conf)
            self.open(spoke)

    @staticmethod
    def open(end):
        end.ip("addr", "add", f"{end.inner}/24", "dev", end.iface)
        end.ip("link", "set", end.iface, "mtu", "1420", "up")

    def connect(self):
        for n, spoke in enumerate(self.spokes):
            (self.hub if n % 2 else spoke).ping(spoke.inner if n % 2 else self.hub.inner)


class Logged(End):
    """An End whose log can be read."""

    def start(self):
        self.log = os.path.join("/tmp", f"{self.iface}.log")
        self.world.undo.append(lambda: os.path.exists(self.log) and os.unlink(self.log))
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.ns, self.engine, *self.flags, "-f", self.iface],
                env=dict(os.environ, LOG_LEVEL="verbose"), stdout=subprocess.DEVNULL, stderr=log)
        self.world.undo.append(self.stop)
        wait_for(lambda: os.path.exists(self.socket), self.socket)


def iperf(server, client, address, *args, seconds=2):
    p = subprocess.Popen(["ip", "netns", "exec", server.ns, "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
    server.world.undo.append(lambda: (p.kill(), p.wait()))
    wait_for(lambda: ":5201 " in server.exec("ss", "-Hltn"), "iperf3")
    out = json.loads(client.exec("iperf3", "-J", "-t", str(seconds), "-c", address, *args, timeout=60))
    p.wait(10)
    return out["end"]


def threads(end):
    """Of the engine itself, which `ip netns exec` has become."""
    return len(os.listdir(f"/proc/{end.process.pid}/task"))


ENGINES = [KKWG, WIREGUARD_GO, WIREGUARD_GO, KKWG, KKWG]


def test_peers_of_all_workers():
    """Both roles with both engines; then from spoke to spoke, in by one worker and out by another."""
    with World() as w:
        star = Star(w, ENGINES)
        assert threads(star.hub) == int(WORKERS)
        star.connect()
        for spoke in star.spokes:
            star.hub.ping(spoke.inner, size=1392)
            spoke.ping(star.hub.inner, size=1392)
        for spoke in star.spokes[:2]:
            assert iperf(spoke, star.hub, spoke.inner, seconds=1)["sum_received"]["bytes"] > 1e6
            assert iperf(spoke, star.hub, spoke.inner, "-R", seconds=1)["sum_received"]["bytes"] > 1e6
        star.hub.exec("sysctl", "-qw", "net.ipv4.ip_forward=1")
        for a in star.spokes:
            for b in star.spokes:
                if a is not b:
                    a.ping(b.inner)
        for spoke in star.spokes:
            shown = star.hub.peer(spoke.public)
            assert int(shown["rx"]) > 1000 and int(shown["tx"]) > 1000
            assert time.time() - int(shown["handshake"]) < 120
            assert shown["endpoint"] == f"{spoke.outer}:51820"


def handed_over(end):
    """What the workers say at the end: packets handed to others, and lost."""
    end.process.terminate()
    assert end.process.wait(5) == 0
    with open(end.log, encoding="utf-8") as f:
        words = [line.split() for line in f if "handed to others" in line]
    assert len(words) == int(WORKERS)
    return sum(int(x[3]) for x in words), sum(int(x[7]) for x in words)


def test_the_kernel_brings_packets_to_their_worker():
    """Out and in: nothing but a few initiations has to be handed over, all the more no bulk."""
    with World() as w:
        star = Star(w, [KKWG] * 4, hub=KKWG, kind=Logged)
        star.connect()
        for spoke in star.spokes:
            for args in ([], ["-R"], ["-u", "-b", "20M"]):
                assert iperf(spoke, star.hub, spoke.inner, *args, seconds=1)["sum_received"]["bytes"] > 5e5
        handed, lost = handed_over(star.hub)
        assert handed <= 10 and lost == 0


def test_without_a_program_one_worker_reads():
    """The kernel lets nobody but root load one: then there are detours, but packets arrive, and in order."""
    with World() as w:
        star = Star(w, [KKWG, KKWG, KKWG], hub="setpriv", kind=Logged,
                    flags=["--bounding-set", "-bpf,-sys_admin,-perfmon", "--", KKWG])
        with open(star.hub.log, encoding="utf-8") as f:
            if "one worker reads for all" not in f.read():
                with open("/proc/sys/kernel/unprivileged_bpf_disabled", encoding="ascii") as setting:
                    assert setting.read().strip() == "0"
                pytest.skip("anybody may load BPF programs here")
        star.connect()
        for spoke in star.spokes:
            assert iperf(spoke, star.hub, spoke.inner, seconds=1)["sum_received"]["bytes"] > 5e5
            assert iperf(spoke, star.hub, spoke.inner, "-R", seconds=1)["sum_received"]["bytes"] > 5e5
        assert numbered(star.hub, star.spokes[1], 8, 500) == (8, 0)
        assert handed_over(star.hub)[0] > 100


ORDER = """
import socket, struct, sys, time
role, address, flows, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if role == "receive":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
    s.bind((address, 7000)); s.settimeout(3)
    print("ready", flush=True)
    last, got, late = {}, 0, 0
    try:
        while True:
            data, source = s.recvfrom(2048)
            n = struct.unpack_from("<I", data)[0]
            late += n <= last.get(source, -1)
            last[source] = max(n, last.get(source, -1)); got += 1
            if n % 50 == 0 and n % 500 < 200: s.sendto(data[:20], source)
    except socket.timeout:
        pass
    print(len(last), got, late)
else:
    s = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(flows)]
    for x in s: x.connect((address, 7000))
    for n in range(count):
        for i, x in enumerate(s):
            x.send(struct.pack("<I", n) + bytes(64 if (n + i) % 3 else 1300))
        if n % 8 == 0: time.sleep(0.001)
"""


def numbered(sender, receiver, flows, count):
    """Sends numbered datagrams. Returns how many flows arrived and how many datagrams came after a later one."""
    args = ["/usr/bin/python3", "-c", ORDER]
    sink = subprocess.Popen(["ip", "netns", "exec", receiver.ns, *args, "receive", receiver.inner, str(flows),
                             str(count)], stdout=subprocess.PIPE, text=True)
    sender.world.undo.append(lambda: (sink.kill(), sink.wait()))
    assert sink.stdout.readline() == "ready\n"
    sender.exec(*args, "send", receiver.inner, str(flows), str(count), timeout=60)
    seen, got, late = map(int, sink.communicate(timeout=30)[0].split())
    assert got > flows * count * 0.5
    return seen, late


def test_order_within_a_flow():
    """Numbered datagrams of many flows, long and short, both ways: none is overtaken by a later one of its own.

    Some are answered now and then, by which a kernel that chooses the queue itself moves their flow."""
    with World() as w:
        star = Star(w, [KKWG, KKWG])
        star.connect()
        for sender, receiver in ((star.hub, star.spokes[0]), (star.spokes[1], star.hub)):
            assert numbered(sender, receiver, 16, 1500) == (16, 0)


def reordering(end):
    """Times that TCP took segments for out of order rather than lost."""
    out = json.loads(end.exec("nstat", "-asj"))["kernel"]
    return sum(out.get(name, 0) for name in ("TcpExtTCPSACKReorder", "TcpExtTCPTSReorder", "TcpExtTCPRenoReorder"))


def test_parallel_streams():
    """Each flow is hashed to any queue of the interface; the hub gives it to the worker of its peer."""
    with World() as w:
        star = Star(w, [KKWG, KKWG, WIREGUARD_GO])
        star.connect()
        for spoke in star.spokes:
            for args in (["-P", "8"], ["-P", "8", "-R"]):
                end = iperf(spoke, star.hub, spoke.inner, *args)
                assert end["sum_received"]["bytes"] > 2e6
        # A thread that moves to another core may overtake itself on the veth, once in a while; with any number of workers.
        assert sum(reordering(e) for e in (star.hub, *star.spokes)) <= 5


def test_set_under_traffic():
    """Peers come and go while others' packets flow: nothing of those is lost, and get shows what set said."""
    with World() as w:
        star = Star(w, [KKWG, KKWG])
        star.connect()
        ping = subprocess.Popen(["ip", "netns", "exec", star.hub.ns, "ping", "-q", "-i", "0.02", "-c", "250",
                                 star.spokes[0].inner], stdout=subprocess.PIPE, text=True)
        w.undo.append(lambda: (ping.kill(), ping.wait()))
        server = subprocess.Popen(["ip", "netns", "exec", star.spokes[1].ns, "iperf3", "-s", "-1"],
                                  stdout=subprocess.DEVNULL)
        w.undo.append(lambda: (server.kill(), server.wait()))
        wait_for(lambda: ":5201 " in star.spokes[1].exec("ss", "-Hltn"), "iperf3")
        bulk = subprocess.Popen(["ip", "netns", "exec", star.hub.ns, "iperf3", "-J", "-P", "4", "-t", "5", "-c",
                                 star.spokes[1].inner], stdout=subprocess.PIPE, text=True)
        w.undo.append(lambda: (bulk.kill(), bulk.wait()))
        keys = [run("wg", "genkey").strip() for _ in range(12)]
        keys = [run("wg", "pubkey", stdin=k).strip() for k in keys]
        rounds = 0
        while ping.poll() is None:
            conf = "".join(f"[Peer]\nPublicKey={k}\nAllowedIPs=10.96.{rounds % 200}.{n}/32\n"
                           for n, k in enumerate(keys))
            star.hub.wg("addconf", star.hub.iface, "/dev/stdin", stdin=conf)
            shown = star.hub.wg("show", star.hub.iface, "allowed-ips")
            assert shown.count("10.96.") == len(keys) and all(k in shown for k in keys)
            for k in keys:
                star.hub.wg("set", star.hub.iface, "peer", k, "remove")
            assert len(star.hub.wg("show", star.hub.iface, "peers").split()) == 2
            rounds += 1
        out = ping.communicate(timeout=10)[0]
        assert "250 received" in out, out
        assert rounds >= 3
        got = json.loads(bulk.communicate(timeout=20)[0])["end"]
        assert got["sum_received"]["bytes"] > 2e6


def test_port_mark_and_roaming():
    """A new port, a mark, and an address that changes are for all workers."""
    with World() as w:
        star = Star(w, [KKWG, KKWG, KKWG])
        star.connect()
        hub = star.hub
        assert len(hub.exec("ss", "-Hlun4", "sport = :51820").splitlines()) == int(WORKERS)
        hub.wg("set", hub.iface, "listen-port", "6000", "fwmark", "7")
        assert not hub.exec("ss", "-Hlun", "sport = :51820").strip()
        assert len(hub.exec("ss", "-Hlun4", "sport = :6000").splitlines()) == int(WORKERS)
        # Each spoke hears from the new port and follows.
        for spoke in star.spokes:
            hub.ping(spoke.inner)
            spoke.ping(hub.inner)
            wait_for(lambda s=spoke: s.peer(hub.public)["endpoint"] == f"{s.hub}:6000", "the new port")
        assert "fwmark: 0x7" in hub.wg("show", hub.iface)
        # A port that somebody has is refused, and everything stays as it was.
        taken = subprocess.Popen(["ip", "netns", "exec", hub.ns, "/usr/bin/python3", "-c", """
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("", 6001)); print("ready", flush=True); time.sleep(60)
"""], stdout=subprocess.PIPE, text=True)
        w.undo.append(lambda: (taken.kill(), taken.wait()))
        assert taken.stdout.readline() == "ready\n"
        p = subprocess.run(["ip", "netns", "exec", hub.ns, "wg", "set", hub.iface, "listen-port", "6001", "fwmark",
                            "9"], capture_output=True, text=True, timeout=10)
        assert p.returncode and "in use" in p.stderr, p.stderr
        assert hub.wg("show", hub.iface, "listen-port").strip() == "6000"
        assert hub.wg("show", hub.iface, "fwmark").strip() == "0x7"
        # The spokes move to other addresses.
        for n, spoke in enumerate(star.spokes):
            spoke.ip("addr", "del", f"{spoke.outer}/24", "dev", "eth")
            spoke.ip("addr", "add", f"192.0.{100 + n}.77/24", "dev", "eth")
            wait_for(lambda s=spoke: s.ping(hub.inner, check=False, wait=1), "the way from the new address")
            assert hub.peer(spoke.public)["endpoint"].split(":")[0] == f"192.0.{100 + n}.77"
            hub.ping(spoke.inner)


def memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def test_a_thousand_peers():
    with World() as w:
        star = Star(w, [KKWG, WIREGUARD_GO])
        star.connect()
        hub = star.hub
        before = memory(hub.process.pid)
        # Any 32 bytes are a public key.
        conf = "".join(f"[Peer]\nPublicKey={key(n)}\nAllowedIPs=10.95.{n // 250}.{n % 250}/32\n" for n in range(1000))
        hub.wg("addconf", hub.iface, "/dev/stdin", stdin=conf)
        shown = hub.wg("show", hub.iface, "allowed-ips")
        assert len(shown.splitlines()) == 1002 and shown.count("10.95.") == 1000
        if "san" not in os.path.basename(BUILD):
            assert (memory(hub.process.pid) - before) / 1000 < 4
        star.connect()
        for spoke in star.spokes:
            assert iperf(spoke, hub, spoke.inner, seconds=1)["sum_received"]["bytes"] > 1e6
        for n in range(0, 1000, 100):
            hub.wg("set", hub.iface, "peer", key(n), "remove")
        assert len(hub.wg("show", hub.iface, "peers").split()) == 992
        star.connect()


def key(n):
    return base64.b64encode(n.to_bytes(31, "little") + b"\x01").decode()


def test_ends_cleanly():
    """SIGTERM, a removed interface, kill -9 under load: no thread stays behind, and all can begin anew."""
    for how in ("term", "link", "kill"):
        with World() as w:
            star = Star(w, [KKWG])
            star.connect()
            hub, spoke = star.hub, star.spokes[0]
            bulk = subprocess.Popen(["ip", "netns", "exec", hub.ns, "iperf3", "-u", "-b", "200M", "-t", "20", "-c",
                                     spoke.inner], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            w.undo.append(lambda p=bulk: (p.kill(), p.wait()))
            time.sleep(0.3)
            if how == "term":
                hub.process.terminate()
            elif how == "link":
                hub.ip("link", "del", hub.iface)
            else:
                hub.process.kill()
            status = hub.process.wait(5)
            assert status == (-signal.SIGKILL if how == "kill" else 0)
            assert os.path.exists(hub.socket) == (how == "kill")
            assert hub.iface not in hub.ip("link")
            assert not hub.exec("ss", "-Hlun", "sport = :51820").strip()
            # A dead one's socket is in nobody's way.
            if how == "kill":
                hub.process = subprocess.Popen(["ip", "netns", "exec", hub.ns, KKWG, "-f", hub.iface])
                wait_for(lambda: hub.iface in hub.ip("link") and
                         hub.wg("show", hub.iface, "listen-port", check=False), "the new one")


@pytest.mark.parametrize("test", [
    test_kkwg_ingress.test_flow_moves_when_its_gateway_dies, test_kkwg_ingress.test_forged_segments_move_nothing,
    lambda: test_kkwg_ingress.test_flow_follows_its_gateway(KKWG, "flag")],
    ids=["gateway-dies", "forged", "follows"])
def test_reply_to_ingress(test):
    """A flow comes through peers of several workers, and its answers are read by any of them."""
    test()


def test_flood():
    """What counts load and hands out cookies is one for all workers: the limits are those of the interface."""
    test_kkwg_flood.test_cost("handshakes")
    test_kkwg_flood.test_new_session_during_a_flood()


def test_existing_interface_with_many_queues(monkeypatch):
    """Made by somebody else for more queues than a single worker has."""
    monkeypatch.setenv("KKWG_WORKERS", "1")
    with World() as w:
        a, b = End(w, "a", KKWG), End(w, "b", KKWG)
        w.link(a, b)
        a.ip("tuntap", "add", a.iface, "mode", "tun", "multi_queue")
        for end, other in ((a, b), (b, a)):
            end.start()
            end.configure([(other, f"{other.outer4}:51820", "")])
            end.up()
        assert threads(a) == 1
        a.ping(b.inner4, count=3)
        b.ping(a.inner4, count=3)


def test_existing_interface_with_one_queue():
    """Made by somebody else without further queues: one worker does it all, and says so."""
    with World() as w:
        a = Logged(w, "a", KKWG)
        a.ip("tuntap", "add", a.iface, "mode", "tun")
        a.start()
        wait_for(lambda: threads(a) == 1, "one thread")
        with open(a.log, encoding="utf-8") as f:
            assert f"{a.iface} has a single queue: there will be one worker, not 4" in f.read()


@pytest.mark.parametrize("value,argument", [("5x", None), ("0", None), ("9", None), (None, "9"), (None, "0")])
def test_bad_number(value, argument):
    env = dict(os.environ)
    env.pop("KKWG_WORKERS")
    if value:
        env["KKWG_WORKERS"] = value
    p = subprocess.run([KKWG, "-f", *(["--workers", argument] if argument else []), "kknone"], env=env,
                       capture_output=True, text=True, timeout=10)
    assert p.returncode == 2
    assert (value or argument) in p.stderr and "1 to 8" in p.stderr, p.stderr


def test_threads_do_not_race():
    """The same under ThreadSanitizer: traffic both ways and across, set and get, port, interface down and up."""
    tsan = os.path.join(os.path.dirname(BUILD) if BUILD.endswith("/san") else BUILD, "tsan", "kkwg")
    if not os.path.exists(tsan):
        pytest.skip("make TSAN=1 kkwg has not been run")
    with World() as w:
        log = f"/tmp/kkwg-tsan-{w.id}"
        os.environ["TSAN_OPTIONS"] = f"log_path={log} exitcode=66"
        w.undo.append(lambda: os.environ.pop("TSAN_OPTIONS"))
        star = Star(w, [KKWG, WIREGUARD_GO, KKWG, KKWG], hub=tsan)
        hub = star.hub
        star.connect()
        hub.exec("sysctl", "-qw", "net.ipv4.ip_forward=1")
        for spoke in star.spokes:
            iperf(spoke, hub, spoke.inner, "-P", "4", seconds=1)
        star.spokes[0].ping(star.spokes[1].inner, count=5)
        sinks = [subprocess.Popen(["ip", "netns", "exec", hub.ns, "iperf3", "-s", "-1", "-p", str(5300 + n)],
                                  stdout=subprocess.DEVNULL) for n in range(len(star.spokes))]
        w.undo.append(lambda: [(p.kill(), p.wait()) for p in sinks])
        time.sleep(0.5)
        bulk = [subprocess.Popen(["ip", "netns", "exec", s.ns, "iperf3", "-P", "4", "-t", "6", "-p", str(5300 + n), "-c",
                                  hub.inner], stdout=subprocess.DEVNULL) for n, s in enumerate(star.spokes)]
        w.undo.append(lambda: [(p.kill(), p.wait()) for p in bulk])
        for n in range(20):
            hub.wg("set", hub.iface, "peer", key(n), "allowed-ips", f"10.94.0.{n}/32")
            hub.wg("show", hub.iface)
            if n >= 5:
                hub.wg("set", hub.iface, "peer", key(n - 5), "remove")
        hub.wg("set", hub.iface, "listen-port", "6000", "fwmark", "0")
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(hub.socket)
            s.sendall(b"set=1\nreply_to_ingress=true\n\n")
            assert s.recv(100) == b"errno=0\n\n"
        hub.ping(star.spokes[1].inner, check=False)
        hub.ip("link", "set", hub.iface, "down")
        time.sleep(0.3)
        hub.ip("link", "set", hub.iface, "up")
        for spoke in star.spokes[1::2]:
            hub.ping(spoke.inner)
        hub.process.terminate()
        status = hub.process.wait(20)
        reports = [name for name in os.listdir("/tmp") if name.startswith(os.path.basename(log) + ".")]
        text = "".join(open(os.path.join("/tmp", name), encoding="utf-8").read() for name in reports)
        for name in reports:
            os.unlink(os.path.join("/tmp", name))
        assert not reports and status == 0, text[:4000]


@pytest.mark.parametrize("test", [test_kkwg_control.test_every_key, test_kkwg_control.test_port_in_use,
                                  test_kkwg_control.test_several_requests_on_one_connection_in_pieces,
                                  test_kkwg_control.test_wg_tools])
def test_control_socket(end, test):
    """It answers as that of a single worker does."""
    test(end)


def test_every_thread_drops_privileges():
    with World() as w:
        a = End(w, "a", KKWG)
        a.start()
        wait_for(lambda: threads(a) == int(WORKERS), "the threads")
        kept = set()
        for task in os.listdir(f"/proc/{a.process.pid}/task"):
            with open(f"/proc/{a.process.pid}/task/{task}/status", encoding="ascii") as f:
                kept.add(tuple(line.split()[1] for line in f if line.startswith(("CapEff", "CapPrm", "NoNewPrivs"))))
        # CAP_NET_BIND_SERVICE and CAP_NET_ADMIN.
        assert kept == {("0000000000001400", "0000000000001400", "1")}
