# SPDX-License-Identifier: MIT
"""kakuremichi.ko on Debian's kernels: built without a warning, as a host of the core, by netlink, with traffic."""

import pathlib
import subprocess

import pytest

from conftest import TREE


def kernel(kver):
    """The directory of a kernel in the cache, with its headers."""
    return pathlib.Path(subprocess.run([TREE / "scripts/vm.d/kernel", "--headers", kver], check=True,
                                       stdout=subprocess.PIPE, text=True).stdout.strip())


@pytest.fixture
def module(on_kernel):
    """Path of the module for this kernel. Whatever the compiler says fails the test."""
    directory = kernel(on_kernel.kver)
    made = subprocess.run(["make", "-s", "module", f"KVER={directory.name}", f"KDIR={directory}/build"], cwd=TREE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    said = [line for line in made.stdout.splitlines() if not line.startswith("Skipping BTF generation")]
    assert made.returncode == 0 and not said, made.stdout
    # Without what a debugger needs: the machine reads it a hundred times.
    stripped = TREE / f"build/kmod/{directory.name}/stripped.ko"
    subprocess.run(["strip", "-g", "-o", stripped, stripped.with_name("kakuremichi.ko")], check=True)
    return stripped


def cmocka(machine, module, *programs, timeout_s):
    load = "" if programs == ("test_module_traffic",) else f"insmod {module}"
    output = machine.ok("sh", "-exc", f"exec 2>&1\nexport KK_MODULE={module}\nmodprobe nf_defrag_ipv6\n{load}\n" +
                        "\n".join(f"build/vm/{program}" for program in programs), timeout_s=timeout_s)
    assert output.count("[  PASSED  ]") == len(programs), output
    assert "SKIPPED" not in output, output


def test_host_and_netlink(on_kernel, module):
    """The packet cases, byte for byte as in the other hosts; the family's answers and refusals."""
    cmocka(on_kernel, module, "test_module_packets", "test_module_netlink", timeout_s=400)


def test_traffic(on_kernel, module):
    """Through kernel WireGuard, in both families, with fragments; unloaded under it a hundred times."""
    cmocka(on_kernel, module, "test_module_traffic", timeout_s=600)


DKMS = """exec 2>&1
mkdir -p /usr/src /var/lib/dkms
ln -sfn {headers} /lib/modules/$(uname -r)/build
make dkms-install
ip netns add x
modinfo -F version kakuremichi
dkms status
"""


def test_dkms(on_kernel):
    """DKMS builds and installs it, and the kernel loads it by itself when the netlink family is asked for."""
    directory = kernel(on_kernel.kver)
    output = on_kernel.ok("sh", "-exc", DKMS.format(headers=directory / "build") +
                          "build/vm/test_module_netlink\n", timeout_s=600)
    assert (TREE / "VERSION").read_text().strip() in output, output
    assert "installed" in output and output.count("[  PASSED  ]") == 1, output
