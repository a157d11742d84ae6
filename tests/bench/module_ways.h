/* SPDX-License-Identifier: MIT */
/*
 * Ways to forward a published port, each in a network namespace of its own, so that none pays for another's hooks:
 *
 *   far ---veth--- pub (198.51.100.1)  ->  tun, which counts what comes and drops it
 *
 * and answers back, which are dropped at far.
 */
#ifndef KK_MODULE_WAYS_H
#define KK_MODULE_WAYS_H

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <linux/if_tun.h>

#include "genl/module.h"
#include "super.h"

#define WAY_LISTENERS 65535
#define WAY_AGENTS    250

enum way { MODULE, NFT, FLOWTABLE, IPVS, FORWARD, MODULE_65K, REDIRECT, N_WAYS };

struct way_setup {
	const char *name;
	const char *figure;   /* what ours is divided by; NULL: it is ours */
	uint32_t to;	      /* address that packets are sent to */
	const char *commands; /* in its namespace */
	uint32_t listeners;   /* of the module; 0: it is not in use */
};

#define DNAT                                                                                       \
	"add table ip t; add chain ip t p { type nat hook prerouting priority -100; }; "           \
	"add rule ip t p ip daddr 198.51.100.1 udp dport 27015 dnat to 10.1.0.100:27015; "         \
	"add rule ip t p ip daddr 198.51.100.1 tcp dport 27015 dnat to 10.1.0.100:27015; "
#define CONNTRACK                                                                                  \
	"sysctl -qw net.netfilter.nf_conntrack_tcp_be_liberal=1 "                                  \
	"net.netfilter.nf_conntrack_udp_timeout=600; "

static const struct way_setup ways[N_WAYS] = {
	[MODULE] = {"module", NULL, LIVE_ADDRESS, "sysctl -qw net.ipv4.ip_forward=0", 1},
	[NFT] = {"nftables DNAT", "nft", LIVE_ADDRESS, "nft '" DNAT "'; " CONNTRACK, 0},
	[FLOWTABLE] = {"nftables flowtable", "flowtable", LIVE_ADDRESS,
		       "nft '" DNAT
		       "add flowtable ip t f { hook ingress priority 0; devices = { pub, tun }; }; "
		       "add chain ip t o { type filter hook forward priority 0; }; "
		       "add rule ip t o flow add @f'; " CONNTRACK,
		       0},
	[IPVS] = {"IPVS NAT", "ipvs", LIVE_ADDRESS,
		  "for p in -t -u; do ipvsadm -A $p 198.51.100.1:27015 -s rr; "
		  "ipvsadm -a $p 198.51.100.1:27015 -r 10.1.0.100:27015 -m; done; "
		  "sysctl -qw net.ipv4.vs.sloppy_tcp=1",
		  0},
	[FORWARD] = {"plain forwarding", "forward", LIVE_AGENT, "true", 0},
	[MODULE_65K] = {"module, 65k listeners", NULL, LIVE_ADDRESS,
			"sysctl -qw net.ipv4.ip_forward=0", WAY_LISTENERS},
	/* What making packets and counting them costs alone. */
	[REDIRECT] = {"tc redirect, nothing done", NULL, LIVE_ADDRESS,
		      "tc qdisc add dev pub clsact", 0},
};

struct gateway {
	int ns;
	int tun_fd;
	uint32_t far, pub, tun;
};

/* Counts what is sent to it as dropped: a filter lets nothing in, before anything is done with it. */
static inline int way_tun(void)
{
	struct ifreq req = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = "tun"};
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC),
	    prog = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "drain", "MIT", insns, 2, NULL);

	if (fd < 0 || prog < 0 || ioctl(fd, TUNSETIFF, &req) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0 ||
	    ioctl(fd, TUNSETFILTEREBPF, &prog) < 0)
		bench_die("a tunnel that counts: %s", strerror(errno));
	close(prog);
	return fd;
}

/* What has come out: at the tunnel, or where the client is. */
static inline uint64_t way_delivered(bool answers)
{
	FILE *f = fopen("/proc/thread-self/net/dev", "re");
	unsigned long long sent, dropped, n = 0;
	char line[512], name[IFNAMSIZ + 1];

	if (!f)
		bench_die("/proc/thread-self/net/dev: %s", strerror(errno));
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " %16[^:]: %*u %*u %*u %*u %*u %*u %*u %*u %*u %llu %*u %llu",
			   name, &sent, &dropped) == 3 &&
		    !strcmp(name, answers ? "pub" : "tun"))
			n = answers ? sent : dropped;
	fclose(f);
	return n;
}

/* Where listener @i of @n leads. */
static inline uint32_t way_agent(uint32_t i, uint32_t n)
{
	return n <= 1 ? LIVE_AGENT : LIVE_AGENT + (i % WAY_AGENTS << 8);
}

static inline void way_load_module(uint32_t n)
{
	const struct kk_module_settings settings = {
		.core = live_settings,
		.public_ifindex = if_nametoindex("pub"),
		.tunnel_ifindex = if_nametoindex("tun"),
	};
	struct kk_listener *listeners = calloc(2 * (size_t)n, sizeof(*listeners));
	struct kk_module module;
	struct kk_err err = {0};

	if (!listeners)
		bench_die("no memory");
	for (uint32_t i = 0; i < 2 * n; i++)
		listeners[i] = (struct kk_listener){
			.protocol = i % 2 ? IPPROTO_UDP : IPPROTO_TCP,
			.address = {.family = AF_INET, .v4.s_addr = htonl(LIVE_ADDRESS)},
			.port = (uint16_t)(n == 1 ? LIVE_PORT : i / 2 + 1),
			.agent_address.s_addr = htonl(way_agent(i / 2, n)),
			.agent_port = (uint16_t)(n == 1 ? LIVE_PORT : i / 2 + 1),
			.service = i / 2 % 1000 + 1};
	if (kk_module_open(&module, &err) < 0 ||
	    kk_module_replace(&module, &settings, listeners, 2 * n, &err) < 0)
		bench_die("%s", err.msg);
	kk_module_close(&module);
	free(listeners);
}

static inline void way_enter(const struct gateway *way)
{
	if (setns(way->ns, CLONE_NEWNET) < 0)
		bench_die("a network namespace: %s", strerror(errno));
}

static inline struct gateway way_make(const struct way_setup *setup)
{
	const struct live *down;
	struct gateway way;

	if (unshare(CLONE_NEWNET) < 0)
		bench_die("a network namespace: %s", strerror(errno));
	way.ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	way.tun_fd = way_tun();
	bench_run(
		"set -e; ip link set lo up; ip link add pub address 02:00:00:00:00:01 type veth peer name far; "
		"ip link set pub up; ip link set far up; ip addr add 198.51.100.1/24 dev pub; "
		"ip link set tun up mtu 1420; tc qdisc replace dev tun root noqueue; ip route add 10.0.0.0/8 dev tun; "
		"ip route add 203.0.113.0/24 dev pub; ip neigh add 203.0.113.7 lladdr 02:00:00:00:00:02 dev pub; tc qdisc add dev far clsact; "
		"sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.pub.rp_filter=0");
	bench_run(setup->commands);
	if (setup->listeners)
		way_load_module(setup->listeners);
	way.far = if_nametoindex("far");
	way.pub = if_nametoindex("pub");
	way.tun = if_nametoindex("tun");
	down = live_load(1, way.tun);
	live_set_tc((int)way.far, bpf_program__fd(down->progs.kk_live_drain));
	if (setup == &ways[REDIRECT])
		live_set_tc((int)way.pub, bpf_program__fd(down->progs.kk_live_redirect));
	return way;
}

/* Not before there are answers: what is at the tunnel sees what leaves by it, too. */
static inline void way_redirect_answers(const struct gateway *way)
{
	way_enter(way);
	bench_run("tc qdisc add dev tun clsact");
	live_set_tc((int)way->tun,
		    bpf_program__fd(live_load(1, way->pub)->progs.kk_live_redirect_up));
}

#endif
