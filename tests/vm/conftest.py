# SPDX-License-Identifier: MIT
"""Tests that start virtual machines of other kernels (scripts/vm)."""

import os
import pathlib
import platform
import subprocess

import pytest

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
# A make that is started from here has no part in the jobs of one that started us, and would say so.
for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
    os.environ.pop(name, None)
KERNELS = os.environ.get("KK_VM_KERNELS", "6.1 6.12").split()


def pytest_configure(config):
    config.addinivalue_line("markers", "check: short enough for make check")
    config.addinivalue_line("markers", "debug: on the debug kernel too (make check-debug-kernel)")
    config.addinivalue_line("markers", "debug_only: by what no other kernel has")


def pytest_collection_modifyitems(config, items):
    if KERNELS != ["debug"]:
        there = [item for item in items if item.get_closest_marker("debug_only")]
        config.hook.pytest_deselected(items=there)
        items[:] = [item for item in items if item not in there]
    if platform.machine() != "x86_64":
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"the virtual machines are x86_64, this machine {platform.machine()}"))


def pytest_generate_tests(metafunc):
    if "on_kernel" in metafunc.fixturenames:
        metafunc.parametrize("on_kernel", KERNELS, indirect=True)


class Vm:
    def __init__(self, kver):
        self.kver = kver
        # All of its checks take time and memory.
        self.slower, self.more = (5, ("--memory", "3072")) if kver == "debug" else (1, ())

    def run(self, *argv, options=(), cwd=TREE):
        """The finished process: status and both outputs, of bytes."""
        return subprocess.run([TREE / "scripts/vm", self.kver, *options, "--", *argv], cwd=cwd,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)

    def ok(self, *argv, timeout_s=120, options=()):
        """What it writes to stdout, as text; the test fails unless it ends with 0."""
        done = self.run(*argv, options=("--timeout", str(timeout_s * self.slower), *self.more, *options))
        text = done.stdout.decode(errors="replace")
        if done.returncode != 0:
            pytest.fail(f"on {self.kver}: {argv[0]}: status {done.returncode}\n{text}\n"
                        f"{done.stderr.decode(errors='replace')}", pytrace=False)
        return text


@pytest.fixture
def on_kernel(request):
    """A test that takes this runs once for each kernel."""
    return Vm(request.param)


@pytest.fixture
def vm():
    """Any kernel will do."""
    return Vm(KERNELS[0])
