# SPDX-License-Identifier: MIT
"""
The product in the demo world with the kernel module and the kernel's WireGuard at the gateways, and kkwg at the Agents:
kkgatewayd finds and loads the module by itself, as it does after make dkms-install.
"""

import shlex

import pytest

from test_module import module  # noqa: F401, the fixture

# The time of these machines is what their one processor has done, so that a busy or slow machine here changes nothing for them.
STEADY = ("--steady",)
# As installed, but without depmod, which would take minutes to read all modules.
INSIDE = """exec 2>&1
cat >/etc/modprobe.d/kakuremichi.conf <<END
alias net-pf-16-proto-16-family-kakuremichi kakuremichi
install kakuremichi modprobe nf_defrag_ipv6 && insmod {module}
remove kakuremichi rmmod kakuremichi
END
echo updates/kakuremichi.ko: >>/lib/modules/$(uname -r)/modules.dep
"""
PYTEST = """exec env {environment} /usr/bin/python3 -u -B -m pytest -p no:cacheprovider -q -rs --durations=10 --timeout=600 {tests}
"""
SYSTEM = "tests/system/test_world_"
# What each of its lines asks, by one way where there are several, as an emulated processor takes its time.
FIRST_PUBLISHED_SERVICE = [SYSTEM + test for test in (
    "module.py",
    "services.py::test_service_through_each_gateway", "services.py::test_throughput",
    "services.py::test_same_udp_client_through_both_gateways", "services.py::test_datagram_larger_than_every_link",
    "changes.py::test_changes_disturb_nobody", "changes.py::test_service_of_its_life[gw1]",
    "changes.py::test_two_agents_with_the_same_target_port[gw2]",
    "isolation.py::test_agent_reaches_nothing_through_a_gateway[gw1]",
    "isolation.py::test_published_port_as_source_reaches_no_host[gw2]",
    "isolation.py::test_a_gateway_reaches_no_network_behind_the_agent[gw1]",
    "bad_input.py::test_bad_value", "bad_input.py::test_malformed_json", "bad_input.py::test_oversized_body",
    "bad_input.py::test_unknown_version_path_and_method", "bad_input.py::test_port_taken_names_the_service",
    "bad_input.py::test_port_that_the_gateway_serves_itself", "bad_input.py::test_revoked_api_key",
    "bad_input.py::test_join_tokens",
    "outage.py::test_control_killed", "outage.py::test_daemon_killed_and_restarted_during_scp[gw1]",
    "outage.py::test_daemon_killed_and_restarted_during_scp[agent]", "outage.py::test_tunnel_made_anew",
    "outage.py::test_gateway_dies")]
SANITIZED_AND_DEMO = f"""
/usr/bin/python3 -u -B -m pytest -p no:cacheprovider -q -rs --timeout=600 {SYSTEM}sanitized.py
scripts/demo
grep -w ^kakuremichi /proc/modules
"""
# What a machine takes that has others to serve, too.
LIMIT_S = 25 * 60


def run(machine, ko, tests, lean):
    """All of them pass, and none is left out."""
    output = machine.ok("sh", "-exc", INSIDE.format(module=ko) + PYTEST.format(
        environment="KK_WORLD_LEAN=1" if lean else "", tests=shlex.join(tests)),
        timeout_s=LIMIT_S, options=STEADY)
    assert " passed" in output and "skipped" not in output and "failed" not in output, output


@pytest.mark.check
def test_plane(on_kernel, module):  # noqa: F811
    """lib/plane with the module: loaded by itself, taken over from, exchanged, another gateway's, asked for or not."""
    output = on_kernel.ok("sh", "-exc", INSIDE.format(module=module) + "build/vm/test_module_plane\n", timeout_s=170,
                          options=("--cpus", "1"))
    assert output.count("[  PASSED  ]") == 1 and "SKIPPED" not in output, output


@pytest.mark.check
def test_first_published_service(on_kernel, module):  # noqa: F811
    """
    Who says that the module forwards, and that nobody notices when it is exchanged, taken away or its daemon restarted;
    ssh, psql, curl and UDP through each gateway, and how fast; services that come, change and go beside traffic; who
    reaches whom; bad input; Control and a gateway gone, a tunnel lost, daemons killed in the middle of scp.
    """
    run(on_kernel, module, FIRST_PUBLISHED_SERVICE, lean=False)


def test_all_of_it(on_kernel, module):  # noqa: F811
    """The same files, with everything that is in them."""
    run(on_kernel, module, sorted({test.partition("::")[0] for test in FIRST_PUBLISHED_SERVICE}), lean=False)


def test_sanitized_and_demo(on_kernel, module):  # noqa: F811
    """The daemons with sanitizers through a whole life; then what a newcomer sees."""
    output = on_kernel.ok("sh", "-exc", INSIDE.format(module=module) + SANITIZED_AND_DEMO, timeout_s=LIMIT_S, options=STEADY)
    assert "1 passed" in output, output
    lines = output.splitlines()
    assert sum(line.startswith("ok ") for line in lines) == 8 and not any(line.startswith("FAILED") for line in lines), output


def test_ranges_policies_groups(on_kernel, module):  # noqa: F811
    """Ranges of ports, lists and limits, both families, several Agents behind a service."""
    run(on_kernel, module, [f"{SYSTEM}{name}.py" for name in ("ranges", "policy", "ipv6", "groups")] +
        ["-k", "not path_mtu"], lean=True)


def test_xdp_beside_others(on_kernel, module):  # noqa: F811
    """Other people's XDP programs by libxdp's dispatcher and without, and ours in the driver; the module forwards behind."""
    run(on_kernel, module, [f"{SYSTEM}xdp.py"], lean=True)
