// SPDX-License-Identifier: MIT
/*
 * A published port in the real network stack, with ip_forward off. Needs root.
 *
 *   client 198.51.100.7 --veth-- 198.51.100.1 gateway 10.1.0.1 --TUN==pump==TUN-- 10.1.0.100 Agent
 *     |    2001:db8:51::7         2001:db8:51::1     fd00:6b6b::10.1.0.1      fd00:6b6b::10.1.0.100
 *   far 192.0.2.9, 2001:db8:9::9, to which the client routes
 *
 * Both TUN devices have vnet headers, so GSO packets and unfinished checksums go through the tunnel
 * whole. Each machine is a network namespace without a name, which ends with the process.
 */
#include "datapath_world.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>

#include "util/file.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20 /* Linux 6.2 */
#define TUN_F_USO6 0x40
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define STREAM_BYTES (32u << 20)
#define TUNNEL_MTU   1420
#define DATAGRAM_MAX 65507

enum { CLIENT, FAR, GATEWAY, AGENT, N_MACHINES };

static struct {
	int netns[N_MACHINES];
	int tun[2]; /* the gateway's end, the Agent's */
	int stop[2];
	pthread_t pump[2];
	struct kk_address addresses[2]; /* public, of IPv4 and IPv6 */
	struct kk_datapath_config config;
	enum kk_xdp_mode xdp;
	char pin_dir[64];
	struct kk_datapath *dp;
} lab;

/* Tests run once with each. */
static const struct family {
	sa_family_t af;
	const char *public, *client, *far, *gateway, *agent;
	int headers;			 /* bytes of an IP and a UDP header */
	int level, mtu, discover, probe; /* socket options */
} family4 = {AF_INET, "198.51.100.1", "198.51.100.7", "192.0.2.9",     "10.1.0.1",    "10.1.0.100",
	     28,      IPPROTO_IP,     IP_MTU,	      IP_MTU_DISCOVER, IP_PMTUDISC_DO},
  family6 = {AF_INET6,
	     "2001:db8:51::1",
	     "2001:db8:51::7",
	     "2001:db8:9::9",
	     "fd00:6b6b::10.1.0.1",
	     "fd00:6b6b::10.1.0.100",
	     48,
	     IPPROTO_IPV6,
	     IPV6_MTU,
	     IPV6_MTU_DISCOVER,
	     IPV6_PMTUDISC_DO};
static const struct family *family = &family4;

static void enter(int machine)
{
	assert_int_equal(setns(lab.netns[machine], CLONE_NEWNET), 0);
}

static int new_netns(void)
{
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int open_tun(const char *ifname)
{
	struct ifreq req = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
	unsigned int offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	assert_true(fd >= 0);
	strcpy(req.ifr_name, ifname);
	assert_int_equal(ioctl(fd, TUNSETIFF, &req), 0);
	if (ioctl(fd, TUNSETOFFLOAD, offloads | TUN_F_USO4 | TUN_F_USO6) < 0)
		assert_int_equal(ioctl(fd, TUNSETOFFLOAD, offloads), 0);
	return fd;
}

/* Packets from one end of the tunnel to the other, as they are. */
static void *pump(void *arg)
{
	const int *from = arg, *to = from == &lab.tun[0] ? &lab.tun[1] : &lab.tun[0];
	static _Thread_local char packet[70000];

	for (;;) {
		struct pollfd fds[] = {{.fd = *from, .events = POLLIN},
				       {.fd = lab.stop[0], .events = POLLIN}};
		ssize_t n;

		if (poll(fds, 2, -1) < 0 || fds[1].revents)
			return NULL;
		while ((n = read(*from, packet, sizeof(packet))) > 0)
			if (write(*to, packet, (size_t)n) < 0)
				print_error("tunnel: %zd bytes not written: %s\n", n,
					    strerror(errno));
	}
}

static void set_up(const char *ifname, const char *text, uint8_t len)
{
	struct kk_prefix4 prefix = {.addr = ip4(text), .len = len};
	struct kk_err err = {0};

	assert_ok(kk_net_addr_add(ifname, &prefix, &err), &err);
	assert_ok(kk_net_link_set(ifname, true, 0, &err), &err);
}

static void default_route(const char *ifname)
{
	struct kk_prefix4 everything = {0};
	struct kk_err err = {0};

	assert_ok(kk_net_route_add(ifname, &everything, 0, &err), &err);
}

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

/* Used at once: nobody else has it. */
static void set_up6(const char *ifname, const char *prefix)
{
	char command[128];

	snprintf(command, sizeof(command), "ip -6 addr add %s dev %s nodad", prefix, ifname);
	run(command);
}

/* The client's machine routes to the far one over a link that takes 1280 bytes, unknown to either. */
static void far_network(void)
{
	struct kk_err err = {0};

	assert_ok(kk_net_link_add("far0", "veth", &err), &err);
	assert_ok(kk_net_link_move("veth1", lab.netns[FAR], &err), &err);
	set_up("far0", "192.0.2.1", 24);
	assert_ok(kk_net_link_set("far0", true, 1280, &err), &err);
	run("echo 1 >/proc/sys/net/ipv4/ip_forward");
	run("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
	set_up6("far0", "2001:db8:9::1/64");
	enter(FAR);
	set_up("veth1", "192.0.2.9", 24);
	set_up6("veth1", "2001:db8:9::9/64");
	run("ip route add default via 192.0.2.1");
	run("ip -6 route add default via 2001:db8:9::1");
	enter(GATEWAY);
	run("ip route add 192.0.2.0/24 via 198.51.100.7");
	run("ip -6 route add 2001:db8:9::/64 via 2001:db8:51::7");
}

static int setup(void **state)
{
	struct kk_err err = {0};

	(void)state;
	if (geteuid() != 0) {
		print_error("loads BPF programs and makes network namespaces: must be root\n");
		return -1;
	}
	lab.netns[CLIENT] = new_netns();
	lab.netns[FAR] = new_netns();
	lab.netns[AGENT] = new_netns();
	lab.tun[1] = open_tun("kka");
	set_up("kka", "10.1.0.100", 24);
	default_route("kka");
	set_up6("kka", "fd00:6b6b::10.1.0.100/120");
	run("ip -6 route add default dev kka");
	lab.netns[GATEWAY] = new_netns();
	lab.tun[0] = open_tun(WORLD_TUNNEL);
	assert_ok(kk_net_link_add(WORLD_PUBLIC, "veth", &err), &err);
	assert_ok(kk_net_link_move("veth0", lab.netns[CLIENT], &err), &err);
	set_up(WORLD_PUBLIC, "198.51.100.1", 24);
	set_up(WORLD_TUNNEL, "10.1.0.1", 24);
	assert_ok(kk_net_link_set(WORLD_TUNNEL, true, TUNNEL_MTU, &err), &err);
	set_up6(WORLD_PUBLIC, "2001:db8:51::1/64");
	set_up6(WORLD_TUNNEL, "fd00:6b6b::10.1.0.1/120");
	enter(CLIENT);
	set_up("veth0", "198.51.100.7", 24);
	set_up6("veth0", "2001:db8:51::7/64");
	far_network();
	enter(GATEWAY);
	snprintf(lab.pin_dir, sizeof(lab.pin_dir), "/sys/fs/bpf/kk-live-%d", (int)getpid());
	lab.addresses[0] = public_address(family4.public);
	lab.addresses[1] = public_address(family6.public);
	lab.config = (struct kk_datapath_config){
		.pin_dir = lab.pin_dir,
		.public_ifname = WORLD_PUBLIC,
		.tunnel_ifname = WORLD_TUNNEL,
		.addresses = lab.addresses,
		.n_addresses = 2,
		.pool = {.addr = ip4("10.0.0.0"), .len = 8},
		.host = 1,
		.edge = {.xdp = lab.xdp, .closed_ports = true, .syn_rate = 10000},
	};
	assert_int_equal(inet_pton(AF_INET6, "fd00:6b6b::", &lab.config.pool6), 1);
	assert_ok(kk_datapath_open(&lab.config, &lab.dp, &err), &err);
	assert_int_equal(pipe(lab.stop), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&lab.pump[i], NULL, pump, &lab.tun[i]), 0);
	return 0;
}

static int teardown(void **state)
{
	struct kk_err err = {0};

	(void)state;
	enter(GATEWAY);
	kk_datapath_close(lab.dp);
	assert_ok(kk_datapath_remove(lab.pin_dir, WORLD_PUBLIC, WORLD_TUNNEL, &err), &err);
	close(lab.stop[1]);
	for (int i = 0; i < 2; i++) {
		pthread_join(lab.pump[i], NULL);
		close(lab.tun[i]);
	}
	close(lab.stop[0]);
	for (int i = 0; i < N_MACHINES; i++)
		close(lab.netns[i]);
	return 0;
}

static struct kk_listener listener(int which, uint8_t protocol, uint16_t port, uint16_t agent_port)
{
	return (struct kk_listener){
		.protocol = protocol,
		.address = lab.addresses[which],
		.port = port,
		.agent_address = ip4("10.1.0.100"),
		.agent_port = agent_port,
		.service = 1,
	};
}

/* Of both families, so that what is left of the other one's last test does not go astray. */
static void publish(uint8_t protocol, uint16_t port, uint16_t agent_port)
{
	const struct kk_listener both[] = {listener(0, protocol, port, agent_port),
					   listener(1, protocol, port, agent_port)};
	struct kk_err err = {0};

	assert_ok(kk_datapath_sync(lab.dp, both, 2, &err), &err);
}

static struct kk_datapath_counter counter(const char *name)
{
	KK_CLEANUP_FREE struct kk_datapath_counter *list = NULL;
	struct kk_err err = {0};
	int n = kk_datapath_counters(lab.dp, &list, &err);

	for (int i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			return list[i];
	fail_msg("no counter %s", name);
	return (struct kk_datapath_counter){0};
}

static union kk_sockaddr at(const char *text, uint16_t port)
{
	struct kk_address address = public_address(text);

	return kk_sockaddr_make(&address, port);
}

/*
 * A socket on @machine, bound to @port of any address, or to none with 0; gives up after 30 s of
 * silence.
 */
static int open_socket(int machine, int type, uint16_t port)
{
	const struct kk_address any = {.family = family->af};
	const union kk_sockaddr name = kk_sockaddr_make(&any, port);
	struct timeval patience = {.tv_sec = 30}; /* programs are loaded meanwhile */
	int fd, on = 1;

	enter(machine);
	fd = socket(family->af, type | SOCK_CLOEXEC, 0);
	enter(GATEWAY);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, &name.any, kk_sockaddr_len(&name)), 0);
	if (type == SOCK_STREAM && port)
		assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* Gives up after @seconds without an answer. */
static int try_connect(int machine, const char *address, uint16_t port, int seconds)
{
	const union kk_sockaddr to = at(address, port);
	struct timeval patience;
	socklen_t len = sizeof(patience);
	int fd = open_socket(machine, SOCK_STREAM, 0), r;

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, &len), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO,
				    &(struct timeval){.tv_sec = seconds}, sizeof(patience)),
			 0);
	r = connect(fd, &to.any, kk_sockaddr_len(&to));
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), 0);
	return r < 0 ? kk_close(fd) : fd;
}

static uint32_t pattern(uint32_t i)
{
	return i * 2654435761u;
}

struct flow {
	int fd;
	uint32_t bytes;
};

static void *send_stream(void *arg)
{
	const struct flow *flow = arg;
	uint32_t block[16384], i = 0;

	while (i < flow->bytes / 4) {
		for (size_t j = 0; j < ARRAY_SIZE(block); j++)
			block[j] = pattern(i++);
		if (send(flow->fd, block, sizeof(block), MSG_NOSIGNAL) != (ssize_t)sizeof(block))
			return (void *)(intptr_t)errno;
	}
	return NULL;
}

/* Every byte that was sent arrives, in its place. @meanwhile is called now and then. */
static void receive_stream(int fd, uint32_t bytes, void (*meanwhile)(void))
{
	uint32_t block[16384], i = 0;

	while (i < bytes / 4) {
		ssize_t n = recv(fd, block, sizeof(block), MSG_WAITALL);

		if (n != (ssize_t)sizeof(block))
			fail_msg("the stream ends after %u bytes: %s", i * 4, strerror(errno));
		for (size_t j = 0; j < ARRAY_SIZE(block); j++)
			if (block[j] != pattern(i++))
				fail_msg("byte %u of the stream is wrong", (i - 1) * 4);
		if (meanwhile && i % (1 << 20) == 0)
			meanwhile();
	}
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void stream(const char *what, int from, int to, uint32_t bytes, void (*meanwhile)(void))
{
	struct flow flow = {.fd = from, .bytes = bytes};
	double start = seconds();
	pthread_t sender;
	void *result;

	assert_int_equal(pthread_create(&sender, NULL, send_stream, &flow), 0);
	receive_stream(to, bytes, meanwhile);
	pthread_join(sender, &result);
	assert_null(result);
	print_message("%s: %.2f Gb/s\n", what, 8e-9 * bytes / (seconds() - start));
}

/*
 * A connection from the client to the Agent through the published port; the Agent sees who it is.
 */
static void connect_pair(int machine, const char *address, int *ret_client, int *ret_agent)
{
	KK_CLEANUP_CLOSE int listener = open_socket(AGENT, SOCK_STREAM, 22);
	union kk_sockaddr peer, name, wanted;
	socklen_t len = sizeof(peer);

	*ret_client = try_connect(machine, family->public, 2222, 5);
	assert_true(*ret_client >= 0);
	*ret_agent = accept(listener, &peer.any, &len);
	assert_true(*ret_agent >= 0);
	assert_int_equal(getsockname(*ret_client, &name.any, &len), 0);
	wanted = at(address, kk_sockaddr_port(&name));
	assert_true(kk_sockaddr_equal(&peer, &wanted));
}

/* Packets longer than the link's MTU went through the programs whole. */
static void assert_gso(const char *name, struct kk_datapath_counter before, uint32_t bytes)
{
	struct kk_datapath_counter after = counter(name);
	uint64_t n = after.packets - before.packets, sum = after.bytes - before.bytes;

	print_message("%s: %.0f bytes per packet\n", name, (double)sum / (double)n);
	assert_true(sum >= bytes);
	assert_true(sum / n > 3000);
}

static void test_tcp_both_ways(void **state)
{
	struct kk_datapath_counter in = counter("inbound"), out;
	int client, agent;

	(void)state;
	publish(IPPROTO_TCP, 2222, 22);
	connect_pair(CLIENT, family->client, &client, &agent);
	stream("TCP to the Agent", client, agent, STREAM_BYTES, NULL);
	assert_gso("inbound", in, STREAM_BYTES);
	out = counter("outbound");
	stream("TCP from the Agent", agent, client, STREAM_BYTES, NULL);
	assert_gso("outbound", out, STREAM_BYTES);
	close(client);
	close(agent);
}

/* What a daemon does that restarts, and one that is told of other services. */
static void restart_and_change(void)
{
	static uint32_t turn;
	const struct kk_listener l[] = {
		listener(0, IPPROTO_TCP, 2222, 22),
		listener(1, IPPROTO_TCP, 2222, 22),
		{.protocol = IPPROTO_TCP,
		 .address = lab.addresses[turn % 2],
		 .port = (uint16_t)(3000 + turn),
		 .agent_address = ip4("10.2.0.100"),
		 .agent_port = 80,
		 .service = 100 + turn},
	};
	struct kk_err err = {0};

	if (turn++ % 2) {
		kk_datapath_close(lab.dp);
		assert_ok(kk_datapath_open(&lab.config, &lab.dp, &err), &err);
	}
	assert_ok(kk_datapath_sync(lab.dp, l, 3, &err), &err);
}

static void test_stream_survives_changes(void **state)
{
	struct kk_datapath_counter before;
	int client, agent;

	(void)state;
	publish(IPPROTO_TCP, 2222, 22);
	before = counter("not_published");
	connect_pair(CLIENT, family->client, &client, &agent);
	stream("TCP under changes", client, agent, STREAM_BYTES, restart_and_change);
	assert_int_equal(counter("not_published").packets, before.packets);
	close(client);
	close(agent);
}

/* A packet that the tunnel does not take, and the error about it: now the client knows. */
static void learn_mtu(int fd, const union kk_sockaddr *to)
{
	static char datagram[1500];
	const int whole = 1500 - family->headers;
	int mode = family->probe, mtu = 0;
	socklen_t len = sizeof(mtu);

	assert_int_equal(setsockopt(fd, family->level, family->discover, &mode, sizeof(mode)), 0);
	assert_int_equal(connect(fd, &to->any, kk_sockaddr_len(to)), 0);
	assert_int_equal(send(fd, datagram, (size_t)whole, 0), whole);
	assert_int_equal(recv(fd, datagram, 1, 0), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(getsockopt(fd, family->level, family->mtu, &mtu, &len), 0);
	assert_int_equal(mtu, TUNNEL_MTU);
}

/*
 * Beyond the links' MTU in fragments. Those of IPv4 may be larger than the tunnel takes; for IPv6 the client
 * has to know.
 */
static void test_udp(void **state)
{
	static const size_t sizes[] = {0, 1, 1000, 1372, 60000, DATAGRAM_MAX};
	KK_CLEANUP_CLOSE int client = open_socket(CLIENT, SOCK_DGRAM, 5000);
	KK_CLEANUP_CLOSE int agent = open_socket(AGENT, SOCK_DGRAM, 27015);
	KK_CLEANUP_CLOSE int other = open_socket(CLIENT, SOCK_DGRAM, 0);
	const union kk_sockaddr to = at(family->public, 27000);

	(void)state;
	publish(IPPROTO_UDP, 27000, 27015);
	if (family == &family6)
		learn_mtu(other, &to);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		static char sent[DATAGRAM_MAX], got[DATAGRAM_MAX];
		const union kk_sockaddr wanted = at(family->client, 5000);
		union kk_sockaddr peer;
		socklen_t len = sizeof(peer);
		ssize_t size = (ssize_t)sizes[i];

		memset(sent, (int)i + 'a', sizeof(sent));
		assert_int_equal(sendto(client, sent, sizes[i], 0, &to.any, kk_sockaddr_len(&to)),
				 size);
		assert_int_equal(recvfrom(agent, got, sizeof(got), 0, &peer.any, &len), size);
		assert_memory_equal(sent, got, sizes[i]);
		assert_true(kk_sockaddr_equal(&peer, &wanted));
		assert_int_equal(sendto(agent, got, sizes[i], 0, &peer.any, len), size);
		assert_int_equal(recvfrom(client, got, sizeof(got), 0, &peer.any, &len), size);
		assert_memory_equal(sent, got, sizes[i]);
		assert_true(kk_sockaddr_equal(&peer, &to));
	}
}

/* One send of many datagrams (UDP_SEGMENT), both ways. */
static void test_udp_gso(void **state)
{
	KK_CLEANUP_CLOSE int client = open_socket(CLIENT, SOCK_DGRAM, 5001);
	KK_CLEANUP_CLOSE int agent = open_socket(AGENT, SOCK_DGRAM, 27015);
	const union kk_sockaddr to = at(family->public, 27000);
	union kk_sockaddr peer;
	int ends[2] = {client, agent}, segment = 1000;
	char sent[10][1000], got[1500];

	(void)state;
	publish(IPPROTO_UDP, 27000, 27015);
	for (size_t i = 0; i < ARRAY_SIZE(sent); i++)
		memset(sent[i], (int)i + '0', sizeof(sent[i]));
	for (int way = 0; way < 2; way++) {
		assert_int_equal(
			setsockopt(ends[way], IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)),
			0);
		assert_int_equal(sendto(ends[way], sent, sizeof(sent), 0, way ? &peer.any : &to.any,
					kk_sockaddr_len(&to)),
				 sizeof(sent));
		for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
			socklen_t len = sizeof(peer);

			assert_int_equal(recvfrom(ends[!way], got, sizeof(got), 0, &peer.any, &len),
					 segment);
			assert_memory_equal(got, sent[i], sizeof(sent[i]));
		}
	}
}

/* The far link is smaller than either end knows: a router tells the Agent so, through us. */
static void test_path_mtu(void **state)
{
	struct kk_datapath_counter before = counter("inbound_error");
	int far, agent, mtu = 0;
	socklen_t len = sizeof(mtu);

	(void)state;
	publish(IPPROTO_TCP, 2222, 22);
	connect_pair(FAR, family->far, &far, &agent);
	stream("TCP from the Agent over a path of 1280", agent, far, 8u << 20, NULL);
	assert_true(counter("inbound_error").packets > before.packets);
	assert_int_equal(getsockopt(agent, family->level, family->mtu, &mtu, &len), 0);
	assert_int_equal(mtu, 1280);
	close(far);
	close(agent);
}

/* Nobody listens there: the Agent says so, and the client hears it of the port that it asked. */
static void test_refused_datagram(void **state)
{
	struct kk_datapath_counter before = counter("outbound_error");
	KK_CLEANUP_CLOSE int client = open_socket(CLIENT, SOCK_DGRAM, 0);
	const union kk_sockaddr to = at(family->public, 27000);
	char byte;

	(void)state;
	publish(IPPROTO_UDP, 27000, 27015);
	assert_int_equal(connect(client, &to.any, kk_sockaddr_len(&to)), 0);
	assert_int_equal(send(client, "x", 1, 0), 1);
	assert_int_equal(recv(client, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(counter("outbound_error").packets, before.packets + 1);
}

/* The hardware address of @ifname on @machine. */
static void mac_of(int machine, const char *ifname, uint8_t ret[ETH_ALEN])
{
	int fd = open_socket(machine, SOCK_DGRAM, 0);
	struct ifreq req = {0};

	strcpy(req.ifr_name, ifname);
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &req), 0);
	memcpy(ret, req.ifr_hwaddr.sa_data, ETH_ALEN);
	close(fd);
}

static uint32_t sum_of(const uint8_t *data, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	return sum;
}

static void put_check(uint8_t *at, uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	at[0] = (uint8_t)(sum >> 8);
	at[1] = (uint8_t)sum;
}

#define FRAME_MAX 128
#define NO_TAG	  (-1)

/* The link header of a frame from the client, with an 802.1Q tag or without. Returns how long it is. */
static size_t put_link(uint8_t *frame, int tag)
{
	const uint16_t type = htons(family == &family6 ? ETH_P_IPV6 : ETH_P_IP);
	const uint16_t tpid = htons(ETH_P_8021Q), tci = htons((uint16_t)tag);
	size_t len = 2 * ETH_ALEN;

	mac_of(GATEWAY, WORLD_PUBLIC, frame);
	mac_of(CLIENT, "veth0", frame + ETH_ALEN);
	if (tag != NO_TAG) {
		memcpy(frame + len, &tpid, sizeof(tpid));
		memcpy(frame + len + 2, &tci, sizeof(tci));
		len += 4;
	}
	memcpy(frame + len, &type, sizeof(type));
	return len + sizeof(type);
}

/* An IP header, 20 or 40 bytes, and @transport, whose checksum at @check is counted. Returns how long both are. */
static size_t put_packet(uint8_t *ip, const char *source, uint8_t protocol, const void *transport,
			 size_t len, size_t check)
{
	const struct kk_address from = public_address(source), to = public_address(family->public);
	size_t header = family == &family6 ? 40 : 20, addresses = header == 40 ? 32 : 8;

	if (family == &family6) {
		memcpy(ip, (uint8_t[]){0x60, 0, 0, 0, 0, (uint8_t)len, protocol, 64}, 8);
	} else {
		memcpy(ip,
		       (uint8_t[]){0x45, 0, 0, (uint8_t)(20 + len), 0, 1, 0, 0, 64, protocol, 0, 0},
		       12);
	}
	memcpy(ip + header - addresses, from.bytes, addresses / 2);
	memcpy(ip + header - addresses / 2, to.bytes, addresses / 2);
	if (family == &family4)
		put_check(ip + 10, sum_of(ip, 20, 0));
	memcpy(ip + header, transport, len);
	put_check(ip + header + check,
		  sum_of(ip + header - addresses, addresses + len, protocol + (uint32_t)len));
	return header + len;
}

/* Onto the client's link. */
static int open_link(struct sockaddr_ll *ret)
{
	int fd;

	enter(CLIENT);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	*ret = (struct sockaddr_ll){.sll_family = AF_PACKET,
				    .sll_ifindex = (int)if_nametoindex("veth0")};
	enter(GATEWAY);
	assert_true(fd >= 0);
	return fd;
}

/* A datagram "x" from the client to port 27000 in a frame with an 802.1Q tag. */
static void send_tagged(uint16_t tag)
{
	static const uint8_t datagram[] = {5000 >> 8, 5000 & 0xff, 27000 >> 8, 27000 & 0xff, 0,
					   9,	      0,	   0,	       'x'};
	uint8_t frame[FRAME_MAX];
	size_t len = put_link(frame, tag);
	struct sockaddr_ll link;
	KK_CLEANUP_CLOSE int fd = open_link(&link);

	len += put_packet(frame + len, family->client, IPPROTO_UDP, datagram, sizeof(datagram), 6);
	assert_int_equal(sendto(fd, frame, len, 0, (void *)&link, sizeof(link)), len);
}

/* VLAN 0 is a priority on the interface itself; any other VLAN is another interface's. */
static void test_vlan_tags(void **state)
{
	KK_CLEANUP_CLOSE int agent = open_socket(AGENT, SOCK_DGRAM, 27015);
	struct kk_datapath_counter before;
	char got[2];

	(void)state;
	publish(IPPROTO_UDP, 27000, 27015);
	send_tagged(5 << 13);
	assert_int_equal(recv(agent, got, sizeof(got), 0), 1);
	before = counter("not_ours");
	send_tagged(5 << 13 | 7);
	/* At least: neighbour discovery is not ours either, and comes when it likes. */
	assert_true(counter("not_ours").packets > before.packets);
	assert_int_equal(recv(agent, got, sizeof(got), MSG_DONTWAIT), -1);
}

/* A priority tag leads past no list, wherever the edge is. */
static void test_tags_are_checked(void **state)
{
	KK_CLEANUP_CLOSE int agent = open_socket(AGENT, SOCK_DGRAM, 27015);
	struct kk_ban_entry client = {.source = public_address(family->client)};
	const uint64_t before = counter("banned").packets;
	struct kk_err err = {0};
	char got[2];

	(void)state;
	publish(IPPROTO_UDP, 27000, 27015);
	assert_ok(kk_datapath_ban(lab.dp, &client, 1, &err), &err);
	send_tagged(5 << 13);
	assert_int_equal(counter("banned").packets, before + 1);
	assert_int_equal(recv(agent, got, sizeof(got), MSG_DONTWAIT), -1);
	assert_ok(kk_datapath_unban(lab.dp, &client.source, 0, &err), &err);
	send_tagged(5 << 13);
	assert_int_equal(recv(agent, got, sizeof(got), 0), 1);
}

/* Whether the device, or the stack before it, completes the checksums of what is sent. */
static void set_offload(int machine, const char *ifname, bool on)
{
	struct ethtool_value value = {.cmd = ETHTOOL_STXCSUM, .data = on};
	struct ifreq req = {.ifr_data = (void *)&value};
	KK_CLEANUP_CLOSE int fd = open_socket(machine, SOCK_DGRAM, 0);

	strcpy(req.ifr_name, ifname);
	assert_int_equal(ioctl(fd, SIOCETHTOOL, &req), 0);
}

static void client_flush_routes(void)
{
	enter(CLIENT);
	run("ip route flush cache");
	run("ip -6 route flush cache");
	enter(GATEWAY);
}

/*
 * The client learns what the tunnel takes. Its packet comes with a checksum that is yet to be
 * completed, or complete; in the error about it the gateway's stack does so, since its device does
 * not, and then the client's verifies the error.
 */
static void test_too_big(void **state)
{
	KK_CLEANUP_CLOSE int agent = open_socket(AGENT, SOCK_DGRAM, 27015);
	const union kk_sockaddr to = at(family->public, 27000);

	(void)state;
	publish(IPPROTO_UDP, 27000, 27015);
	set_offload(GATEWAY, WORLD_PUBLIC, false);
	for (int on = 0; on < 2; on++) {
		KK_CLEANUP_CLOSE int client = open_socket(CLIENT, SOCK_DGRAM, 0);
		const int fits = TUNNEL_MTU - family->headers;
		static char datagram[1500];

		set_offload(CLIENT, "veth0", on);
		client_flush_routes();
		learn_mtu(client, &to);
		assert_int_equal(send(client, datagram, (size_t)fits, 0), fits);
		assert_int_equal(recv(agent, datagram, sizeof(datagram), 0), fits);
	}
	set_offload(GATEWAY, WORLD_PUBLIC, true);
	client_flush_routes();
}

/* Neither end of a connection sends what the tunnel does not take, though the Agent's link takes more. */
static void test_announced_size(void **state)
{
	struct kk_datapath_counter before = counter("too_big");
	int client, agent;
	socklen_t len = sizeof(int);
	int mss = 0;

	(void)state;
	publish(IPPROTO_TCP, 2222, 22);
	connect_pair(CLIENT, family->client, &client, &agent);
	assert_int_equal(getsockopt(client, IPPROTO_TCP, TCP_MAXSEG, &mss, &len), 0);
	assert_true(mss <= TUNNEL_MTU - family->headers - 12);
	assert_int_equal(getsockopt(agent, IPPROTO_TCP, TCP_MAXSEG, &mss, &len), 0);
	assert_true(mss <= TUNNEL_MTU - family->headers - 12);
	assert_int_equal(counter("too_big").packets, before.packets);
	close(client);
	close(agent);
}

static void test_gateway_asks_agent(void **state)
{
	KK_CLEANUP_CLOSE int listener = open_socket(AGENT, SOCK_STREAM, 80);
	KK_CLEANUP_CLOSE int near = try_connect(GATEWAY, family->agent, 80, 5);
	KK_CLEANUP_CLOSE int far = -1;

	(void)state;
	assert_true(near >= 0);
	far = accept(listener, NULL, NULL);
	assert_true(far >= 0);
	stream("TCP from the gateway itself", near, far, 8u << 20, NULL);
}

static void test_nothing_else_passes(void **state)
{
	KK_CLEANUP_CLOSE int host = open_socket(GATEWAY, SOCK_STREAM, 22);
	KK_CLEANUP_CLOSE int datagrams = open_socket(GATEWAY, SOCK_DGRAM, 53);
	KK_CLEANUP_CLOSE int agent = open_socket(AGENT, SOCK_DGRAM, 0);
	const struct {
		const char *address, *reason;
	} ways[] = {
		{family->gateway, "unsolicited"},
		{family->public, "isolated"},
		{family == &family6 ? "fd00:6b6b::10.2.0.100" : "10.2.0.100",
		 "isolated"},			   /* another Agent */
		{family->client, "not_published"}, /* the internet */
	};
	struct timeval no_patience = {.tv_usec = 100000};
	char byte;

	(void)state;
	publish(IPPROTO_TCP, 2222, 22);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		const union kk_sockaddr to = at(ways[i].address, 53);
		uint64_t before = counter(ways[i].reason).packets;

		assert_int_equal(try_connect(AGENT, ways[i].address, 22, 1), -1);
		assert_int_equal(sendto(agent, "x", 1, 0, &to.any, kk_sockaddr_len(&to)), 1);
		assert_true(counter(ways[i].reason).packets > before);
	}
	assert_int_equal(
		setsockopt(datagrams, SOL_SOCKET, SO_RCVTIMEO, &no_patience, sizeof(no_patience)),
		0);
	assert_int_equal(recv(datagrams, &byte, 1, 0), -1);
}

/*
 * Agents are not to be had from outside, not even by a neighbour who routes their addresses by way
 * of us.
 */
static void test_agents_are_hidden(void **state)
{
	uint64_t before = counter("pool_destination").packets;

	(void)state;
	enter(CLIENT);
	run(family == &family6 ? "ip -6 route add fd00:6b6b::/64 via 2001:db8:51::1"
			       : "ip route add 10.0.0.0/8 via 198.51.100.1");
	enter(GATEWAY);
	assert_int_equal(try_connect(CLIENT, family->agent, 22, 1), -1);
	assert_true(counter("pool_destination").packets > before);
}

/* What is not ours reaches the host: its own service on the public address. */
static void test_the_hosts_own_ports(void **state)
{
	KK_CLEANUP_CLOSE int listener = open_socket(GATEWAY, SOCK_STREAM, 443);
	KK_CLEANUP_CLOSE int client = try_connect(CLIENT, family->public, 443, 5);

	(void)state;
	assert_true(client >= 0);
}

static void test_forwarding_is_off(void **state)
{
	KK_CLEANUP_FREE char *text = NULL;

	(void)state;
	assert_int_equal(kk_file_read("/proc/sys/net/ipv4/ip_forward", 16, &text, NULL), 0);
	assert_string_equal(text, "0\n");
}

/* SYNs to port 2222 in the names of @n addresses that nobody answers from. */
static void send_flood(int n)
{
	const uint8_t syn[20] = {
		0, 0, 2222 >> 8, 2222 & 0xff, [12] = 0x50, [13] = 0x02, [14] = 0xff};
	struct sockaddr_ll link;
	KK_CLEANUP_CLOSE int fd = open_link(&link);
	uint8_t frame[FRAME_MAX];
	size_t front = put_link(frame, NO_TAG);

	for (int i = 0; i < n; i++) {
		uint8_t segment[sizeof(syn)];
		char source[64];
		size_t len;

		snprintf(source, sizeof(source),
			 family == &family6 ? "2001:db8:f10:%x::1" : "203.0.113.%d", i % 250 + 1);
		memcpy(segment, syn, sizeof(syn));
		segment[0] = (uint8_t)(i >> 8 | 0x80);
		segment[1] = (uint8_t)i;
		len = front +
		      put_packet(frame + front, source, IPPROTO_TCP, segment, sizeof(segment), 16);
		assert_int_equal(sendto(fd, frame, len, 0, (void *)&link, sizeof(link)), len);
	}
}

/* What both ends agreed on in their SYNs: no cookie had to carry it. */
static void assert_options(int fd)
{
	const uint8_t all = TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE;
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	assert_int_equal(info.tcpi_options & all, all);
	assert_true(info.tcpi_snd_wscale > 0 && info.tcpi_rcv_wscale > 0);
}

/*
 * A flooded service: who connects proves that he is there, and hardly notices. His connection has every option that he
 * asked for; what the flood sends is challenged and does not get to the Agent.
 */
static void test_flooded_service(void **state)
{
	const struct kk_listener both[] = {listener(0, IPPROTO_TCP, 2222, 22),
					   listener(1, IPPROTO_TCP, 2222, 22)};
	const struct kk_guard guard = {.service = both[0].service, .syn_rate = 1};
	const struct kk_datapath_tables wanted = {
		.listeners = both, .n_listeners = 2, .guards = &guard, .n_guards = 1};
	uint64_t challenges = counter("syn_challenge").packets;
	uint64_t proofs = counter("syn_proof").packets, inbound;
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_datapath_set(lab.dp, &wanted, &err), &err);
	for (int i = 0; i < 5; i++) {
		int client, agent;

		inbound = counter("inbound").packets;
		send_flood(200);
		/* But for those within the rate, one of each window of about a second. */
		assert_true(counter("inbound").packets <= inbound + 100);
		connect_pair(CLIENT, family->client, &client, &agent);
		assert_options(client);
		assert_options(agent);
		stream("TCP of a flooded service", client, agent, 1u << 20, NULL);
		close(client);
		close(agent);
	}
	assert_true(counter("syn_challenge").packets > challenges + 500);
	assert_true(counter("syn_proof").packets > proofs);
}

/*
 * Two programs of the client's machine, as two nodes that only reach the gateway: nothing goes to the one that has not
 * been heard of, then datagrams pass both ways, and from nobody else.
 */
static void test_relayed_session(void **state)
{
	KK_CLEANUP_CLOSE int a = open_socket(CLIENT, SOCK_DGRAM, 5100);
	KK_CLEANUP_CLOSE int b = open_socket(CLIENT, SOCK_DGRAM, 5200);
	KK_CLEANUP_CLOSE int other = open_socket(CLIENT, SOCK_DGRAM, 5300);
	const union kk_sockaddr to_b = at(family->public, 3478), to_a = at(family->public, 3479);
	const struct kk_address node = public_address(family->client);
	const struct kk_relay_session session = {.end = {{node, 5100, 3478}, {node, 5200, 3479}},
						 .seconds = 60};
	uint64_t unheard = counter("relay_unheard").packets;
	struct kk_err err = {0};
	char got[64];

	(void)state;
	assert_ok(kk_datapath_relay(lab.dp, &session, &err), &err);
	assert_int_equal(sendto(a, "early", 5, 0, &to_b.any, kk_sockaddr_len(&to_b)), 5);
	assert_int_equal(sendto(b, "hello", 5, 0, &to_a.any, kk_sockaddr_len(&to_a)), 5);
	assert_int_equal(recv(a, got, sizeof(got), 0), 5);
	assert_memory_equal(got, "hello", 5);
	assert_int_equal(sendto(other, "mine!", 5, 0, &to_b.any, kk_sockaddr_len(&to_b)), 5);
	assert_int_equal(sendto(a, "reply", 5, 0, &to_b.any, kk_sockaddr_len(&to_b)), 5);
	assert_int_equal(recv(b, got, sizeof(got), 0), 5);
	assert_memory_equal(got, "reply", 5);
	assert_int_equal(counter("relay_unheard").packets - unheard, 1);
	assert_ok(kk_datapath_unrelay(lab.dp, &session, &err), &err);
	assert_int_equal(kk_datapath_unrelay(lab.dp, &session, &err), -ENOENT);
}

/* What nobody serves dies at the edge; nobody is told. */
static void test_closed_port(void **state)
{
	uint64_t before = counter("closed_port").packets;

	(void)state;
	assert_true(try_connect(CLIENT, family->public, 4, 1) < 0);
	assert_true(counter("closed_port").packets > before);
}

/* Before each test: the family that it is about. */
static int with4(void **state)
{
	(void)state;
	family = &family4;
	return 0;
}

static int with6(void **state)
{
	(void)state;
	family = &family6;
	return 0;
}

#define OF_BOTH(test) cmocka_unit_test_setup(test, with4), cmocka_unit_test_setup(test, with6)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_BOTH(test_tcp_both_ways),
		OF_BOTH(test_stream_survives_changes),
		OF_BOTH(test_udp),
		OF_BOTH(test_udp_gso),
		OF_BOTH(test_path_mtu),
		OF_BOTH(test_refused_datagram),
		OF_BOTH(test_vlan_tags),
		OF_BOTH(test_tags_are_checked),
		OF_BOTH(test_too_big),
		OF_BOTH(test_announced_size),
		OF_BOTH(test_gateway_asks_agent),
		OF_BOTH(test_nothing_else_passes),
		OF_BOTH(test_agents_are_hidden),
		OF_BOTH(test_the_hosts_own_ports),
		OF_BOTH(test_flooded_service),
		OF_BOTH(test_closed_port),
		OF_BOTH(test_relayed_session),
		cmocka_unit_test(test_forwarding_is_off),
	};

	int r = 0;

	/* With the edge at tc, and at XDP in front of it. */
	for (lab.xdp = KK_XDP_OFF; lab.xdp <= KK_XDP_GENERIC; lab.xdp += KK_XDP_GENERIC)
		r += kk_run_group_as_root("loads BPF programs and makes network namespaces", tests,
					  setup, teardown);
	return r;
}
