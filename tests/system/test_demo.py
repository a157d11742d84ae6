# SPDX-License-Identifier: MIT
"""`make demo` as people run it: what it prints, how long it takes, and that it leaves nothing behind."""

import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from world import topology
from world.processes import wait_until
from world.published import DEMO
from world.record import BASE, PINS, UAPI_SOCKETS, runs

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
LIMIT_S = 30
WANTED = [f"ok {service.name} via {gateway} client {topology.USER}"
          for service in DEMO for gateway in topology.GATEWAYS]


class Demo:
    """A run of scripts/demo with its output in a file."""

    def __init__(self, directory, *options):
        self.log = directory / "demo.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([TREE / "scripts/demo", *options], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def output(self):
        return self.log.read_text(encoding="utf-8")

    def wait_for(self, pattern):
        """The first match, as soon as it is printed."""
        return wait_until(f"{pattern} printed", lambda: re.search(pattern, self.output), timeout_s=LIMIT_S)

    def run_id(self):
        return self.wait_for(r"kk-([0-9a-f]{4})-")[1]

    def wait(self):
        return self.process.wait(LIMIT_S + 15)


@pytest.fixture(name="start")
def make_start(tmp_path):
    """Starts a demo; whatever the test does, its world does not outlive it."""
    demos = []

    def start(*options):
        directory = tmp_path / str(len(demos))
        directory.mkdir()
        demos.append(Demo(directory, *options))
        return demos[-1]
    yield start
    ids = {found[1] for demo in demos if (found := re.search(r"kk-([0-9a-f]{4})-", demo.output))}
    for demo in demos:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()
    for record in runs():
        if record.id in ids:
            record.take_down()


def left_of(run_id):
    """Everything on the machine that bears the mark of a run."""
    left = [str(path) for path in (*pathlib.Path("/run/netns").glob(f"kk-{run_id}-*"), *BASE.glob(run_id),
                                   *UAPI_SOCKETS.glob(f"k{run_id}*"), *PINS.glob(f"demo-{run_id}-*"))]
    marks = (f"kk-{run_id}-".encode(), f"{BASE}/{run_id}".encode(), f"k{run_id}".encode())
    for cmdline in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = cmdline.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(mark in text for mark in marks):
            left.append(text.replace(b"\0", b" ").decode(errors="replace"))
    return left


def test_demo_shows_every_service_in_time(start):
    began = time.monotonic()
    demo = start()
    assert demo.wait() == 0, demo.output
    took_s = time.monotonic() - began
    assert demo.output.splitlines()[-len(WANTED):] == WANTED
    assert took_s < LIMIT_S
    assert left_of(demo.run_id()) == []


@pytest.mark.parametrize("number,moment", [
    (signal.SIGINT, "network namespaces"), (signal.SIGINT, "kkagentd on"), (signal.SIGTERM, "via gw2"),
    (signal.SIGHUP, "kkctl service add"),
])
def test_demo_interrupted_leaves_nothing(start, number, moment):
    demo = start()
    run_id = demo.run_id()
    demo.wait_for(moment)
    os.kill(demo.process.pid, number)
    os.kill(demo.process.pid, number)
    assert demo.wait() != 0
    assert left_of(run_id) == []
    assert demo.output.splitlines()[-1] == "FAILED interrupted"


def test_next_demo_clears_up_after_a_crash(start):
    crashed = start()
    run_id = crashed.run_id()
    crashed.wait_for("postgres via gw1")
    crashed.process.kill()
    crashed.process.wait()
    assert left_of(run_id)
    following = start()
    following.wait_for(f"cleared up what run {run_id} had left")
    assert left_of(run_id) == []
    assert following.wait() == 0, following.output


def test_kept_world_stays_until_taken_down(start):
    kept = start("--keep")
    assert kept.wait() == 0, kept.output
    run_id = kept.run_id()
    assert kept.output.splitlines()[-len(WANTED):] == WANTED
    # What it says to try next works as it stands.
    for line in kept.output.splitlines():
        if "curl" in line or line.endswith(" status") or " service list" in line or " sessions " in line:
            subprocess.run(line, shell=True, check=True, stdout=subprocess.DEVNULL, timeout=20)
    assert f"scripts/demo --down {run_id}" in kept.output
    # Another demo beside it neither minds it nor clears it up.
    assert start().wait() == 0
    assert left_of(run_id)
    subprocess.run([TREE / "scripts/demo", "--down", run_id], check=True, timeout=30)
    assert left_of(run_id) == []


def test_failure_shows_in_lines_and_status(start, monkeypatch, tmp_path):
    """A demo that cannot start a program says FAILED, ends with 1 and clears up."""
    monkeypatch.setenv("KK_BUILD", str(tmp_path))
    demo = start()
    assert demo.wait() == 1
    assert demo.output.splitlines()[-1].startswith("FAILED ")
    assert left_of(demo.run_id()) == []
