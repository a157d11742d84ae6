# SPDX-License-Identifier: MIT
"""
The debug kernel: that it finds what it is there for, and that each find ends a run; and the module while memory fails,
allocation by allocation.
"""

import re
import shutil
import subprocess

import pytest

from conftest import TREE
from test_module import cmocka, kernel, module  # noqa: F401, the fixture

pytestmark = [pytest.mark.debug, pytest.mark.debug_only]

# What kk_faulty is told to do wrong, and what the kernel has to say of it. What lockdep says comes before what KASAN does,
# which turns it off.
FAULTS = {
    "asleep": r"BUG: sleeping function called from invalid context at .*kk_faulty\.c",
    "rcu": r"WARNING: suspicious RCU usage",
    "refcount": r"refcount_t: addition on 0",
    "lockdep": r"WARNING: possible circular locking dependency detected",
    "overrun": r"BUG: KASAN: slab-out-of-bounds in slab_overrun",
    "freed": r"BUG: KASAN: use-after-free in used_after_free",
    "list": r"list_del corruption",
    "object": r"ODEBUG: free active .* timer_list",
    "leak": r"kmemleak: [1-9]\d* new suspected memory leaks",
}


@pytest.fixture(scope="session")
def faulty():
    """Path of tests/vm/faulty, built for the debug kernel."""
    built = TREE / "build/vm/faulty"
    shutil.rmtree(built, ignore_errors=True)
    shutil.copytree(TREE / "tests/vm/faulty", built)
    subprocess.run(["make", "-s", "-C", kernel("debug") / "build", f"M={built}", "modules"], check=True)
    return built / "kk_faulty.ko"


def complaints(log):
    """The lines that end a run."""
    alarms = [line for line in (TREE / "scripts/vm.d/alarms").read_text(encoding="ascii").splitlines()
              if line and not line.startswith("#")]
    return [line for line in log.read_text(errors="replace").splitlines()
            if any(re.search(alarm, line) for alarm in alarms)]


def test_each_fault_is_found(on_kernel, faulty, tmp_path):
    """All of them in one machine. The command ends with 0; each fault has a line of its own that ends the run."""
    done = on_kernel.run("sh", "-c", f"insmod {faulty} faults={','.join(FAULTS)} && rmmod kk_faulty",
                         options=("--timeout", "300", "--log", tmp_path / "log", "--append", "kasan_multi_shot"))
    found = complaints(tmp_path / "log")
    assert done.returncode == 123, done.stderr.decode(errors="replace")
    assert re.search(r"kk-vm: \w+ end 0$", (tmp_path / "log").read_text(errors="replace"), re.MULTILINE)
    missing = [fault for fault, words in FAULTS.items() if not any(re.search(words, line) for line in found)]
    assert not missing, found


def test_undefined_behaviour_is_found(on_kernel, faulty, tmp_path):
    """It stops the kernel there and then."""
    done = on_kernel.run("sh", "-c", f"insmod {faulty} faults=shift", options=("--timeout", "300", "--log", tmp_path / "log"))
    assert done.returncode == 123, done.stderr.decode(errors="replace")
    text = (tmp_path / "log").read_text(errors="replace")
    assert re.search(r"invalid opcode", text) and re.search(r"RIP: 0010:shifted_too_far", text), text


def test_nothing_is_found_where_nothing_is(on_kernel, faulty):
    """The same without a fault: scans for leaks and all."""
    on_kernel.ok("sh", "-c", f"insmod {faulty} && rmmod kk_faulty", timeout_s=60)


def test_memory_fails(on_kernel, module):  # noqa: F811
    """One allocation after another, of every kind of request and of a packet."""
    cmocka(on_kernel, module, "test_module_faults", timeout_s=180,
           options=("--append", "slub_debug=FZPU;FZPUA,kk_flow_entry"))


def test_memory_fails_for_a_namespace(on_kernel, module):  # noqa: F811
    """And of a new namespace. What the kernel's sysctls had no memory for is told with a trace; all else is a complaint."""
    cmocka(on_kernel, module, "test_module_faults namespace", timeout_s=120, options=("--allow", "Call Trace:"))
