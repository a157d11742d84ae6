#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Benchmark of a published TCP port, end to end (make bench-publish).

    user 198.51.100.1 -- 198.51.100.2 gateway 192.0.2.1 -- 192.0.2.2 agent, with the targets

Two such lanes stand at the same time and are measured in turn, so that drift of the machine meets both alike:
  ours    kkgatewayd (tc) and its tunnel, kkagentd with kkwg and kkrelay, told by kkcontrold
  theirs  HAProxy in TCP mode on the gateway, which connects to the target through PEER, a userspace WireGuard
          (default wireguard-go), MTU 1420 as ours

Throughput is what iperf3's receiver got. CPU is that of the whole machine (/proc/stat: all but idle, iowait and
steal), so it holds everything on the way, softirqs and both ends, and whatever else runs: the machine has to be quiet.
--cpu cgroup counts the processes on the way, both ends and the softirq threads only: for a machine that is not.
Request and response are 64 bytes each. A new connection counts when it was answered once. Ratios are taken within a
round; medians and ranges of the rounds are reported.
"""
import argparse
import json
import os
import pathlib
import shlex
import signal
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
TREE = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TREE / "tests"))

from world import netns  # noqa: E402
from world.processes import Process, wait_until  # noqa: E402
from world.record import UAPI_SOCKETS, Record, sweep  # noqa: E402

BUILD = pathlib.Path(os.environ.get("KK_BUILD", TREE / "build")).resolve()
USER, GATEWAY = "198.51.100.1", "198.51.100.2"
INNER_GATEWAY, INNER_AGENT = "192.0.2.1", "192.0.2.2"
BULK, RR, CONNECT = 5201, 7000, 7001
PARALLEL = 16
SERVERS = {"bulk": ["iperf3", "-s", "-p", str(BULK)],
           "rr": [str(BUILD / "bench/rr"), "serve", "0.0.0.0", str(RR)],
           "connect": [str(BUILD / "bench/connect"), "serve", "0.0.0.0", str(CONNECT)]}
PORTS = {"bulk": BULK, "rr": RR, "connect": CONNECT}


TICK = os.sysconf("SC_CLK_TCK")


def busy_seconds():
    """CPU seconds that the machine has worked so far."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _idle, _iowait, irq, softirq = (int(n) for n in stat.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICK


class Cgroup:
    """CPU seconds of this process and all that it starts, by a cgroup (v1's cpuacct or v2), and of the softirq threads."""

    def __init__(self):
        old = pathlib.Path("/sys/fs/cgroup/cpuacct")
        self.is_old = old.exists()
        self.parent = old if self.is_old else pathlib.Path("/sys/fs/cgroup")
        self.group = self.parent / f"kk-bench-{os.getpid()}"
        self.group.mkdir()
        self.enter(self.group)
        self.threads = [path.parent / "stat" for path in pathlib.Path("/proc").glob("[0-9]*/comm")
                        if path.read_text(encoding="ascii", errors="replace").startswith("ksoftirqd/")]

    @staticmethod
    def enter(group):
        (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    def seconds(self):
        if self.is_old:
            used = int((self.group / "cpuacct.usage").read_text(encoding="ascii")) / 1e9
        else:
            used = int((self.group / "cpu.stat").read_text(encoding="ascii").split()[1]) / 1e6
        for path in self.threads:
            used += sum(map(int, path.read_text(encoding="ascii").rpartition(")")[2].split()[11:13])) / TICK
        return used

    def close(self):
        self.enter(self.parent)
        self.group.rmdir()


class Lane:
    """The namespaces and the targets; who publishes them is for the subclasses."""

    def __init__(self, record, name, cpu):
        self.record, self.name, self.cpu = record, name, cpu
        self.user, self.gateway, self.agent = (record.namespace(f"{name}-{who}") for who in ("user", "gw", "agent"))
        for namespace in (self.user, self.gateway, self.agent):
            netns.add(namespace)
            for key, value in (("tcp_tw_reuse", "1"), ("ip_local_port_range", "1024 65535")):
                netns.sh(*netns.within(namespace, "sh", "-c", f"echo {value} > /proc/sys/net/ipv4/{key}"))
        netns.add_cable(self.gateway, "public", self.user, "eth0", peer_address=f"{USER}/24")
        netns.sh("ip", "-n", self.gateway, "addr", "add", f"{GATEWAY}/24", "dev", "public")
        netns.add_cable(self.gateway, "inside", self.agent, "eth0", peer_address=f"{INNER_AGENT}/24")
        netns.sh("ip", "-n", self.gateway, "addr", "add", f"{INNER_GATEWAY}/24", "dev", "inside")
        netns.sh("ip", "-n", self.agent, "route", "add", "default", "via", INNER_GATEWAY)
        for server, argv in SERVERS.items():
            Process(record, f"{name}-{server}", self.agent, argv)
        self.publish()
        for port in PORTS.values():
            wait_until(f"{name}: port {port}", lambda p=port: self.answers(p))

    def publish(self):
        raise NotImplementedError

    def answers(self, port):
        argv = netns.within(self.user, "timeout", "1", "bash", "-c", f"exec 3<>/dev/tcp/{GATEWAY}/{port}")
        return subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def run(self, *argv):
        return netns.sh(*netns.within(self.user, *argv))

    def bulk(self, seconds, *options):
        """Gb/s received, and CPU seconds per GB."""
        for _ in range(5):
            time.sleep(0.3)  # until iperf3 has seen the end of the last one
            before = self.cpu()
            argv = ["iperf3", "-J", "-c", GATEWAY, "-p", str(BULK), "-t", str(seconds), *options]
            done = subprocess.run(netns.within(self.user, *argv), stdout=subprocess.PIPE, text=True, check=False,
                                  timeout=seconds + 30)
            cpu = self.cpu() - before
            answer = json.loads(done.stdout)
            if "error" not in answer:
                received = answer["end"]["sum_received"]
                return {"gbps": received["bits_per_second"] / 1e9, "cpu": cpu, "gb": received["bytes"] / 1e9}
        raise RuntimeError(f"{self.name}: iperf3: {answer['error']}")

    def measure(self, seconds):
        result = {"up": self.bulk(seconds), "down": self.bulk(seconds, "-R")}
        count, p50, p99 = self.run(str(BUILD / "bench/rr"), "ask", GATEWAY, str(RR), str(seconds)).split()
        result["rr"] = {"n": int(count), "p50": float(p50), "p99": float(p99)}
        done, failed, took = self.run(str(BUILD / "bench/connect"), "open", GATEWAY, str(CONNECT), str(seconds),
                                      str(PARALLEL)).split()
        result["connect"] = {"per_s": int(done) / float(took), "failed": int(failed)}
        both = (result["up"], result["down"])
        result["cpu_per_gb"] = sum(one["cpu"] for one in both) / sum(one["gb"] for one in both)
        return result


class Ours(Lane):
    xdp = "auto"

    def publish(self):
        control = self.record.directory / "control"
        self.kkctl_options = ["--config", str(control / "admin.json"), "--json"]
        self.daemon("kkcontrold", "kkcontrold", self.gateway, "--state", control, "--listen", f"{INNER_GATEWAY}:8443")
        self.join("kkgatewayd", self.gateway, self.kkctl("gateway", "add", "gw", "--address", GATEWAY))
        self.join("kkagentd", self.agent, self.kkctl("agent", "add", "agent"))
        self.daemon("kkgatewayd", "kkgatewayd", self.gateway, "run", "--state", self.record.directory / "kkgatewayd",
                    "--public-interface", "public", "--address", GATEWAY,
                    "--tunnel-interface", self.record.interface("g"), "--pin-dir", self.record.pin_dir("g"),
                    "--xdp", self.xdp)
        self.daemon("kkagentd", "kkagentd", self.agent, "run", "--state", self.record.directory / "kkagentd",
                    "--run-dir", self.record.directory / "agent-run", "--netns", self.record.namespace("tun"),
                    "--tunnel-interface", self.record.interface("a"))
        for name, port in PORTS.items():
            self.kkctl("service", "add", name, "--agent", "agent", "--tcp", str(port), "--target", f"127.0.0.1:{port}")

    def daemon(self, name, program, namespace, *argv):
        Process(self.record, name, namespace, [str(BUILD / program), *map(str, argv)], notify=True).ready()

    def kkctl(self, *argv):
        return json.loads(netns.sh(*netns.within(self.gateway, str(BUILD / "kkctl"), *self.kkctl_options, *argv)))

    def join(self, program, namespace, added):
        netns.sh(*netns.within(namespace, str(BUILD / program), "join", added["join_token"], "--state",
                               str(self.record.directory / program)))


HAPROXY = """
global
  maxconn 4000
defaults
  mode tcp
  maxconn 4000
  option splice-auto
  timeout connect 5s
  timeout client 60s
  timeout server 60s
"""


class Theirs(Lane):
    engine = "wireguard-go"

    def publish(self):
        keys = {side: self.new_key() for side in ("gw", "agent")}
        for side, namespace, address, other in (("gw", self.gateway, "10.99.0.1", "agent"),
                                                ("agent", self.agent, "10.99.0.2", "gw")):
            self.start_tunnel(side, namespace, address, keys[side][0], keys[other][1])
        config = HAPROXY + "".join(
            f"listen {name}\n  bind {GATEWAY}:{port}\n  server target 10.99.0.2:{port}\n" for name, port in PORTS.items())
        path = self.record.directory / "haproxy.cfg"
        path.write_text(config, encoding="ascii")
        Process(self.record, "haproxy", self.gateway, ["haproxy", "-db", "-f", str(path)])

    @staticmethod
    def new_key():
        private = netns.sh("wg", "genkey")
        return private.strip(), netns.sh("wg", "pubkey", input=private).strip()

    def start_tunnel(self, side, namespace, address, private, peer):
        interface = self.record.interface(f"t{side[0]}")
        command = shlex.split(self.engine)
        foreground = "--foreground" if "boringtun" in command[0] else "-f"
        Process(self.record, f"engine-{side}", namespace, [*command, foreground, interface],
                env={"WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1", "LOG_LEVEL": "error"})
        wait_until(f"the engine of {side}", (UAPI_SOCKETS / f"{interface}.sock").exists)
        config = f"[Interface]\nPrivateKey={private}\nListenPort=51820\n[Peer]\nPublicKey={peer}\nAllowedIPs=10.99.0.0/24\n"
        if side == "agent":
            config += f"Endpoint={INNER_GATEWAY}:51820\nPersistentKeepalive=25\n"
        netns.sh(*netns.within(namespace, "wg", "setconf", interface, "/dev/stdin"), input=config)
        netns.sh("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", interface)
        netns.sh("ip", "-n", namespace, "link", "set", interface, "mtu", "1420", "up")


def version(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return (done.stdout.strip().splitlines() or ["?"])[0]


def background():
    """The share of the machine that others use while we do nothing."""
    before, start = busy_seconds(), time.monotonic()
    time.sleep(1)
    return (busy_seconds() - before) / (time.monotonic() - start) / os.cpu_count()


def short(result):
    return json.dumps({key: {k: round(v, 2) for k, v in value.items()} if isinstance(value, dict) else round(value, 2)
                       for key, value in result.items()})


def figure(name, values, unit, digits=2):
    print(f"# {name}: median of {len(values)} rounds, {min(values):.{digits}f} to {max(values):.{digits}f}")
    return f"figure {name} {statistics.median(values):.{digits}f} {unit}"


def report(ours, theirs):
    def of(results, *path):
        values = results
        for key in path:
            values = [value[key] for value in values]
        return values

    def ratio(*path):
        return [a / b for a, b in zip(of(ours, *path), of(theirs, *path))]

    for name, results in (("ours", ours), ("theirs", theirs)):
        if results:
            print(f"# {name}: CPU s/GB up "
                  f"{statistics.median(r['up']['cpu'] / r['up']['gb'] for r in results):.2f} down "
                  f"{statistics.median(r['down']['cpu'] / r['down']['gb'] for r in results):.2f}, p99 "
                  f"{statistics.median(of(results, 'rr', 'p99')):.0f} us")
    lines = [figure("publish-up-gbps", of(ours, "up", "gbps"), "Gb/s"),
             figure("publish-down-gbps", of(ours, "down", "gbps"), "Gb/s"),
             figure("publish-cpu-per-gb-s", of(ours, "cpu_per_gb"), "s")]
    if theirs:
        lines += [figure("publish-up-vs-haproxy", ratio("up", "gbps"), "x"),
                  figure("publish-down-vs-haproxy", ratio("down", "gbps"), "x"),
                  figure("publish-cpu-per-gb-vs-haproxy", ratio("cpu_per_gb"), "x", 3)]
    lines += [figure("publish-rr-p50-us", of(ours, "rr", "p50"), "us", 1),
              figure("publish-rr-p99-us", of(ours, "rr", "p99"), "us", 1)]
    if theirs:
        lines += [figure("publish-rr-p50-vs-haproxy", ratio("rr", "p50"), "x", 3)]
    lines += [figure("publish-conns-per-s", of(ours, "connect", "per_s"), "1/s", 0)]
    if theirs:
        lines += [figure("publish-conns-vs-haproxy", ratio("connect", "per_s"), "x")]
    print("\n".join(lines), flush=True)


def bench(record, options, cpu):
    lanes = {"ours": Ours(record, "o", cpu)}
    if Theirs.engine != "none":
        lanes["theirs"] = Theirs(record, "t", cpu)
    results = {"ours": [], "theirs": []}
    for number in range(options.rounds):
        for name in list(lanes) if number % 2 == 0 else reversed(list(lanes)):
            noise = background()
            result = lanes[name].measure(options.seconds)
            results[name].append(result)
            print(f"# round {number + 1} {name}: {short(result)}, before it others used {noise:.0%} of the machine",
                  flush=True)
    report(results["ours"], results["theirs"])


def interrupted(*_):
    sys.exit(130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="for each measurement")
    parser.add_argument("--xdp", choices=("auto", "native", "generic", "off"), default=Ours.xdp,
                        help="where the gateway checks packets, as kkgatewayd has it")
    parser.add_argument("--cpu", choices=("machine", "cgroup"), default="machine", help="whose CPU seconds count")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("must be root, to make network namespaces")
    Theirs.engine = os.environ.get("PEER", Theirs.engine)
    Ours.xdp = options.xdp
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    print(f"# ours: {version(str(BUILD / 'kkagentd'), '--version')}; theirs: {version('haproxy', '-v')}, "
          f"{version(*shlex.split(Theirs.engine), '--version') if Theirs.engine != 'none' else 'none'}; "
          f"kernel {os.uname().release}, {os.cpu_count()} CPUs; CPU seconds of the {options.cpu}; "
          f"XDP {options.xdp}", flush=True)
    sweep()
    record = Record.new()
    group = Cgroup() if options.cpu == "cgroup" else None
    try:
        bench(record, options, group.seconds if group else busy_seconds)
    except BaseException:
        if sys.exc_info()[0] is not SystemExit:
            for log in sorted((record.directory / "log").glob("*")):
                print(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-10:]))
        raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        record.take_down()
        if group:
            group.close()


if __name__ == "__main__":
    main()
