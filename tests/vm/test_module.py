# SPDX-License-Identifier: MIT
"""kakuremichi.ko on Debian's kernels: built without a warning, as a host of the core, by netlink, with traffic."""

import os
import pathlib
import re
import shutil
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


def test_sparse(on_kernel):
    """Neither the compiler with all its warnings nor sparse has anything to say: byte orders, address spaces, locks."""
    directory = kernel(on_kernel.kver)
    shutil.rmtree(TREE / "build/sparse/kmod" / directory.name, ignore_errors=True)
    made = subprocess.run(["make", "-s", "module", f"KVER={directory.name}", f"KDIR={directory}/build", "B=build/sparse", "C=2",
                           "W=1"], cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    said = [line for line in made.stdout.splitlines() if not line.startswith("Skipping BTF generation")]
    assert made.returncode == 0 and not said, made.stdout


def cmocka(machine, module, *programs, timeout_s, options=()):
    load = "" if programs == ("test_module_traffic",) else f"insmod {module}"
    less = "export KK_STREAM_PACKETS=12000 KK_BULK=200000" if machine.kver == "debug" else ""
    output = machine.ok("sh", "-exc", f"exec 2>&1\n{less}\nexport KK_MODULE={module}\nmodprobe nf_defrag_ipv6\n{load}\n" +
                        "\n".join(f"build/vm/{program}" for program in programs), timeout_s=timeout_s, options=options)
    assert output.count("[  PASSED  ]") == len(programs), output
    assert "SKIPPED" not in output, output


@pytest.mark.check
@pytest.mark.debug
def test_host_and_netlink(on_kernel, module):
    """The packet cases and the stream of mutated ones, byte for byte; the family's answers and refusals."""
    # The debug kernel does not count memory by group; there test_debug.py makes each allocation fail.
    netlink = "test_module_netlink" + (" test_memory_is_short" if on_kernel.kver == "debug" else "")
    cmocka(on_kernel, module, "test_module_packets", netlink, timeout_s=400)


@pytest.mark.check
@pytest.mark.debug
def test_traffic(on_kernel, module):
    """Through kernel WireGuard, in both families, with fragments; unloaded under it a hundred times."""
    cmocka(on_kernel, module, "test_module_traffic", timeout_s=900)


@pytest.mark.check
@pytest.mark.debug
def test_fuzz(on_kernel, module):
    """Random and damaged netlink messages from several processes at once, interfaces and packets meanwhile."""
    seconds = int(os.environ.get("KK_FUZZ_S", 20))
    output = on_kernel.ok("sh", "-exc", f"exec 2>&1\nmodprobe nf_defrag_ipv6\ninsmod {module}\n"
                          f"build/vm/fuzz_genl {seconds} {os.environ.get('KK_FUZZ_SEED', '')}\n",
                          timeout_s=seconds + 160)
    assert "healthy" in output, output


# The kernel asks for the module by the name of its netlink family. Among few modules: depmod reads them all.
AUTOLOAD = """exec 2>&1
modules=/lib/modules/$(uname -r)
mkdir -p /run/few/updates/dkms
cp $modules/modules.builtin $modules/modules.builtin.modinfo $modules/modules.order $(modinfo -n nf_defrag_ipv6) $(modinfo -n veth) /run/few
cp /run/host{directory}/kakuremichi.ko* /run/few/updates/dkms
mount --bind /run/few $modules
depmod
modinfo -F alias kakuremichi
modprobe -v net-pf-16-proto-16-family-kakuremichi
grep -w ^kakuremichi /proc/modules
rmmod kakuremichi
build/vm/test_module_netlink
"""


@pytest.mark.check
def test_dkms(on_kernel, tmp_path):
    """
    DKMS builds, installs and removes it, and leaves nothing; the kernel loads what it installed by itself when the
    netlink family is asked for.
    """
    directory = kernel(on_kernel.kver)
    done = subprocess.run([TREE / "tests/vm/dkms", directory, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout
    [installed] = tmp_path.iterdir()
    said = subprocess.run(["/usr/sbin/modinfo", installed], stdout=subprocess.PIPE, text=True, check=True).stdout
    info = dict(line.split(":", 1) for line in said.splitlines() if re.match(r"\w+:", line))
    info = {name: value.strip() for name, value in info.items()}
    assert info["version"] == (TREE / "VERSION").read_text().strip()
    assert info["alias"] == "net-pf-16-proto-16-family-kakuremichi"
    assert (info["name"], info["license"]) == ("kakuremichi", "GPL")
    assert info["vermagic"].startswith(f"{directory.name} ") and "nf_defrag_ipv6" in info["depends"], said
    assert info["description"] and info["author"], said
    output = on_kernel.ok("sh", "-exc", AUTOLOAD.format(directory=tmp_path), timeout_s=300)
    assert "net-pf-16-proto-16-family-kakuremichi" in output and output.count("[  PASSED  ]") == 1, output
