# SPDX-License-Identifier: MIT
"""One demo world for the session, with two Agents. A test that changes it puts it back."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from control.daemon import Control  # noqa: E402
from world import topology  # noqa: E402
from world.record import sweep  # noqa: E402
from world.traffic import Echo  # noqa: E402
from world.world import World  # noqa: E402


@pytest.fixture(scope="session", name="world")
def make_world():
    sweep()
    # One that is up sooner, for tests that name no others: scripts/vm emulates the processor.
    few = {"services": ("udp",)} if "KK_WORLD_LEAN" in os.environ else {}
    world = World(agents=("agent", "agent2"), **few)
    try:
        try:
            world.up()
            world.publish()
        except Exception as error:
            raise RuntimeError(f"{error}\n{world.logs()}") from error
        yield world
    finally:
        world.down()


@pytest.fixture(name="product")
def give_product(world):
    """The product, which has to be as it was when the test is done."""
    yield world.product
    for process in world.product.daemons.values():
        process.check()


@pytest.fixture(scope="session", name="echo")
def make_echo(world):
    """An Echo on the Agent's machine, published as echo/tcp and echo-udp/udp on 7000."""
    server = Echo(world.network["agent"], "127.0.0.1", 7000, "agent")
    for name, protocol in (("echo", "--tcp"), ("echo-udp", "--udp")):
        world.product.publish(name, protocol, "7000", "--target", "127.0.0.1:7000")
    yield server
    server.close()


@pytest.fixture(name="say")
def make_say(capsys):
    """Prints a line into the test's output although pytest captures it."""
    def say(text):
        with capsys.disabled():
            print(f"\n  {text}", flush=True)
    return say


@pytest.fixture(params=list(topology.GATEWAYS), name="gateway")
def give_gateway(request):
    return request.param


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """What the daemons said last goes with the report of a failure."""
    report = (yield).get_result()
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and world is not None:
        report.sections.append(("logs of the world", world.logs()))


@pytest.fixture(name="control")
def make_control(tmp_path):
    """A kkcontrold alone, on loopback; its nodes are played by the test."""
    control = Control(tmp_path / "control").start()
    yield control
    control.stop()
