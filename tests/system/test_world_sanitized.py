# SPDX-License-Identifier: MIT
"""The daemons built with AddressSanitizer (with its leak check) and UBSan, through a whole life, ended by SIGTERM."""

import signal

import pytest

from world import topology
from world.processes import wait_until
from world.product import TREE, Failed
from world.published import DEMO
from world.rest import Rest
from world.world import World

REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "SUMMARY: ")


@pytest.fixture(name="sanitized")
def make_sanitized():
    build = TREE / "build/san"
    assert (build / "kkcontrold").exists(), "make SAN=1 first"
    world = World(build=build)
    try:
        yield world
    finally:
        world.down()


def live(world):
    """A bit of everything that the daemons do."""
    product = world.product
    world.publish()
    for service in DEMO:
        for gateway in topology.GATEWAYS:
            world.attempt(service, gateway)
    product.kkctl("service", "set", "ssh", "--port", "2223", "--target", "127.0.0.1:22")
    product.kkctl("service", "set", "ssh", "--port", "2222", "--proxy-protocol", "on")
    product.kkctl("service", "rm", "ssh")
    with pytest.raises(Failed):
        product.kkctl("service", "add", "web", "--agent", "nobody", "--tcp", "1", "--target", "127.0.0.1:1")
    rest = Rest(product)
    for body in (b"{", b"x" * 70000, b'{"name":1}'):
        assert rest.call("POST", "/api/v1/services", body)[0] in (400, 413)
    key = product.kkctl("key", "add", "guest")["key"]
    assert Rest(product, key).call("GET", "/api/v1/status")[0] == 200
    product.kkctl("key", "rm", "guest")
    product.kkctl("agent", "add", "guest")
    product.kkctl("agent", "rm", "guest")
    product.kkctl("token", "list")


def restart(world, name, start):
    """Ends a daemon as an administrator would: status 0, which a sanitizer with something to say would change."""
    status = world.product.daemons[name].stop(signal.SIGTERM, timeout_s=20)
    assert status == 0, world.product.daemons[name].tail(40)
    start()
    world.product.wait_connected(*topology.GATEWAYS, "agent")


def test_no_leak_and_no_error(sanitized):
    world = sanitized
    world.up()
    product = world.product
    live(world)
    restart(world, "control", product.start_control)
    restart(world, "gw1", lambda: product.start_node("gw1"))
    restart(world, "agent", lambda: product.start_node("agent"))
    web = next(service for service in DEMO if service.name == "web")
    for gateway in topology.GATEWAYS:
        world.attempt(web, gateway)
    for name in ("agent", "gw1", "gw2", "control"):
        assert product.daemons[name].stop(signal.SIGTERM, timeout_s=20) == 0, product.daemons[name].tail(40)
    down(world)
    for log in (world.record.directory / "log").iterdir():
        text = log.read_text(errors="replace")
        assert not any(report in text for report in REPORTS), f"{log.name}:\n{text}"


def down(world):
    """`down` ends what outlives the daemons: relay, tunnels, programs, namespace."""
    product = world.product
    for gateway in topology.GATEWAYS:
        product.run_program(gateway, "kkgatewayd", "down", *product.gateway_options(gateway))
    product.run_program("agent", "kkagentd", "down", *product.agent_options("agent"))
    assert not product.relay_socket("agent").exists()
    wait_until("the tunnels are gone", lambda: not any(world.record.sockets()))
    assert not any(world.record.pin_dir(gateway).exists() for gateway in topology.GATEWAYS)
