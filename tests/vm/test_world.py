# SPDX-License-Identifier: MIT
"""
The product in the demo world with the kernel module and the kernel's WireGuard at the gateways, and kkwg at the Agents:
kkgatewayd finds and loads the module by itself, as it does after make dkms-install.
"""

import shlex

import pytest

from test_module import module  # noqa: F401, the fixture

# One processor: see ONE in test_kernels.py.
ONE = ("--cpus", "1")
# As installed, but without depmod, which would take minutes to read all modules.
INSIDE = """exec 2>&1
cat >/etc/modprobe.d/kakuremichi.conf <<END
alias net-pf-16-proto-16-family-kakuremichi kakuremichi
install kakuremichi modprobe nf_defrag_ipv6 && insmod {module}
remove kakuremichi rmmod kakuremichi
END
echo updates/kakuremichi.ko: >>/lib/modules/$(uname -r)/modules.dep
"""
PYTEST = """exec env {environment} /usr/bin/python3 -u -B -m pytest -p no:cacheprovider -q -rs --durations=5 --timeout={limit_s} {tests}
"""
SYSTEM = "tests/system/test_world_"


def run(machine, ko, tests, limit_s, lean):
    """All of them pass, and none is left out."""
    output = machine.ok("sh", "-exc", INSIDE.format(module=ko) + PYTEST.format(
        environment="KK_WORLD_LEAN=1" if lean else "", limit_s=limit_s, tests=shlex.join(tests)),
        timeout_s=limit_s, options=ONE)
    assert " passed" in output and "skipped" not in output and "failed" not in output, output


def test_plane(on_kernel, module):  # noqa: F811
    """lib/plane with the module: loaded by itself, taken over from, exchanged, another gateway's, asked for or not."""
    output = on_kernel.ok("sh", "-exc", INSIDE.format(module=module) + "build/vm/test_module_plane\n", timeout_s=170,
                          options=ONE)
    assert output.count("[  PASSED  ]") == 1 and "SKIPPED" not in output, output


def test_gateways_with_the_module(on_kernel, module):  # noqa: F811
    """TCP, UDP and IPv6 through it; who says that it forwards; exchanged, taken away and restarted under traffic."""
    run(on_kernel, module, [f"{SYSTEM}module.py", f"{SYSTEM}ipv6.py", "-k", "module or test_tcp or test_udp"],
        limit_s=600, lean=True)


def test_services_ranges_changes(on_kernel, module):  # noqa: F811
    """Ranges of ports, large datagrams, both gateways at once, lists and limits, changes beside traffic, isolation."""
    run(on_kernel, module,
        [f"{SYSTEM}{name}.py" for name in ("ranges", "policy", "ipv6", "isolation", "changes", "groups", "services")] +
        ["-k", "not throughput and not proxy_protocol and not through_each_gateway and not path_mtu"],
        limit_s=890, lean=True)


def test_programs_that_people_use(on_kernel, module):  # noqa: F811
    """ssh, psql, curl and UDP through each gateway; daemons killed in the middle of scp."""
    run(on_kernel, module, [f"{SYSTEM}services.py", f"{SYSTEM}outage.py", "-k", "through_each_gateway or scp or ends"],
        limit_s=890, lean=False)


def test_xdp_beside_others(on_kernel, module):  # noqa: F811
    """Other people's XDP programs by libxdp's dispatcher and without, and ours in the driver; the module forwards behind."""
    run(on_kernel, module, [f"{SYSTEM}xdp.py"], limit_s=890, lean=True)
