# SPDX-License-Identifier: MIT
"""scripts/vm itself: what it passes on, and that it fails where it must."""

import os
import re
import subprocess
import tempfile

import pytest

from conftest import KERNELS, TREE


def test_status_and_output(vm):
    done = vm.run("sh", "-c", "printf out; printf 'err\\n\\n' >&2; exit 42")
    assert (done.returncode, done.stdout, done.stderr) == (42, b"out", b"err\n\n")


def test_output_is_whole_and_binary(vm):
    """All bytes of 300,000 numbers and some noise, though a child of the command still holds the pipe."""
    done = vm.run("sh", "-c", "sleep 1000 & seq 300000; printf '\\377\\000\\r\\n\\004'")
    assert done.returncode == 0
    assert done.stdout == b"".join(b"%d\n" % n for n in range(1, 300001)) + b"\xff\x00\r\n\x04"


def test_command_that_is_not_there(vm):
    assert vm.run("/nonexistent/command").returncode == 127


def test_tree_is_writable_and_the_host_untouched(vm):
    with tempfile.TemporaryDirectory() as directory:
        name = os.path.join(directory, "file")
        with open(name, "w", encoding="ascii") as file:
            file.write("before")
        script = f"test $(cat {name}) = before && echo after >{name} && echo new >new && cat {name} new && pwd -P"
        done = vm.run("sh", "-c", script, cwd=directory)
        assert (done.returncode, done.stdout.decode()) == (0, f"after\nnew\n{directory}\n")
        assert os.listdir(directory) == ["file"]
        with open(name, encoding="ascii") as file:
            assert file.read() == "before"


def test_mounts(vm):
    done = vm.run("sh", "-c", "for d in /run /tmp /dev/pts /sys/fs/bpf /sys/fs/cgroup; do stat -fc %T $d; done; id -u")
    assert done.stdout.decode().split() == ["tmpfs", "tmpfs", "devpts", "bpf_fs", "cgroup2fs", "0"]


@pytest.mark.parametrize("line", [
    "WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 f+0x1/0x2", "BUG: unable to handle page fault", "kernel BUG at mm/x.c:1!",
    "KASAN: slab-out-of-bounds", "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    "unregister_netdevice: waiting for wg0 to become free. Usage count = 2",
    "WARNING: possible circular locking dependency detected", "rcu: INFO: rcu_preempt self-detected stall on CPU"])
def test_alarm(line):
    """The patterns; that one of them ends a run is the next test's."""
    patterns = [text for text in (TREE / "scripts/vm.d/alarms").read_text(encoding="ascii").splitlines()
                if text and not text.startswith("#")]
    assert any(re.search(pattern, line) for pattern in patterns)


def test_kernel_complaint(vm):
    """A command that succeeds is not enough; the log is shown."""
    done = vm.run("sh", "-c", "echo 'WARNING: CPU: 0 PID: 1 at a test' >/dev/kmsg; echo done")
    assert (done.returncode, done.stdout) == (123, b"done\n")
    assert b"vm: the kernel complained" in done.stderr and b"at a test" in done.stderr


def test_panic(vm):
    done = vm.run("sh", "-c", "echo c >/proc/sysrq-trigger; sleep 60")
    assert done.returncode == 123
    assert b"Kernel panic - not syncing: sysrq triggered crash" in done.stderr


def test_lost_marker(vm):
    """Off in the middle, or a log that never says how the command ended."""
    done = vm.run("sh", "-c", "echo o >/proc/sysrq-trigger; sleep 60")
    assert done.returncode == 125
    assert b"vm: | " in done.stderr


def test_time_limit(vm):
    done = vm.run("sleep", "600", options=("--timeout", "15"))
    assert done.returncode == 124
    assert b"not done after 15 s" in done.stderr


def test_time_limit_of_endless_output(vm):
    done = vm.run("yes", options=("--timeout", "20"))
    assert done.returncode == 124
    assert b"not done after 20 s" in done.stderr


def test_output_that_nobody_reads():
    with subprocess.Popen([TREE / "scripts/vm", KERNELS[0], "--", "yes"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"y\n"
        run.stdout.close()
        assert b"nobody reads our output" in run.stderr.read()
        assert run.wait(60) == 125


def test_kernel_that_does_not_exist():
    done = subprocess.run([TREE / "scripts/vm", "1.2.3", "--", "true"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False)
    assert done.returncode == 125
    assert b"no package linux-image-1.2.3" in done.stderr


def test_tools_that_are_not_there(tmp_path):
    done = subprocess.run([TREE / "scripts/vm", "6.1", "--", "true"], stderr=subprocess.PIPE, check=False,
                          env={"PATH": str(tmp_path)})
    assert done.returncode == 125
    assert b"no qemu-system-x86_64, " in done.stderr and b"scripts/bootstrap" in done.stderr


@pytest.mark.parametrize("argv", [(), ("6.1",), ("6.1", "--"), ("6.1", "--nonsense", "--", "true")])
def test_usage(argv):
    assert subprocess.run([TREE / "scripts/vm", *argv], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          check=False).returncode == 2
