# SPDX-License-Identifier: MIT
"""Gateways that forward by the kernel module: who says so, and that nobody notices when it is exchanged."""

import os
import pathlib
import signal

import pytest

from world import netns, topology
from world.processes import wait_until
from world.published import DEMO
from world.traffic import QUIET_S, DatagramStream, Stream, connect, receive_exactly


def is_installed():
    modules = pathlib.Path("/lib/modules") / os.uname().release / "modules.dep"
    return modules.exists() and "/kakuremichi.ko" in modules.read_text(encoding="utf-8")


UDP = next(service for service in DEMO if service.name == "udp")
pytestmark = pytest.mark.skipif(not is_installed(), reason="kakuremichi.ko is not installed here: see make check-vm")


def report(product, gateway, part="dataplane"):
    nodes = {node["name"]: node for node in product.kkctl("status")["gateways"]}
    return (nodes[gateway].get("report") or {}).get(part) or {}


def wait_for(product, kind, gateways=topology.GATEWAYS):
    wait_until(f"forwarding by {kind}",
               lambda: all(report(product, gateway).get("kind") == kind for gateway in gateways))


def datapath(world, gateway, *argv):
    return world.product.kkctl("datapath", *argv, "--pin-dir", str(world.record.pin_dir(gateway)), namespace=gateway)


def inbound(world, gateway):
    return next(counter["packets"] for counter in datapath(world, gateway, "stats")["counters"]
                if counter["reason"] == "inbound")


@pytest.fixture(name="streams")
def make_streams(world, product, echo):
    """Connections and datagrams through both gateways, of which none may be lost."""
    wait_for(product, "module")
    tcp = [Stream(world.network["user"], address, 7000) for address in topology.GATEWAYS.values()]
    udp = [DatagramStream(world.network["user"], address, 7000) for address in topology.GATEWAYS.values()]
    yield
    for stream in tcp:
        assert stream.stop() < QUIET_S
    assert [stream.stop() for stream in udp] == [0, 0]


def test_module_and_kernel_wireguard(world, product, gateway):
    """What status, show, stats and trace say, and a packet that proves it."""
    wait_for(product, "module")
    assert "kernel module, version" in report(product, gateway)["reason"]
    assert report(product, gateway, "tunnel")["kind"] == "kernel"
    shown = datapath(world, gateway, "show")
    assert shown["host"]["kind"] == "module" and shown["xdp"]["mode"] == "generic"
    assert any(listener["address"] == topology.GATEWAYS[gateway] and listener["port"] == UDP.port
               for listener in shown["listeners"])
    before = inbound(world, gateway)
    assert world.attempt(UDP, gateway) == topology.USER
    assert inbound(world, gateway) > before
    trace = datapath(world, gateway, "trace", "udp", f"{topology.USER}:4000",
                     f"{topology.GATEWAYS[gateway]}:{UDP.port}")
    assert "kernel module: tunnel (inbound)" in trace["steps"] and trace["verdict"] == "tunnel"


def test_exchanged_under_traffic(world, product, echo, streams):
    """As after an upgrade: the module leaves, eBPF goes on, the next one is filled and takes over."""
    netns.sh("modprobe", "-r", "kakuremichi")
    wait_for(product, "tc")
    for gateway, address in topology.GATEWAYS.items():
        assert "was unloaded" in report(product, gateway)["reason"]
        with connect(world.network["user"], address, 7000) as client:
            assert receive_exactly(client, 8) == echo.greeting
    netns.sh("modprobe", "kakuremichi")
    wait_for(product, "module")
    assert world.attempt(UDP, "gw2") == topology.USER


def test_daemon_dies_and_is_back(world, product, streams):
    product.daemons["gw1"].stop(signal.SIGKILL)
    assert datapath(world, "gw1", "show")["host"]["kind"] == "module"
    assert world.attempt(UDP, "gw1") == topology.USER
    product.start_node("gw1")
    product.wait_connected("gw1")
    wait_for(product, "module")


def test_ebpf_asked_for(world, product, streams):
    def restart(*options):
        product.daemons["gw1"].stop()
        product.start_node("gw1", *options)
        product.wait_connected("gw1")

    restart("--datapath", "bpf")
    try:
        wait_for(product, "tc", ["gw1"])
        assert report(product, "gw1")["reason"] == "eBPF: asked for by --datapath bpf"
        assert world.attempt(UDP, "gw1") == topology.USER
    finally:
        restart()
    wait_for(product, "module")
