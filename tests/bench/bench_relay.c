// SPDX-License-Identifier: MIT
/*
 * Relayed sessions: datagrams that the edge at XDP passes on between two interfaces, beside a relay in user space. Live frames
 * (live.h) come in by one veth in bursts and leave by another one, all in one thread, whose processor time for each datagram
 * that arrives is taken: ours divided by theirs is how many datagrams more the same processor passes on.
 *
 * The other relay is as good as it can be: recvmmsg and sendmmsg of 64, an array in place of a hash for its sessions, never
 * asleep, and never scheduled, for its turn is when the burst has arrived. Needs root.
 */
#include <sched.h>
#include <sys/socket.h>

#include "live.h"
#include "kk_xdp.skel.h"

#define PEER	   0xcb007208 /* 203.0.114.8 */
#define FIRST_PORT 1024	      /* as live.bpf.c has it */
#define SESSIONS   1000
#define BATCH	   64
#define BURST	   4096
#define BURSTS	   25 /* in a turn */
#define ROUNDS	   9
#define TRIES	   5

static void world(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		bench_die("a network namespace: %s", strerror(errno));
	bench_run("ip link set lo up; ip link add pub address " LIVE_MAC
		  " type veth peer name far; "
		  "ip link set pub up; ip link set far up; ip addr add 198.51.100.1/24 dev pub; "
		  "ip link add out type veth peer name drain; ip link set out up; "
		  "ip link set drain up; ip addr add 10.255.0.1/24 dev out; "
		  "ip neigh add 10.255.0.2 lladdr 02:00:00:00:00:03 dev out; "
		  "ip route add 203.0.114.0/24 via 10.255.0.2; tc qdisc add dev drain clsact; "
		  "ip route add 203.0.113.0/24 dev pub");
}

static void enter(int relays_fd, uint32_t from, uint16_t from_port, uint32_t to, uint16_t to_port,
		  uint32_t ifindex)
{
	const struct kk_relay_key key = {.address = {.word = {0, 0, htonl(0xffff), htonl(from)}},
					 .port = htons(from_port),
					 .at = htons(LIVE_PORT)};
	const struct kk_relay relay = {.peer = {.word = {0, 0, htonl(0xffff), htonl(to)}},
				       .peer_port = htons(to_port),
				       .at = htons(LIVE_PORT),
				       .ifindex = ifindex,
				       .macs = {2, 2, 2},
				       .until = UINT64_MAX};

	if (bpf_map_update_elem(relays_fd, &key, &relay, 0) < 0)
		bench_die("a relayed session: %s", strerror(errno));
}

/* The sessions' other ends have been heard by interface "out". */
static struct kk_xdp *edge_load(void)
{
	struct kk_xdp *skel = kk_xdp__open();
	struct kk_tables tables;
	struct kk_err err = {0};
	int fd;

	if (!skel)
		bench_die("the XDP program: %s", strerror(errno));
	skel->rodata->kk_settings = live_settings;
	if (kk_tables_size(skel->obj, 1, &err) < 0)
		bench_die("%s", err.msg);
	if (kk_xdp__load(skel) < 0)
		bench_die("loading the XDP program: %s", strerror(errno));
	fd = bpf_map__fd(skel->maps.kk_relays);
	for (uint16_t port = FIRST_PORT; port < FIRST_PORT + SESSIONS; port++) {
		enter(fd, LIVE_CLIENT, port, PEER, port, if_nametoindex("pub"));
		enter(fd, PEER, port, LIVE_CLIENT, port, if_nametoindex("out"));
	}
	if (kk_tables_init(&tables, skel->obj, &err) < 0)
		bench_die("%s", err.msg);
	kk_tables_feature(&tables, KK_FEATURE_RELAY, true);
	kk_tables_clean(&tables);
	return skel;
}

/* Where a datagram from a port goes. */
static struct sockaddr_in to[65536];

static int socket_open(void)
{
	const struct sockaddr_in here = {.sin_family = AF_INET,
					 .sin_port = htons(LIVE_PORT),
					 .sin_addr.s_addr = htonl(LIVE_ADDRESS)};
	const int room = 256 << 20;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0 ||
	    bind(fd, (const struct sockaddr *)&here, sizeof(here)) < 0)
		bench_die("the socket: %s", strerror(errno));
	for (uint16_t port = FIRST_PORT; port < FIRST_PORT + SESSIONS; port++)
		to[port] = (struct sockaddr_in){.sin_family = AF_INET,
						.sin_port = htons(port),
						.sin_addr.s_addr = htonl(PEER)};
	return fd;
}

/* Passes on what is in the socket. */
static void pass_on(int fd)
{
	static uint8_t data[BATCH][1500];
	static struct sockaddr_in from[BATCH];
	static struct iovec iov[BATCH];
	static struct mmsghdr messages[BATCH];
	int n;

	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){data[i], sizeof(data[i])};
			messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
							      .msg_namelen = sizeof(from[i]),
							      .msg_iov = &iov[i],
							      .msg_iovlen = 1};
		}
		n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
		if (n <= 0)
			return;
		for (int i = 0; i < n; i++) {
			iov[i].iov_len = messages[i].msg_len;
			messages[i].msg_hdr.msg_name = &to[ntohs(from[i].sin_port)];
		}
		if (sendmmsg(fd, messages, (unsigned int)n, 0) != n)
			bench_die("sendmmsg: %s", strerror(errno));
	}
}

/* One turn: ns of this thread for each datagram that came out. A negative @fd: nobody has to be called. */
static double turn(const struct live *live, int fd)
{
	const uint64_t all = (uint64_t)BURST * BURSTS;
	int far = (int)if_nametoindex("far");
	uint64_t n = 0;

	for (int i = 0; i < TRIES; i++) {
		uint64_t before = live_received("drain");
		double start = bench_seconds(CLOCK_THREAD_CPUTIME_ID), spent;

		for (int burst = 0; burst < BURSTS; burst++) {
			live_send(live->progs.kk_live, far, BURST);
			if (fd >= 0)
				pass_on(fd);
		}
		spent = bench_seconds(CLOCK_THREAD_CPUTIME_ID) - start;
		n = live_received("drain") - before;
		if (n >= all * 99 / 100)
			return spent * 1e9 / (double)n;
	}
	bench_die("only %llu of %llu datagrams came out", (unsigned long long)n,
		  (unsigned long long)all);
}

int main(void)
{
	int pub, drain, fd;
	struct live *live;
	struct kk_xdp *edge;
	double ours[ROUNDS] = {0}, theirs[ROUNDS] = {0}, xdp, user;

	world();
	pub = (int)if_nametoindex("pub");
	drain = (int)if_nametoindex("drain");
	live = live_load(SESSIONS, 0);
	edge = edge_load();
	fd = socket_open();
	live_set_xdp((int)if_nametoindex("far"), live->progs.kk_live_sink);
	live_set_tc(drain, bpf_program__fd(live->progs.kk_live_drain));
	for (int round = -1; round < ROUNDS; round++) {
		double one;

		live_set_xdp(pub, edge->progs.kk_xdp);
		live_set_xdp(drain, live->progs.kk_live_sink);
		one = turn(live, -1);
		if (round >= 0) /* the first one warms up */
			ours[round] = one;
		live_set_xdp(pub, live->progs.kk_live_pass);
		live_set_xdp(drain, NULL);
		one = turn(live, fd);
		if (round >= 0)
			theirs[round] = one;
	}
	xdp = bench_median(ours, ROUNDS);
	user = bench_median(theirs, ROUNDS);
	printf("XDP relay        %5.0f ns (%.0f to %.0f)\n", xdp, ours[0], ours[ROUNDS - 1]);
	printf("user-space relay %5.0f ns (%.0f to %.0f)\n", user, theirs[0], theirs[ROUNDS - 1]);
	printf("figure relay-vs-userspace %.1f x\n", user / xdp);
	close(fd);
	live__destroy(live);
	kk_xdp__destroy(edge);
	return 0;
}
