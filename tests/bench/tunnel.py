#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Benchmark of kkwg beside another userspace WireGuard (make bench-tunnel).

    namespace a                          namespace b
    iperf3, rr -- TUN -- engine -- veth -- veth -- engine -- TUN -- iperf3, rr
                10.99.0.1                                   10.99.0.2

Each round builds a fresh world for each engine in turn, so that drift of the machine meets all of
them alike. Ratios are taken within a round; their median and range are reported.

Environment: PEER (default wireguard-go), OURS (default build/kkwg), ROUNDS (5), SECONDS (4), ONLY
(comma-separated lines), IDLE_PEERS (1000).
"""
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
OURS = os.environ.get("OURS", os.path.join(ROOT, "build/kkwg"))
PEER = os.environ.get("PEER", "wireguard-go")
RR = os.environ.get("RR", os.path.join(ROOT, "build/bench/rr"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("SECONDS", "4"))
IDLE_PEERS = int(os.environ.get("IDLE_PEERS", "1000"))
LINES = ["tcp1", "tcp4", "udp64", "udp1400", "idle", "loaded", "peers"]
ONLY = [x for x in os.environ.get("ONLY", ",".join(LINES)).split(",") if x]
TICK = os.sysconf("SC_CLK_TCK")


def run(*cmd, stdin=None, check=True, timeout=60):
    p = subprocess.run(cmd, input=stdin, text=True, capture_output=True, timeout=timeout)
    if check and p.returncode:
        raise RuntimeError(f"{' '.join(cmd)}: {p.stderr.strip() or p.stdout.strip()[-400:]}")
    return p.stdout.strip()


def wait_for(condition, what, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(0.02)


class Engine:
    """One end: a namespace, an engine process and its interface."""

    def __init__(self, world, side, command):
        self.ns = f"kkb{world.id}{side}"
        self.iface = f"kb{world.id}{side}"[:15]
        self.address = f"10.99.0.{1 if side == 'a' else 2}"
        self.outer = f"192.0.2.{1 if side == 'a' else 2}"
        self.private = run("wg", "genkey")
        self.public = run("wg", "pubkey", stdin=self.private)
        self.process = None
        self.command = command
        run("ip", "netns", "add", self.ns)
        world.undo.append(lambda: run("ip", "netns", "del", self.ns, check=False))

    def ip(self, *args):
        return run("ip", "-n", self.ns, *args)

    def start(self, world):
        env = dict(os.environ, WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD="1", LOG_LEVEL="error")
        foreground = ["--foreground"] if "boringtun" in self.command else ["-f"]
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.ns, *shlex.split(self.command), *foreground, self.iface],
            env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        world.undo.append(self.stop)
        wait_for(lambda: os.path.exists(f"/var/run/wireguard/{self.iface}.sock"), self.iface)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def configure(self, other):
        conf = (f"[Interface]\nPrivateKey={self.private}\nListenPort=51820\n"
                f"[Peer]\nPublicKey={other.public}\nEndpoint={other.outer}:51820\n"
                f"AllowedIPs={other.address}/32\n")
        run("ip", "netns", "exec", self.ns, "wg", "setconf", self.iface, "/dev/stdin", stdin=conf)
        self.ip("addr", "add", f"{self.address}/24", "dev", self.iface)
        self.ip("link", "set", self.iface, "mtu", "1420", "up")

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self, field="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        return 0


class World:
    """Two engines of one kind that reach each other."""

    count = 0

    def __init__(self, command):
        World.count += 1
        self.id = f"{os.getpid() % 100000}{World.count % 36:x}"
        self.undo = []
        try:
            self.a = Engine(self, "a", command)
            self.b = Engine(self, "b", command)
            veth = f"v{self.id}"
            run("ip", "link", "add", veth, "netns", self.a.ns, "type", "veth", "peer", "name", veth,
                "netns", self.b.ns)
            for e in (self.a, self.b):
                e.ip("link", "set", "lo", "up")
                e.ip("addr", "add", f"{e.outer}/24", "dev", veth)
                e.ip("link", "set", veth, "up")
                e.start(self)
            self.a.configure(self.b)
            self.b.configure(self.a)
            run("ip", "netns", "exec", self.a.ns, "ping", "-c1", "-W5", self.b.address)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        while self.undo:
            self.undo.pop()()

    def background(self, engine, *cmd):
        p = subprocess.Popen(["ip", "netns", "exec", engine.ns, *cmd], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)

        def end():
            if p.poll() is None:
                p.terminate()
            p.communicate()
        self.undo.append(end)
        return p

    def listening(self, port):
        return f":{port} " in run("ip", "netns", "exec", self.b.ns, "ss", "-Hltn")

    def iperf_server(self, port):
        wait_for(lambda: not self.listening(port), "the last iperf3 to end")
        self.background(self.b, "iperf3", "-s", "-1", "-p", str(port))
        wait_for(lambda: self.listening(port), "iperf3")

    def iperf(self, *args, port=5201):
        self.iperf_server(port)
        before = self.a.cpu() + self.b.cpu()
        out = run("ip", "netns", "exec", self.a.ns, "iperf3", "-J", "-c", self.b.address, "-p",
                  str(port), "-t", str(SECONDS), *args, timeout=SECONDS + 30)
        cpu = self.a.cpu() + self.b.cpu() - before
        return json.loads(out)["end"], cpu

    def tcp(self, streams):
        end, cpu = self.iperf("-P", str(streams))
        size = end["sum_received"]["bytes"]
        return {"gbps": end["sum_received"]["bits_per_second"] / 1e9, "cpu": cpu / (size / 1e9)}

    def udp(self, size):
        """Delivered packets a second."""
        end, cpu = self.iperf("-u", "-b", "0", "-l", str(size))
        s = end["sum"]
        return {"kpps": (s["packets"] - s["lost_packets"]) / s["seconds"] / 1e3, "cpu": cpu}

    def latency(self, loaded):
        self.background(self.b, RR, "serve", self.b.address, "7000")
        wait_for(lambda: self.listening(7000), "rr")
        if loaded:
            self.iperf_server(5202)
            load = self.background(self.a, "iperf3", "-c", self.b.address, "-p", "5202", "-t",
                                   str(SECONDS + 2))
            time.sleep(1)
        out = run("ip", "netns", "exec", self.a.ns, RR, "ask", self.b.address, "7000", str(SECONDS),
                  timeout=SECONDS + 30)
        if loaded and load.poll() is not None:
            raise RuntimeError("the load ended before the measurement")
        n, p50, p99 = out.split()
        return {"n": int(n), "p50": float(p50), "p99": float(p99)}

    def idle_peers(self, n):
        """Bytes of memory that each configured idle peer costs."""
        before = self.a.memory()
        conf = "".join(f"[Peer]\nPublicKey={run('wg', 'genkey')}\nAllowedIPs=10.{100 + i // 65536}."
                       f"{i // 256 % 256}.{i % 256}/32\n" for i in range(n))
        run("ip", "netns", "exec", self.a.ns, "wg", "addconf", self.a.iface, "/dev/stdin", stdin=conf)
        time.sleep(1.2)
        end, _ = self.iperf("-P", "1", port=5203)
        return {"bytes": (self.a.memory() - before) * 1024 / n,
                "gbps": end["sum_received"]["bits_per_second"] / 1e9}


def measure(command):
    r = {}
    with World(command) as w:
        if "idle" in ONLY:
            r["idle"] = w.latency(False)
        if "tcp1" in ONLY:
            r["tcp1"] = w.tcp(1)
        if "tcp4" in ONLY:
            r["tcp4"] = w.tcp(4)
        if "udp64" in ONLY:
            r["udp64"] = w.udp(64)
        if "udp1400" in ONLY:
            r["udp1400"] = w.udp(1380)
        r["rss"] = max(w.a.memory("VmHWM"), w.b.memory("VmHWM")) / 1024
    if "loaded" in ONLY:
        with World(command) as w:
            r["loaded"] = w.latency(True)
    if "peers" in ONLY:
        with World(command) as w:
            w.tcp(1)
            r["peers"] = w.idle_peers(IDLE_PEERS)
    return r


def spread(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    engines = {"kkwg": OURS} if PEER == "none" else {"kkwg": OURS, "peer": PEER}
    for name, command in engines.items():
        version = subprocess.run([*shlex.split(command), "--version"], capture_output=True, text=True)
        print(f"# {name}: {command}: {(version.stdout or version.stderr).strip().splitlines()[:1]}")
    results = {name: [] for name in engines}
    for n in range(ROUNDS):
        order = list(engines) if n % 2 == 0 else list(engines)[::-1]
        for name in order:
            r = measure(engines[name])
            results[name].append(r)
            print(f"# round {n + 1} {name}: {json.dumps(r)}", flush=True)

    def values(name, line, key):
        return [r[line][key] for r in results[name] if line in r]

    def ratio(line, key):
        return [a / b for a, b in zip(values("kkwg", line, key), values("peer", line, key))]

    def figure(name, vs, unit, digits=3):
        if vs:
            print(f"# {name}: {spread(vs, digits)}")
            print(f"figure {name} {statistics.median(vs):.{digits}f} {unit}")

    if "peer" in engines:
        who = os.path.basename(shlex.split(PEER)[0])
        figure(f"tunnel-tcp1-vs-{who}", ratio("tcp1", "gbps"), "x")
        figure(f"tunnel-tcp4-vs-{who}", ratio("tcp4", "gbps"), "x")
        figure(f"tunnel-udp64-vs-{who}", ratio("udp64", "kpps"), "x")
        figure(f"tunnel-udp1400-vs-{who}", ratio("udp1400", "kpps"), "x")
        figure(f"tunnel-cpu-per-gb-vs-{who}", ratio("tcp1", "cpu"), "x")
        figure(f"tunnel-p50-idle-vs-{who}", ratio("idle", "p50"), "x")
        figure(f"tunnel-p50-loaded-vs-{who}", ratio("loaded", "p50"), "x")
        figure(f"tunnel-p99-loaded-vs-{who}", ratio("loaded", "p99"), "x")
        figure(f"tunnel-tcp1-1000-peers-vs-{who}", ratio("peers", "gbps"), "x")
    figure("tunnel-tcp1-gbps", values("kkwg", "tcp1", "gbps"), "Gb/s")
    figure("tunnel-cpu-per-gb-s", values("kkwg", "tcp1", "cpu"), "s")
    figure("tunnel-p50-idle-us", values("kkwg", "idle", "p50"), "us", 1)
    figure("tunnel-p50-loaded-us", values("kkwg", "loaded", "p50"), "us", 1)
    figure("tunnel-p99-loaded-us", values("kkwg", "loaded", "p99"), "us", 1)
    figure("tunnel-udp64-kpps", values("kkwg", "udp64", "kpps"), "kpps", 1)
    figure("tunnel-udp1400-kpps", values("kkwg", "udp1400", "kpps"), "kpps", 1)
    figure("tunnel-rss-mib", [r["rss"] for r in results["kkwg"]], "MiB", 2)
    figure("tunnel-bytes-per-idle-peer", values("kkwg", "peers", "bytes"), "B", 0)


if __name__ == "__main__":
    main()
