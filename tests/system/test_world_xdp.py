# SPDX-License-Identifier: MIT
"""A gateway's XDP beside and against other people's (xdp-tools), and in the driver, with traffic through all of it."""

import os
import re

import pytest

from world import netns, topology
from world.processes import wait_until
from world.published import DEMO
from world.traffic import QUIET_S, Stream, connect, receive_exactly

XDP_FILTER = "/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_all.o"
UDP = next(service for service in DEMO if service.name == "udp")
NEEDS_DISPATCHER = pytest.mark.skipif(
    "KK_VM" not in os.environ, reason="needs a kernel that allows freplace: see make check-vm")


class Nic:
    """eth0 of gw1, whose kkgatewayd is started anew with options of its own."""

    def __init__(self, world, greeting):
        self.world, self.product, self.namespace = world, world.product, world.network["gw1"]
        self.greeting = greeting

    def run(self, *argv):
        return netns.sh(*netns.within(self.namespace, *argv))

    def stop(self):
        self.product.daemons["gw1"].stop()

    def start(self, *options):
        self.product.start_node("gw1", *options)
        self.product.wait_connected("gw1")

    def report(self, mode):
        """Why XDP is as it is, once kkctl status and kkctl datapath show agree on the mode."""
        def told():
            [node] = [node for node in self.product.kkctl("status")["gateways"] if node["name"] == "gw1"]
            shown = self.product.kkctl("datapath", "show", "--pin-dir", str(self.world.record.pin_dir("gw1")),
                                       namespace="gw1")["xdp"]
            dataplane = (node.get("report") or {}).get("dataplane") or {}
            agree = dataplane.get("xdp") == shown["mode"] == mode and dataplane["xdp_reason"] == shown["reason"]
            return (shown["reason"],) if agree else None
        return wait_until(f"XDP {mode}", told)[0]

    def programs(self):
        """Names of the XDP programs, as xdp-loader lists them, without the dispatcher."""
        return re.findall(r"^ => +\d+ +(\S+)", self.run("xdp-loader", "status", "eth0"), re.MULTILINE)

    def try_it(self):
        assert self.world.attempt(UDP, "gw1") == topology.USER
        with connect(self.world.network["user"], topology.GATEWAYS["gw1"], 7000) as client:
            assert receive_exactly(client, 8) == self.greeting


@pytest.fixture(name="nic")
def give_nic(world, product, echo):
    """Afterwards it is as it was. A connection goes on all the while, whatever is at XDP."""
    nic = Nic(world, echo.greeting)
    stream = Stream(world.network["user"], topology.GATEWAYS["gw1"], 7000)
    yield nic
    nic.stop()
    nic.run("ip", "link", "set", "dev", "eth0", "xdp", "off")
    nic.run("ip", "link", "set", "dev", "eth0", "xdpgeneric", "off")
    nic.start()
    assert stream.stop() < QUIET_S


@NEEDS_DISPATCHER
def test_beside_another(nic):
    """One that is there by libxdp stays; both see every packet; when ours leaves, the other is still there."""
    nic.stop()
    nic.run("xdp-loader", "unload", "eth0", "--all")
    nic.run("xdp-filter", "load", "--mode", "skb", "eth0")
    try:
        nic.run("xdp-filter", "port", "--mode", "dst", "27016")
        nic.start()
        nic.report("generic")
        assert sorted(nic.programs()) == ["kk_xdp", "xdpfilt_alw_all"]
        nic.try_it()
        # It is the other's to drop: a rule for a published port that works a moment before and after.
        nic.run("xdp-filter", "port", "--mode", "dst", "27015")
        with pytest.raises(TimeoutError):
            UDP.probe(nic.world, topology.GATEWAYS["gw1"])
        nic.run("xdp-filter", "port", "--mode", "dst", "--remove", "27015")
        nic.try_it()
        nic.stop()
        nic.start("--xdp", "off")
        assert nic.report("off") == "XDP is switched off"
        assert nic.programs() == ["xdpfilt_alw_all"]
        nic.try_it()
    finally:
        nic.run("xdp-filter", "unload", "eth0")


def test_held_by_another(nic):
    """One that came without libxdp shares with nobody: it is named, and the edge is at tc."""
    nic.stop()
    nic.run("xdp-loader", "unload", "eth0", "--all")
    nic.run("ip", "link", "set", "dev", "eth0", "xdpgeneric", "obj", XDP_FILTER, "sec", "xdp")
    nic.start()
    assert re.search(r"XDP program xdpfilt_alw_\w* \(id \d+\) holds eth0", nic.report("off"))
    nic.try_it()


def test_in_the_driver(nic):
    """Native XDP on a veth, which generic is the better choice for, so that it has to be asked for."""
    nic.stop()
    nic.start("--xdp", "native")
    nic.report("native")
    nic.try_it()
    nic.stop()
    nic.start()
    assert "native XDP on a veth" in nic.report("generic")
    nic.try_it()
