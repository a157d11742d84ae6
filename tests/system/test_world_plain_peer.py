# SPDX-License-Identifier: MIT
"""A machine that has nothing but WireGuard publishes its own ports: wg-quick and wireguard-go, with what kkctl printed.

   user, gw1, gw2 as in world/topology.py        nat 192.168.77.1
                                                  |
                                                plain .12: wg-quick, an Echo, a server that sees who comes
"""

import base64
import os
import pathlib
import re
import socket
import subprocess
import threading

import pytest

from world import netns, topology
from world.processes import wait_until
from world.product import Failed
from world.traffic import Echo, Stream, connect, receive_exactly, udp_socket

ADDRESSES = [*topology.GATEWAYS.values(), *topology.GATEWAYS6.values()]
ENGINE = {"WG_QUICK_USERSPACE_IMPLEMENTATION": "wireguard-go", "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1"}


class Plain:
    def __init__(self, world):
        self.world = world
        self.namespace = world.record.namespace("plain")
        self.interface = world.record.interface("plain")
        self.file = pathlib.Path(world.record.directory) / f"{self.interface}.conf"
        netns.add(self.namespace)
        netns.add_cable(world.network["nat"], "plain", self.namespace, "eth0", bridge="lan0",
                        peer_address="192.168.77.12/24")
        netns.add_default_route(self.namespace, "192.168.77.1")

    def quick(self, verb):
        netns.sh(*netns.within(self.namespace, "wg-quick", verb, str(self.file)), env={**os.environ, **ENGINE})

    def handshakes(self):
        return [int(line.split()[1]) for line in
                netns.sh(*netns.within(self.namespace, "wg", "show", self.interface, "latest-handshakes")).splitlines()]

    def remove(self):
        self.quick("down")
        netns.sh("ip", "netns", "del", self.namespace)


@pytest.fixture(scope="module", name="plain")
def make_plain(world):
    """The peer, with what `kkctl peer add` printed and nothing else, and its services."""
    product, plain = world.product, Plain(world)
    added = product.run_kkctl("peer", "add", "--alias", "router")
    assert added.returncode == 0 and "applied on 2/2 gateways" in added.stderr, added.stderr
    plain.configuration = added.stdout
    plain.file.write_text(added.stdout, encoding="utf-8")
    plain.file.chmod(0o600)
    plain.quick("up")
    plain.address = product.kkctl("peer", "show", "router")["addresses"][0]
    echo = Echo(plain.namespace, "0.0.0.0", 7, "router")
    # Echo's socket is of IPv4 alone.
    with netns.entered(plain.namespace):
        seen = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
    seen.settimeout(10)
    product.publish("wiki", "--tcp", "8088", "--target", "80", agent="router")
    product.publish("plain-echo", "--tcp", "7007", "--target", f"{plain.address}:7", agent="router")
    product.publish("plain-udp", "--udp", "7007", "--target", "localhost:7", agent="router")
    wait_until("handshakes with both gateways", lambda: len(plain.handshakes()) == 2 and all(plain.handshakes()))
    yield plain, seen
    for name in ("wiki", "plain-echo", "plain-udp"):
        product.kkctl("service", "rm", name)
    seen.close()
    echo.close()
    plain.remove()
    product.kkctl("peer", "remove", "router")


@pytest.mark.parametrize("address", ADDRESSES)
def test_published_on_both_gateways_and_families(world, plain, address):
    """The peer sees the gateway's own address in its /24, and a port of those that are for translated flows."""
    peer, seen = plain
    gateway = next(name for name in topology.GATEWAYS if address in (topology.GATEWAYS[name], topology.GATEWAYS6[name]))
    index = world.product.kkctl("gateway", "show", gateway)["index"]
    with connect(world.network["user"], address, 8088) as client:
        server, (source, port, *_) = seen.accept()
        with server:
            sender = threading.Thread(target=server.sendall, args=(b"x" * 1000000 + b"end",), daemon=True)
            sender.start()
            assert receive_exactly(client, 1000003).endswith(b"end")
            sender.join(10)
    subnet = peer.address.rpartition(".")[0]
    if ":" in address:
        shown = world.product.kkctl("peer", "show", "router")["gateways"]
        assert source == next(item["addresses"][1] for item in shown if item["name"] == gateway)
    else:
        assert source == f"::ffff:{subnet}.{index}"
    assert 16384 <= port < 32768


def test_udp_and_fragments(world, plain, gateway):
    with udp_socket(world.network["user"], timeout_s=5) as client:
        for data in (b"hello", os.urandom(20000)):
            client.sendto(data, (topology.GATEWAYS[gateway], 7007))
            assert client.recv(65536) == b"router  " + data


def test_connections_outlive_the_daemon_and_changes(world, product, plain, gateway):
    stream = Stream(world.network["user"], topology.GATEWAYS[gateway], 7007)
    assert stream.greeting == b"router  "
    product.daemons[gateway].stop()
    product.kkctl("service", "set", "wiki", "--deny", "192.0.2.0/24", "--wait", "0")
    product.start_node(gateway)
    product.wait_connected(gateway)
    product.kkctl("service", "set", "wiki", "--deny", "none")
    assert stream.stop() < 4


def test_refused_closed_and_limited(world, product, plain):
    """The peer's own refusal comes back; what the service does not let in does not get there."""
    product.publish("nobody", "--tcp", "7099", "--target", "99", agent="router")
    try:
        with pytest.raises(ConnectionRefusedError):
            connect(world.network["user"], topology.GATEWAYS["gw1"], 7099)
    finally:
        product.kkctl("service", "rm", "nobody")
    product.kkctl("service", "set", "plain-echo", "--deny", f"{topology.USER}/32")
    try:
        with pytest.raises(TimeoutError):
            connect(world.network["user"], topology.GATEWAYS["gw1"], 7007, timeout_s=1)
    finally:
        product.kkctl("service", "set", "plain-echo", "--deny", "none")
    connect(world.network["user"], topology.GATEWAYS["gw1"], 7007).close()


def test_what_is_shown(world, product, plain):
    peer, _ = plain
    listed = product.run_kkctl("peer", "list").stdout
    assert "router" in listed and peer.address in listed
    status = product.run_kkctl("status").stdout
    assert "1 plain peer" in status
    assert re.search(r"^gw1 +router ", status, re.MULTILINE), status
    assert re.search(r"^wiki +8088/tcp +router .* plain peer", product.run_kkctl("service", "list").stdout, re.MULTILINE)
    assert "the gateway's" in product.run_kkctl("service", "show", "wiki").stdout
    shown = netns.sh(*netns.within(world.network["gw1"], product.program("kkctl"), "datapath", "show", "--pin-dir",
                                   str(world.record.pin_dir("gw1"))))
    assert re.search(rf"8088/tcp .*{peer.address}:80 .*snat", shown), shown
    audit = [entry for entry in product.kkctl("audit")["items"] if entry["kind"] == "peer"]
    assert audit and audit[-1]["object"] == "router"


def test_private_key_is_kept_nowhere(world, product, plain, tmp_path):
    """Control's files have it in no form; who has it gets the same configuration again."""
    peer, _ = plain
    text = re.search(r"^PrivateKey = (.*)$", peer.configuration, re.MULTILINE).group(1)
    raw = base64.b64decode(text)
    for path in world.product.state("control").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert text.encode() not in data and raw not in data and raw.hex().encode() not in data.lower(), path
    key = tmp_path / "key"
    key.write_text(text + "\n", encoding="ascii")
    assert product.run_kkctl("peer", "config", "router", "--private-key", str(key)).stdout == peer.configuration
    without = product.run_kkctl("peer", "config", "router").stdout
    assert text not in without and "# PrivateKey = that of" in without
    key.write_text(base64.b64encode(b"x" * 32).decode(), encoding="ascii")
    refused = product.run_kkctl("peer", "config", "router", "--private-key", str(key))
    assert refused.returncode == 1 and "is not that of peer router" in refused.stderr


@pytest.mark.parametrize("argv, sentence", [
    (["service", "add", "x", "--agent", "router", "--tcp", "7100", "--target", "nas.lan:80"],
     "target: nas.lan cannot be reached through the plain peer router"),
    (["service", "add", "x", "--agent", "router", "--tcp", "7100", "--target", "80"],
     "target: service wiki leads to 80/tcp of the plain peer router already"),
    (["service", "add", "x", "--agent", "router", "--tcp", "7100-7101", "--target", "99"],
     "target: 2 ports cannot lead to one of the plain peer router"),
    (["service", "add", "x", "--agent", "router", "--tcp", "7100", "--target", "99", "--proxy-protocol"],
     "proxy_protocol: the plain peer router has nobody who would write it"),
    (["service", "add", "x", "--agent", "agent", "--agent", "router", "--tcp", "7100", "--target", "99"],
     "agents: the plain peer router shares no service with others"),
    (["peer", "add", "--alias", "router"], "name: there is already a peer router"),
    (["peer", "add", "--alias", "agent"], "name: there is already an Agent agent"),
    (["agent", "add", "router"], "name: there is already a peer router"),
    (["agent", "rm", "router"], 'there is no Agent "router"'),
    (["token", "add", "--agent", "router"], 'node: there is no Agent "router"'),
    (["peer", "remove", "router"], "peer router still has 3 services"),
    (["peer", "remove", "agent"], 'there is no peer "agent"'),
    (["peer", "add", "abc", "--alias", "y"], 'PUBKEY: "abc" is not a WireGuard key in base64'),
])
def test_refused(product, plain, argv, sentence):
    refused = product.run_kkctl(*argv)
    assert refused.returncode in (1, 2) and sentence in refused.stderr, refused.stderr
    assert product.run_kkctl("service", "show", "x").returncode == 1


def test_removed(world, product):
    """Its key is the client's own; once removed, no gateway knows it."""
    private = netns.sh("wg", "genkey").strip()
    public = subprocess.run(["wg", "pubkey"], input=private, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    answer = product.kkctl("peer", "add", public, "--alias", "own-key")
    assert "private_key" not in answer and answer["public_key"] == public
    with pytest.raises(Failed, match="public_key: another node has this key"):
        product.kkctl("peer", "add", public, "--alias", "twice")

    def known():
        return [public in netns.sh(*netns.within(world.network[name], "wg", "show", product.tunnels[name], "peers"))
                for name in topology.GATEWAYS]
    assert known() == [True, True]
    assert product.kkctl("peer", "remove", "own-key")["applied"]["acknowledged"] == 2
    assert known() == [False, False]
