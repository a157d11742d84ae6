# SPDX-License-Identifier: MIT
"""What goes on while a part of the product is gone: K2, K5, X7."""

import hashlib
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

from world import netns, topology
from world.processes import PATIENCE, wait_until
from world.published import DEMO, ssh_command
from world.record import UAPI_SOCKETS, end
from world.traffic import QUIET_S, Stream, connect, receive_exactly


# On an emulated processor with fewer programs: test_world_services tries them all.
KINDS = [service for service in DEMO if PATIENCE == 1 or service.name in ("web", "udp")]


def try_all(world, echo, gateways=topology.GATEWAYS):
    """New connections of every kind."""
    for gateway in gateways:
        for service in KINDS:
            world.attempt(service, gateway)
        with connect(world.network["user"], topology.GATEWAYS[gateway], 7000) as client:
            assert receive_exactly(client, 8) == echo.greeting


@pytest.fixture(name="streams")
def make_streams(world, echo):
    """Connections through both gateways that have to go on without a pause."""
    streams = [Stream(world.network["user"], address, 7000) for address in topology.GATEWAYS.values()]
    yield streams
    for stream in streams:
        assert stream.stop() < QUIET_S


def test_control_hangs(world, product, echo, streams):
    control = product.daemons["control"]
    control.send(signal.SIGSTOP)
    try:
        done = product.run_kkctl("status")
        assert done.returncode == 3 and len(done.stderr.splitlines()) == 1
        try_all(world, echo)
    finally:
        control.send(signal.SIGCONT)
    product.wait_connected(*topology.GATEWAYS, *world.agents)


def test_control_killed(world, product, echo, streams):
    before = product.kkctl("service", "list")
    product.daemons["control"].stop(signal.SIGKILL)
    try:
        done = product.run_kkctl("status")
        assert done.returncode == 3 and len(done.stderr.splitlines()) == 1
        try_all(world, echo)
    finally:
        product.start_control()
    product.wait_connected(*topology.GATEWAYS, *world.agents)
    assert product.kkctl("service", "list") == before
    try_all(world, echo)


@pytest.mark.parametrize("name", ["gw1", "gw2", "agent"])
def test_daemon_killed_and_restarted_during_scp(world, product, echo, streams, tmp_path, name):
    """The tunnel, the tables and the relay are not the daemon's: they go on without it and it takes them up again."""
    gateway = name if name in topology.GATEWAYS else "gw1"
    product.publish("scp", "--tcp", str(Scp.PORT), "--target", "127.0.0.1:22")
    try:
        with Scp(world, topology.GATEWAYS[gateway], tmp_path) as scp:
            scp.wait_under_way()
            product.daemons[name].stop(signal.SIGKILL)
            try_all(world, echo)
            product.start_node(name)
            product.wait_connected(name)
            assert scp.running(), "scp was too quick to show anything"
            scp.let_go()
            assert scp.finish() == scp.digest
        try_all(world, echo)
    finally:
        product.kkctl("service", "rm", "scp")


class Scp:
    """Copies a file to the Agent's machine, slowly until it is let go."""

    PORT = 2223
    LENGTH, RATE = (48 << 20, 1500) if PATIENCE == 1 else (8 << 20, 150)
    SLOWLY = f"""
    table ip slowly {{
        chain output {{
            type filter hook output priority filter
            tcp dport {PORT} limit rate over {RATE} kbytes/second burst 100 kbytes drop
        }}
    }}"""

    def __init__(self, world, address, directory):
        self.namespace = world.network["user"]
        self.source, self.copy = directory / "source", directory / "copy"
        content = os.urandom(1 << 20) * (self.LENGTH >> 20)
        self.source.write_bytes(content)
        self.digest = hashlib.sha256(content).hexdigest()
        argv = ssh_command(world, address)
        options = argv[argv.index("ssh") + 1:-1]
        port = options.index("-p")
        options[port:port + 2] = ["-P", str(self.PORT), "-o", f"HostKeyAlias=[{address}]:2222"]
        netns.sh(*netns.within(self.namespace, "nft", "-f", "-"), input=self.SLOWLY)
        self.slow = True
        self.process = subprocess.Popen(
            netns.within(self.namespace, "scp", "-q", *options, str(self.source), f"{argv[-1]}:{self.copy}"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.let_go()

    def let_go(self):
        if self.slow:
            netns.sh(*netns.within(self.namespace, "nft", "delete", "table", "ip", "slowly"))
            self.slow = False

    def running(self):
        return self.process.poll() is None

    def wait_under_way(self):
        wait_until("scp under way", lambda: not self.running() or
                   self.copy.exists() and self.copy.stat().st_size > 0)

    def finish(self):
        output, _ = self.process.communicate(timeout=60 * PATIENCE)
        assert self.process.returncode == 0, output
        return hashlib.sha256(self.copy.read_bytes()).hexdigest()


def test_daemon_ends_and_comes_back(world, product, echo, streams):
    """SIGTERM likewise leaves everything that carries traffic."""
    for name in ("gw1", "agent"):
        assert product.daemons[name].stop() == 0
    try_all(world, echo)
    for name in ("gw1", "agent"):
        product.start_node(name)
    product.wait_connected("gw1", "agent")
    try_all(world, echo)


def test_tunnel_made_anew(world, product, echo, say):
    """
    A gateway's tunnel is lost with its key and its peers. The Agent, which sends nothing by itself but keepalives, asks the
    new one before that knows it; with WireGuard's own patience it would ask again after 5 s. How soon an eager end does
    is shown in the simulated time of test_wg_sim; what it comes to here depends on how busy the machine is.
    """
    assert "eager=true" in engine_settings(product.tunnels["agent"])
    took = []
    for _ in range(3):
        lose_tunnel(world, product, "gw1")
        since = time.monotonic()
        wait_until("gw1 carries traffic again", lambda: reachable(world, topology.GATEWAYS["gw1"], 0.3))
        took.append(time.monotonic() - since)
    say(f"a gateway's tunnel made anew: traffic again after {min(took):.1f} to {max(took):.1f} s")


def engine_settings(interface):
    """Of a userspace engine, by the cross-platform control socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as engine:
        engine.settimeout(10 * PATIENCE)
        engine.connect(str(UAPI_SOCKETS / f"{interface}.sock"))
        engine.sendall(b"get=1\n\n")
        answer = b""
        while not answer.endswith(b"\n\n"):
            more = engine.recv(65536)
            assert more, answer
            answer += more
    return answer.decode().splitlines()


def lose_tunnel(world, product, gateway):
    interface, namespace = product.tunnels[gateway], world.network[gateway]
    if netns.sh("ip", "-n", namespace, "-j", "link", "show", "type", "wireguard", "dev", interface) not in ("", "[]"):
        netns.sh("ip", "-n", namespace, "link", "del", interface)
        return
    for pid in netns.pids(namespace):
        if pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() == "kkwg":
            os.kill(pid, signal.SIGKILL)


def test_gateway_dies(world, product, echo):
    """The whole machine is gone: the other gateway does not notice, and takes new connections; then it comes back."""
    survivor = Stream(world.network["user"], topology.GATEWAYS["gw2"], 7000)
    namespace = world.network["gw1"]
    netns.sh("ip", "-n", namespace, "link", "set", "eth0", "down")
    end_at_once(namespace)
    try:
        with pytest.raises(OSError):
            connect(world.network["user"], topology.GATEWAYS["gw1"], 7000, timeout_s=1)
        try_all(world, echo, ["gw2"])
        wait_until("Control sees that gw1 is gone",
                   lambda: not product.kkctl("gateway", "show", "gw1")["connected"], timeout_s=60)
        assert product.kkctl("gateway", "show", "gw2")["connected"]
    finally:
        netns.sh("ip", "-n", namespace, "link", "set", "eth0", "up")
        netns.add_default_route(namespace, "198.51.100.254")
        # An interface that goes down loses its IPv6 addresses, too.
        netns.add_address6(namespace, "eth0", f"{topology.GATEWAYS6['gw1']}/64")
        netns.add_default_route(namespace, "2001:db8:198::254")
        product.start_node("gw1")
    product.wait_connected("gw1")
    assert survivor.stop() < QUIET_S
    for address in (topology.GATEWAYS["gw1"], topology.GATEWAYS6["gw1"]):
        wait_until(f"gw1 carries traffic again at {address}", lambda at=address: reachable(world, at), timeout_s=30)
    try_all(world, echo)


def end_at_once(namespace):
    for pid in netns.pids(namespace):
        os.kill(pid, signal.SIGKILL)
    end(netns.pids(namespace))


def reachable(world, address, timeout_s=1):
    try:
        with connect(world.network["user"], address, 7000, timeout_s) as client:
            return receive_exactly(client, 8)
    except OSError:
        return False
