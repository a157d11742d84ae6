# SPDX-License-Identifier: MIT
"""The product on Debian's kernels, with what only they have: kernel WireGuard, their verifier, modules."""

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


def cmocka(machine, *programs, timeout_s=120):
    """Runs them in one machine: all tests pass, none is left out."""
    script = "".join(f"{program}\n" for program in programs)
    output = machine.ok("sh", "-exc", f"exec 2>&1\n{script}", timeout_s=timeout_s)
    assert output.count("[  PASSED  ]") == len(programs), output
    assert "SKIPPED" not in output, output


def test_wgctl(on_kernel):
    """lib/wgctl with the kernel's WireGuard, wg(8) as the witness; and the walk that both back ends go."""
    cmocka(on_kernel, "build/vm/test_wgctl_kernel", "build/unit/test_wgctl_engine")


def test_bpf(on_kernel):
    """The programs pass this kernel's verifier, and their packet cases come out as everywhere."""
    programs = sorted(f"build/unit/{source.stem}" for source in (TREE / "tests/unit").glob("test_bpf_*.c"))
    assert programs
    cmocka(on_kernel, *programs)
