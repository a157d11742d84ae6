# SPDX-License-Identifier: MIT
"""The product on Debian's kernels, with what only they have: kernel WireGuard, their verifier, modules."""

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
