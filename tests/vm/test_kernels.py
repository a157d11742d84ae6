# SPDX-License-Identifier: MIT
"""The product on Debian's kernels, with what only they have: kernel WireGuard, their verifier, modules."""

import pytest

from conftest import TREE

# What the product, its tests and its benchmarks use, or are compared with.
MODULES = """wireguard veth bridge tun dummy ifb vrf
    nf_tables nft_chain_nat nft_masq nft_ct nft_compat nft_flow_offload nf_conntrack nf_flow_table_inet
    ip_vs ip_vs_rr pktgen sch_ingress sch_fq sch_netem cls_bpf act_bpf cls_flower""".split()

USE = """set -e
ip link add wg0 type wireguard
wg set wg0 listen-port 51820 && test "$(wg show wg0 listen-port)" = 51820
ip link add v0 type veth peer name v1
tc qdisc add dev v0 clsact
ip netns add far && ip link set v1 netns far
ip netns exec far ip link show v1
nft 'add table ip t; add chain ip t c { type nat hook postrouting priority 100; }; add rule ip t c oif v0 masquerade'
ip tuntap add t0 mode tun
mkdir /sys/fs/cgroup/c /sys/fs/bpf/b
"""


def test_modules(on_kernel):
    """They load, and what the tools ask for loads by itself in a machine that has just started."""
    on_kernel.ok("sh", "-ec", USE)
    on_kernel.ok("modprobe", "-a", *MODULES)


def cmocka(machine, *programs, timeout_s):
    """Runs them in one machine: all tests pass, none is left out. The output says when each of them began."""
    steps = "".join(f'read -r now rest </proc/uptime\necho "at $now s: {program}"\n{program}\n' for program in programs)
    output = machine.ok("sh", "-ec", "exec 2>&1\n" + steps, timeout_s=timeout_s)
    groups = output.count("[==========] Running ") # one program may run several
    assert groups >= len(programs) and output.count("[  PASSED  ]") == groups, output
    assert "FAILED" not in output and "SKIPPED" not in output, output


def test_wgctl(on_kernel):
    """lib/wgctl with the kernel's WireGuard, wg(8) as the witness."""
    cmocka(on_kernel, "build/vm/test_wgctl_kernel", timeout_s=400)


def unit_tests():
    sources = sorted((TREE / "tests/unit").rglob("test_*.c"))
    return [f"build/unit/{source.relative_to(TREE / 'tests/unit').with_suffix('')}" for source in sources]


def test_unit(on_kernel):
    """Unit tests: among them tunnels and interfaces as only a kernel with modules has them. Nothing is skipped here."""
    programs = [program for program in unit_tests() if "/test_bpf_" not in program]
    assert programs
    cmocka(on_kernel, *programs, timeout_s=800)


def test_unit_bpf(on_kernel):
    """The eBPF programs under this kernel's verifier, their packet cases and streams of packets, and their loader."""
    programs = [program for program in unit_tests() if "/test_bpf_" in program]
    assert programs
    cmocka(on_kernel, *programs, timeout_s=800)


def test_gateway(on_kernel):
    """kkgatewayd with the kernel's WireGuard: traffic, changes, SIGKILL and adoption, down."""
    output = on_kernel.ok("/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-k",
                          "kernel and (killed or rejected or down)", "tests/system/test_gateway.py", timeout_s=500)
    assert "3 passed" in output and "skipped" not in output, output


DEMO = """
scripts/demo --keep
for ns in $(ip netns list | cut -d' ' -f1); do
	ip -n "$ns" -o link show type wireguard | sed "s/^/kernel wireguard in $ns: /"
done
"""


def test_demo(on_kernel):
    """
    The demo world. Both gateways take the kernel's WireGuard by themselves, and the Agent's userspace engine
    shakes hands with it.
    """
    output = on_kernel.ok("sh", "-ec", DEMO, timeout_s=800).splitlines()
    assert sum(line.startswith("ok ") for line in output) == 8, "\n".join(output)
    assert not any(line.startswith("FAILED") for line in output)
    for gateway in ("gw1", "gw2"):
        assert any(line.startswith("kernel wireguard in") and f"-{gateway}:" in line for line in output), "\n".join(output)


# The time inside is what its processor has done: a busy machine outside delays no handshake. One processor: the kernel changes its
# own code where packets are stamped for ping, and an emulated second one may run into that half done ("Oops: int3").
STEADY = ("--steady",)
INTEROP = """
/usr/bin/python3 -B -m pytest -p no:cacheprovider -v -rs -k "kernel" tests/system/test_kkwg_interop.py
"""


@pytest.mark.check
def test_kkwg_meets_the_kernel(on_kernel):
    """kkwg with the kernel's WireGuard in both roles: pre-shared keys, roaming, restarts, rekey."""
    script = INTEROP.replace('"kernel"', '"kernel and not traffic"')
    output = on_kernel.ok("sh", "-ec", script, timeout_s=800, options=STEADY)
    assert " passed" in output and "skipped" not in output and "failed" not in output, output


@pytest.mark.check
def test_kkwg_traffic_with_the_kernel(on_kernel):
    """And pings of every size and bulk, over IPv4 and IPv6, in a machine of its own: most of the time is spent here."""
    script = INTEROP.replace('"kernel"', '"kernel and traffic"')
    output = on_kernel.ok("sh", "-ec", script, timeout_s=800, options=STEADY)
    assert "4 passed" in output and "skipped" not in output and "failed" not in output, output


def test_kkwg_rekey(on_kernel):
    """And at the kernel's own time, 120 s, which nothing shortens."""
    script = INTEROP.replace("system/test_kkwg_interop", "long/test_kkwg_rekey")
    output = on_kernel.ok("sh", "-ec", script, timeout_s=800, options=STEADY)
    assert "2 passed" in output and "skipped" not in output, output
