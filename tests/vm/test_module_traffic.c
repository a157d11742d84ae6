// SPDX-License-Identifier: MIT
/*
 * The module with traffic: a client, a gateway and an Agent in network namespaces, kernel WireGuard between the last
 * two. Connections in both families with the client's own address or the gateway's in its place, groups, guards, datagrams
 * that come in pieces, tables taken away and the module unloaded under way, namespaces that go with their tables. Needs root; $KK_MODULE is kakuremichi.ko.
 */
#include "tests/unit/datapath_world.h"

#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <net/ethernet.h>
#include <linux/if_packet.h>

#include "core/names.h"
#include "genl/events.h"
#include "genl/module.h"

#define WAIT_MS	  20000
#define BIG	  60000
#define N_UNLOADS 100

static int client, gateway, agent; /* descriptors of namespaces */
static struct kk_module_settings settings;

__attribute__((format(printf, 1, 2))) static void shell(const char *fmt, ...)
{
	char command[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static void enter(int ns)
{
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
}

static int netns(const char *name)
{
	char path[64];
	int fd;

	shell("ip netns add %s && ip -n %s link set lo up", name, name);
	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* ip_forward stays off, rp_filter is strict: the module goes its own way. */
static void build_network(void)
{
	client = netns("c");
	gateway = netns("g");
	agent = netns("a");
	shell("ip -n c link add eth0 type veth peer name eth0 netns g &&"
	      "ip -n a link add eth0 type veth peer name eth1 netns g");
	shell("ip -n c addr add 203.0.113.7/24 dev eth0 && ip -n c addr add 2001:db8:1::7/64 dev eth0 nodad &&"
	      "ip -n g addr add 203.0.113.1/24 dev eth0 && ip -n g addr add 2001:db8:1::1/64 dev eth0 nodad &&"
	      "ip -n g addr add 192.168.7.1/24 dev eth1 && ip -n a addr add 192.168.7.2/24 dev eth0 &&"
	      "for n in c g a; do ip -n $n link set eth0 up; done; ip -n g link set eth1 up");
	shell("ip netns exec g sysctl -qw net.ipv4.conf.all.rp_filter=1");
	/*
	 * Hooks of somebody else's, so that the kernel does not change its code whenever ours come and go: an emulated
	 * processor may still run what it was, and stop at the breakpoint that is there meanwhile.
	 */
	shell("for f in ip ip6; do ip netns exec a nft \"add table $f other; add chain $f other pre"
	      " { type filter hook prerouting priority 0; }\" || exit 1; done;"
	      "ip netns exec a nft 'add table netdev other; add chain netdev other in"
	      " { type filter hook ingress device eth0 priority 0; }'");
	shell("umask 077; wg genkey >/tmp/g; wg genkey >/tmp/a; wg pubkey </tmp/g >/tmp/gp; wg pubkey </tmp/a >/tmp/ap");
	shell("ip -n g link add wg0 type wireguard && ip -n a link add wg0 type wireguard");
	shell("ip netns exec g wg set wg0 private-key /tmp/g listen-port 51820 peer $(cat /tmp/ap)"
	      " allowed-ips 10.1.0.0/24,fd00:1::a01:0/120 &&"
	      "ip netns exec a wg set wg0 private-key /tmp/a listen-port 51821 peer $(cat /tmp/gp) allowed-ips 0.0.0.0/0,::/0"
	      " endpoint 192.168.7.1:51820 persistent-keepalive 1");
	shell("ip -n g link set wg0 up mtu 1420 && ip -n a link set wg0 up mtu 1420 &&"
	      "ip -n g addr add 10.1.0.1/24 dev wg0 && ip -n a addr add 10.1.0.100/24 dev wg0 &&"
	      "ip -n a addr add fd00:1::a01:64/120 dev wg0 nodad &&"
	      "ip -n a route add 203.0.113.0/24 dev wg0 && ip -n a -6 route add 2001:db8:1::/64 dev wg0");
	shell("ip netns exec g ping -c1 -w10 -q 10.1.0.100 >/dev/null");
}

static void load_module(void)
{
	static void *image;
	static size_t size;

	if (!image) {
		FILE *file = fopen(getenv("KK_MODULE") ?: "", "rb");

		if (!file)
			fail_msg("$KK_MODULE is no file that can be read");
		assert_int_equal(fseek(file, 0, SEEK_END), 0);
		size = (size_t)ftell(file);
		rewind(file);
		image = malloc(size);
		assert_non_null(image);
		assert_int_equal(fread(image, 1, size, file), size);
		fclose(file);
	}
	if (syscall(SYS_init_module, image, size, "") < 0)
		fail_msg("the module cannot be loaded: %s", strerror(errno));
}

static void unload_module(void)
{
	if (syscall(SYS_delete_module, "kakuremichi", O_NONBLOCK) < 0)
		fail_msg("the module cannot be unloaded: %s", strerror(errno));
}

static struct kk_listener listener(const char *address, uint8_t protocol, uint16_t port,
				   uint16_t agent_port, uint32_t service)
{
	return (struct kk_listener){.address = public_address(address),
				    .protocol = protocol,
				    .port = port,
				    .agent_address = ip4("10.1.0.100"),
				    .agent_port = agent_port,
				    .service = service};
}

static void settings_init(void)
{
	enter(gateway);
	settings = (struct kk_module_settings){
		.core = {.address4 = {ip4("203.0.113.1").s_addr},
			 .pool = ip4("10.0.0.0").s_addr,
			 .pool_mask = ip4("255.0.0.0").s_addr,
			 .host = htonl(1),
			 .mtu = 1420},
		.public_ifindex = if_nametoindex("eth0"),
		.tunnel_ifindex = if_nametoindex("wg0"),
	};
	assert_int_equal(inet_pton(AF_INET6, "2001:db8:1::1", &settings.core.address6[0]), 1);
	assert_int_equal(inet_pton(AF_INET6, "fd00:1::", &settings.core.pool6), 1);
	/* Without a key all flows have the same hash: to one member, and to the same few ports. */
	for (size_t i = 0; i < KK_FLOW_KEY_WORDS; i++)
		settings.core.flow_key[i] = 0x9e3779b97f4a7c15 * (i + 1);
}

static void load_tables(void)
{
	const struct kk_listener listeners[] = {
		listener("203.0.113.1", IPPROTO_TCP, 80, 8080, 1),
		listener("203.0.113.1", IPPROTO_UDP, 53, 5353, 2),
		listener("2001:db8:1::1", IPPROTO_TCP, 80, 8080, 1),
		listener("2001:db8:1::1", IPPROTO_UDP, 53, 5353, 2),
	};
	struct kk_module module;
	struct kk_err err = {0};

	settings_init();
	assert_ok(kk_module_open(&module, &err), &err);
	assert_ok(kk_module_replace(&module, &settings, listeners, 4, &err), &err);
	kk_module_close(&module);
}

static int start(void **state)
{
	(void)state;
	build_network();
	shell("modprobe nf_defrag_ipv6");
	load_module();
	load_tables();
	return 0;
}

static int end(void **state)
{
	(void)state;
	shell("ip netns del c; ip netns del g; ip netns del a");
	unload_module();
	return 0;
}

static int server(int ns, int type, uint16_t port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd, on = 1;

	enter(ns);
	fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static int connected(int ns, int type, const char *address, uint16_t port)
{
	const struct kk_address a = public_address(address);
	const union kk_sockaddr to = kk_sockaddr_make(&a, port);
	const struct timeval limit = {.tv_sec = WAIT_MS / 1000};
	int fd;

	enter(ns);
	fd = socket(a.family, type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	if (connect(fd, &to.any, kk_sockaddr_len(&to)) < 0)
		fail_msg("connect to %s: %s", address, strerror(errno));
	return fd;
}

static void wait_for(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
}

static void assert_peer(const struct sockaddr_in6 *from, const char *wanted)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(AF_INET6, &from->sin6_addr, text, sizeof(text));
	assert_string_equal(text, wanted);
}

static void read_all(int fd, uint8_t *data, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t r = recv(fd, data + done, len - done, 0);

		if (r <= 0)
			fail_msg("%zu of %zu bytes: %s", done, len, r ? strerror(errno) : "end");
		done += (size_t)r;
	}
}

/* 4 MB each way, or as $KK_BULK says, so that super-packets and their acknowledgements go too. */
static size_t bulk(void)
{
	const char *wanted = getenv("KK_BULK");

	return wanted ? strtoul(wanted, NULL, 10) : 4 << 20;
}

static void exchange(int a, int b)
{
	const size_t len = bulk();
	uint8_t *out = malloc(len), *in = malloc(len);
	pid_t child;
	int status;

	assert_non_null(out);
	assert_non_null(in);
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(i * 2654435761u >> 24);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		for (size_t done = 0; done < len;) {
			ssize_t r = send(a, out + done, len - done, MSG_NOSIGNAL);

			if (r <= 0)
				_exit(1);
			done += (size_t)r;
		}
		_exit(0);
	}
	read_all(b, in, len);
	assert_memory_equal(in, out, len);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	free(out);
	free(in);
}

static void try_tcp(const char *address, const char *seen)
{
	int listening = server(agent, SOCK_STREAM, 8080), near, far;
	struct sockaddr_in6 from;
	socklen_t len = sizeof(from);

	near = connected(client, SOCK_STREAM, address, 80);
	wait_for(listening);
	far = accept4(listening, (struct sockaddr *)&from, &len, SOCK_CLOEXEC);
	assert_true(far >= 0);
	assert_peer(&from, seen);
	exchange(near, far);
	exchange(far, near);
	close(near);
	close(far);
	close(listening);
}

static void test_tcp(void **state)
{
	(void)state;
	try_tcp("203.0.113.1", "::ffff:203.0.113.7");
	try_tcp("2001:db8:1::1", "2001:db8:1::7");
}

static void try_udp(const char *address, const char *seen, size_t size)
{
	int far = server(agent, SOCK_DGRAM, 5353), near;
	static uint8_t out[BIG], in[BIG];
	struct sockaddr_in6 from;
	socklen_t len = sizeof(from);

	memset(out, 0x5a, size);
	near = connected(client, SOCK_DGRAM, address, 53);
	/* Of IPv6 the first one is lost to the path MTU, which the next one is told. */
	for (int i = 0; i < 10 && poll(&(struct pollfd){.fd = far, .events = POLLIN}, 1, 1000) == 0;
	     i++)
		assert_true(send(near, out, size, 0) == (ssize_t)size || errno == EMSGSIZE);
	assert_int_equal(recvfrom(far, in, sizeof(in), 0, (struct sockaddr *)&from, &len), size);
	assert_memory_equal(in, out, size);
	assert_peer(&from, seen);
	out[0] = 1;
	assert_int_equal(sendto(far, out, size, 0, (struct sockaddr *)&from, len), size);
	wait_for(near);
	assert_int_equal(recv(near, in, sizeof(in), 0), size);
	assert_memory_equal(in, out, size);
	close(near);
	close(far);
}

static void test_udp(void **state)
{
	(void)state;
	try_udp("203.0.113.1", "::ffff:203.0.113.7", 100);
	try_udp("2001:db8:1::1", "2001:db8:1::7", 100);
}

/* In pieces to the gateway, and in other pieces through the tunnel; both ways. */
static void test_big_datagrams(void **state)
{
	(void)state;
	try_udp("203.0.113.1", "::ffff:203.0.113.7", BIG);
	try_udp("2001:db8:1::1", "2001:db8:1::7", BIG);
}

/* Nothing of it is the stack's: neither connection tracking nor forwarding has seen it. */
static void test_counted(void **state)
{
	KK_CLEANUP_FREE struct kk_datapath_service *services = NULL;
	struct kk_module module;
	struct kk_err err = {0};
	int n;

	(void)state;
	enter(gateway);
	assert_ok(kk_module_open(&module, &err), &err);
	n = kk_module_services(&module, &services, &err);
	assert_ok(n, &err);
	assert_int_equal(n, 2);
	for (int i = 0; i < n; i++) {
		assert_true(services[i].in_packets > 0 && services[i].out_packets > 0);
		assert_true(services[i].in_bytes > BIG && services[i].out_bytes > BIG);
	}
	kk_module_close(&module);
	shell("test $(ip netns exec g awk '/^Ip: [0-9]/ { print $7 }' /proc/net/snmp) = 0"); /* ForwDatagrams */
}

/* ---- translated flows, groups, guards ---- */

static struct kk_module open_module(void)
{
	struct kk_module module;
	struct kk_err err = {0};

	enter(gateway);
	assert_ok(kk_module_open(&module, &err), &err);
	return module;
}

static void set_tables(const struct kk_module *module, const struct kk_datapath_tables *tables)
{
	struct kk_err err = {0};

	assert_ok(kk_module_set(module, &settings, tables, &err), &err);
}

/* As everything else expects to find it. */
static void tidy_up(struct kk_module *module)
{
	struct kk_err err = {0};

	assert_ok(kk_module_clear(module, &err), &err);
	kk_module_close(module);
	load_tables();
}

/* The Agent sees the gateway in the client's place; flows are listed with what went through them. */
static void test_snat(void **state)
{
	struct kk_listener listeners[] = {
		listener("203.0.113.1", IPPROTO_TCP, 80, 8080, 1),
		listener("203.0.113.1", IPPROTO_UDP, 53, 5353, 2),
		listener("2001:db8:1::1", IPPROTO_TCP, 80, 8080, 1),
		listener("2001:db8:1::1", IPPROTO_UDP, 53, 5353, 2),
	};
	const struct kk_datapath_tables tables = {.listeners = listeners, .n_listeners = 4};
	KK_CLEANUP_FREE struct kk_module_flow *flows = NULL;
	struct kk_module module = open_module();
	struct kk_err err = {0};
	int n;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(listeners); i++)
		listeners[i].snat = true;
	set_tables(&module, &tables);
	try_tcp("203.0.113.1", "::ffff:10.1.0.1");
	try_tcp("2001:db8:1::1", "fd00:1::a01:1");
	try_udp("203.0.113.1", "::ffff:10.1.0.1", 100);
	try_udp("2001:db8:1::1", "fd00:1::a01:1", 100);
	try_udp("203.0.113.1", "::ffff:10.1.0.1", BIG);
	enter(gateway);
	n = kk_module_flows(&module, &flows, &err);
	assert_ok(n, &err);
	assert_int_equal(n, 5);
	for (int i = 0; i < n; i++) {
		const struct kk_module_flow *flow = &flows[i];
		char text[KK_ADDRESS_TEXT];

		kk_address_text(&flow->client, text);
		assert_string_equal(text, flow->slot % 2 ? "2001:db8:1::7" : "203.0.113.7");
		assert_int_equal(flow->agent.s_addr, ip4("10.1.0.100").s_addr);
		assert_int_equal(flow->public_port, flow->protocol == IPPROTO_TCP ? 80 : 53);
		assert_int_equal(flow->agent_port, flow->protocol == IPPROTO_TCP ? 8080 : 5353);
		assert_true(flow->in_packets && flow->out_packets);
		assert_true(flow->in_bytes >= 128 && flow->out_bytes >= 128);
		if (flow->protocol == IPPROTO_TCP)
			assert_true(flow->in_bytes > bulk() && flow->out_bytes > bulk());
	}
	tidy_up(&module);
}

static struct kk_module_event heard[256];
static size_t n_heard;

static void hear(const struct kk_module_event *event, void *userdata)
{
	(void)userdata;
	if (n_heard < ARRAY_SIZE(heard))
		heard[n_heard++] = *event;
}

/* The first event of a kind, which has to come. */
static const struct kk_module_event *await_event(const struct kk_module_events *events,
						 enum kk_event kind)
{
	struct pollfd p = {.fd = kk_module_events_fd(events), .events = POLLIN};

	for (;;) {
		for (size_t i = 0; i < n_heard; i++)
			if (heard[i].kind == kind)
				return &heard[i];
		if (poll(&p, 1, WAIT_MS) != 1)
			fail_msg("no event %s", kk_module_event_name(kind));
		assert_int_equal(kk_module_events_read(events, hear, NULL), 0);
	}
}

static struct kk_module_events subscribe(void)
{
	struct kk_module_events events;
	struct kk_err err = {0};

	enter(gateway);
	n_heard = 0;
	assert_ok(kk_module_events_open(&events, &err), &err);
	return events;
}

static bool arrives(int fd, int wait_ms)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, wait_ms) == 1;
}

/* What has become of packets says more than that one did not come. */
static void wait_or_tell(int fd, const char *what)
{
	KK_CLEANUP_FREE struct kk_datapath_counter *counters = NULL;
	struct kk_module module;
	struct kk_err err = {0};
	int n;

	if (arrives(fd, WAIT_MS))
		return;
	enter(gateway);
	assert_ok(kk_module_open(&module, &err), &err);
	n = kk_module_counters(&module, &counters, &err);
	for (int i = 0; i < n; i++)
		if (counters[i].packets)
			print_error("%8llu %s\n", (unsigned long long)counters[i].packets,
				    counters[i].name);
	fail_msg("nothing came to the %s", what);
}

/* One datagram there, and with @answer one back. */
static void pass(int near, int far, bool answer)
{
	struct sockaddr_in6 from;
	socklen_t len = sizeof(from);
	uint8_t byte = 1;

	assert_int_equal(send(near, &byte, 1, 0), 1);
	wait_or_tell(far, "agent");
	assert_int_equal(recvfrom(far, &byte, 1, 0, (struct sockaddr *)&from, &len), 1);
	if (!answer)
		return;
	assert_int_equal(sendto(far, &byte, 1, 0, (struct sockaddr *)&from, len), 1);
	wait_or_tell(near, "client");
	assert_int_equal(recv(near, &byte, 1, 0), 1);
}

static uint64_t counted(const struct kk_module *module, enum kk_reason reason)
{
	KK_CLEANUP_FREE struct kk_datapath_counter *counters = NULL;
	struct kk_err err = {0};

	assert_ok(kk_module_counters(module, &counters, &err), &err);
	return counters[reason].packets;
}

/* Until @n packets have been counted as @reason. */
static void await_counted(const struct kk_module *module, enum kk_reason reason, uint64_t n)
{
	for (int i = 0; counted(module, reason) < n; i++) {
		if (i == WAIT_MS / 10)
			fail_msg("%llu packets of %llu ended as %s",
				 (unsigned long long)counted(module, reason), (unsigned long long)n,
				 kk_reason_name(reason));
		usleep(10000);
	}
}

/* One datagram there, which is dropped as @reason. */
static void drop(const struct kk_module *module, int near, int far, enum kk_reason reason)
{
	uint64_t before = counted(module, reason);
	uint8_t byte = 1;

	assert_int_equal(send(near, &byte, 1, 0), 1);
	await_counted(module, reason, before + 1);
	assert_false(arrives(far, 0));
}

/* What goes on with a connection is seen by no hook of the stack's, neither as it comes nor as it goes. */
static void test_short_way(void **state)
{
	(void)state;
	shell("ip netns exec g nft 'add table ip seen; add counter ip seen began; add counter ip seen came;"
	      "add counter ip seen went;"
	      "add chain ip seen pre { type filter hook prerouting priority -500; };"
	      "add rule ip seen pre tcp flags & (syn | ack | rst) == syn counter name began;"
	      "add rule ip seen pre tcp flags & (syn | ack | rst) == ack counter name came;"
	      "add chain ip seen post { type filter hook postrouting priority 0; };"
	      "add rule ip seen post tcp flags & ack == ack counter name went'");
	try_tcp("203.0.113.1", "::ffff:203.0.113.7");
	shell("packets() { ip netns exec g nft list counter ip seen $1 | sed -n 's/.*packets \\([0-9]*\\) .*/\\1/p'; };"
	      "seen=\"$(packets began) $(packets came) $(packets went)\"; echo \"seen: $seen\";"
	      "case $seen in '0 0 0') exit 1;; *' 0 0') ;; *) exit 1;; esac");
	shell("ip netns exec g nft delete table ip seen");
}

struct frame {
	struct ether_header ethernet;
	struct iphdr ip;
	struct udphdr udp;
	uint8_t payload[14];
	uint8_t padding[4]; /* up to the shortest frame */
} __attribute__((packed));
_Static_assert(sizeof(struct frame) == ETH_ZLEN, "the shortest frame");

static struct frame make_frame(uint8_t first)
{
	const uint16_t len = offsetof(struct frame, padding) - offsetof(struct frame, ip);
	struct frame frame = {
		.ethernet = {.ether_type = htons(ETHERTYPE_IP)},
		.ip = {.version = 4,
		       .ihl = 5,
		       .tot_len = htons(len),
		       .ttl = 64,
		       .protocol = IPPROTO_UDP,
		       .saddr = ip4("203.0.113.7").s_addr,
		       .daddr = ip4("203.0.113.1").s_addr},
		.udp = {.source = htons(4000),
			.dest = htons(53),
			.len = htons((uint16_t)(len - sizeof(struct iphdr)))}, /* and no checksum */
		.payload = {first},
		.padding = {0xaa, 0xaa, 0xaa, 0xaa},
	};
	uint16_t words[sizeof(frame.ip) / 2];
	uint32_t sum = 0;

	memcpy(words, &frame.ip, sizeof(words));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		sum += words[i];
	frame.ip.check = (uint16_t) ~((sum & 0xffff) + (sum >> 16));
	return frame;
}

static void read_mac(const char *ifname, uint8_t *ret)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = {0};

	strncpy(req.ifr_name, ifname, IFNAMSIZ - 1);
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &req), 0);
	memcpy(ret, req.ifr_hwaddr.sa_data, ETH_ALEN);
	close(fd);
}

/* Frames of another host's are not ours, whatever is in them; the padding of those that are is not forwarded. */
static void test_frames(void **state)
{
	int far = server(agent, SOCK_DGRAM, 5353), fd;
	struct frame other = make_frame(1), ours = make_frame(2);
	struct sockaddr_ll to = {.sll_family = AF_PACKET};
	uint8_t data[sizeof(ours)];

	(void)state;
	enter(gateway);
	read_mac("eth0", ours.ethernet.ether_dhost);
	memcpy(other.ethernet.ether_dhost, ours.ethernet.ether_dhost, ETH_ALEN);
	other.ethernet.ether_dhost[5] ^= 1;
	enter(client);
	to.sll_ifindex = (int)if_nametoindex("eth0");
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(sendto(fd, &other, sizeof(other), 0, (struct sockaddr *)&to, sizeof(to)),
			 sizeof(other));
	assert_int_equal(sendto(fd, &ours, sizeof(ours), 0, (struct sockaddr *)&to, sizeof(to)),
			 sizeof(ours));
	wait_or_tell(far, "agent");
	assert_int_equal(recv(far, data, sizeof(data), 0), sizeof(ours.payload));
	assert_int_equal(data[0], 2);
	assert_false(arrives(far, 100));
	close(fd);
	close(far);
}

/* Flows that nobody answered give way to others; those that were answered do not, and then there is no room. */
static void test_bound_of_flows(void **state)
{
	enum { MAX = 8 };
	struct kk_listener one = listener("203.0.113.1", IPPROTO_UDP, 53, 5353, 2);
	const struct kk_datapath_tables tables = {.listeners = &one, .n_listeners = 1};
	struct kk_module module = open_module();
	struct kk_module_events events = subscribe();
	int far = server(agent, SOCK_DGRAM, 5353), near[MAX];
	struct kk_module_info info;
	struct kk_err err = {0};

	(void)state;
	one.snat = true;
	settings.flows_max = MAX;
	set_tables(&module, &tables);
	for (int i = 0; i < 3 * MAX; i++) {
		int fd = connected(client, SOCK_DGRAM, "203.0.113.1", 53);

		pass(fd, far, false);
		close(fd);
	}
	enter(gateway);
	assert_ok(kk_module_info(&module, &info, &err), &err);
	assert_int_equal(info.n_flows, MAX);
	assert_true(await_event(&events, KK_EVENT_FLOWS_SCARCE)->flows >= MAX - MAX / 8);
	for (int i = 0; i < MAX; i++) {
		near[i] = connected(client, SOCK_DGRAM, "203.0.113.1", 53);
		pass(near[i], far, true);
	}
	for (int i = 0; i < 3; i++) {
		int fd = connected(client, SOCK_DGRAM, "203.0.113.1", 53);

		drop(&module, fd, far, KK_REASON_SNAT_EXHAUSTED);
		close(fd);
	}
	assert_int_equal(await_event(&events, KK_EVENT_FLOWS_FULL)->flows, MAX);
	for (int i = 0; i < MAX; i++) {
		pass(near[i], far, true);
		close(near[i]);
	}
	close(far);
	kk_module_events_close(&events);
	settings.flows_max = 0;
	enter(gateway);
	tidy_up(&module);
}

/* ---- the time of flows ---- */

#define TRACING "/sys/kernel/tracing/"

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_TRUNC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		fail_msg("%s: %s", path, strerror(errno));
	close(fd);
}

/* What the wheel has done since the trace was emptied. */
struct turns {
	unsigned n, looked, gone, most;
};

static struct turns read_turns(void)
{
	FILE *file = fopen(TRACING "trace", "re");
	struct turns turns = {0};
	char line[512];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		const char *at = strstr(line, "kk_flows_turn: ");
		unsigned looked, gone;

		if (!at || sscanf(at, "kk_flows_turn: looked=%u gone=%u", &looked, &gone) != 2)
			continue;
		turns.n++;
		turns.looked += looked;
		turns.gone += gone;
		turns.most = looked > turns.most ? looked : turns.most;
	}
	fclose(file);
	return turns;
}

static uint32_t count_flows(const struct kk_module *module)
{
	struct kk_module_info info;
	struct kk_err err = {0};

	assert_ok(kk_module_info(module, &info, &err), &err);
	return info.n_flows;
}

static void await_flows(const struct kk_module *module, uint32_t n)
{
	for (int i = 0; count_flows(module) != n; i++) {
		if (i == 3 * WAIT_MS / 10)
			fail_msg("%u flows, want %u", count_flows(module), n);
		usleep(10000);
	}
}

/* The only flow there is, and that it has had @packets each way. */
static void assert_only_flow(const struct kk_module *module, uint64_t packets)
{
	KK_CLEANUP_FREE struct kk_module_flow *flows = NULL;
	struct kk_err err = {0};

	assert_int_equal(kk_module_flows(module, &flows, &err), 1);
	assert_int_equal(flows[0].in_packets, packets);
	assert_int_equal(flows[0].out_packets, packets);
	assert_int_equal(flows[0].in_bytes, 29 * packets); /* of one byte */
	assert_int_equal(flows[0].out_bytes, 29 * packets);
}

static uint64_t passed(const struct kk_module *module)
{
	KK_CLEANUP_FREE struct kk_datapath_service *services = NULL;
	struct kk_err err = {0};

	assert_int_equal(kk_module_services(module, &services, &err), 1);
	assert_int_equal(services[0].in_packets, services[0].out_packets);
	return services[0].in_packets;
}

/*
 * Flows that are not seen for their time go, whatever others do, and one that is seen stays; who comes again begins anew.
 * The wheel looks at each but once in a turn, and at a part of them at a time.
 */
static void test_flows_end(void **state)
{
	enum { FLOWS = 48, SLOTS = 16, LONG_S = 1000, SHORT_S = 5 };
	struct kk_listener one = listener("203.0.113.1", IPPROTO_UDP, 53, 5353, 2);
	const struct kk_datapath_tables tables = {.listeners = &one, .n_listeners = 1};
	struct kk_module module = open_module();
	int far = server(agent, SOCK_DGRAM, 5353), near[FLOWS];
	struct turns turns;
	uint64_t kept = 0, before;
	struct kk_err err = {0};

	(void)state;
	one.snat = true;
	enter(gateway);
	/* The closing time makes the wheel turn in a second: the flows are made in many of its steps. */
	settings.flow_times = (struct kk_flow_times){.udp = LONG_S, .tcp = LONG_S, .closing = 1};
	set_tables(&module, &tables);
	before = passed(&module);
	write_file(TRACING "trace", "");
	write_file(TRACING "events/kakuremichi/kk_flows_turn/enable", "1");
	for (int i = 0; i < FLOWS; i++) {
		near[i] = connected(client, SOCK_DGRAM, "203.0.113.1", 53);
		pass(near[i], far, true);
		usleep(1200000 / FLOWS);
	}
	kept++;
	write_file(TRACING "trace", "");
	usleep(2000000);
	turns = read_turns();
	assert_true(turns.n >= 2);
	assert_int_equal(turns.gone, 0);
	/* Not all at once, and none twice in a turn. */
	assert_true(turns.most < FLOWS);
	assert_true(turns.looked <= FLOWS * (turns.n + SLOTS - 1) / SLOTS + FLOWS);
	assert_int_equal(count_flows(&module), FLOWS);
	/* Their time is shorter from now on. One is seen all the time. */
	settings.flow_times.udp = SHORT_S;
	write_file(TRACING "trace", "");
	assert_ok(kk_module_set_settings(&module, &settings, &err), &err);
	for (int i = 0; count_flows(&module) != 1; i++, kept++) {
		assert_true(i < 3 * WAIT_MS / 200);
		pass(near[0], far, true);
		usleep(200000);
	}
	turns = read_turns();
	assert_int_equal(turns.gone, FLOWS - 1);
	enter(gateway);
	assert_only_flow(&module, kept);
	assert_int_equal(passed(&module) - before, FLOWS + kept - 1);
	/* And then that one too; the next datagram is another flow's, counted from zero. */
	await_flows(&module, 0);
	pass(near[0], far, true);
	assert_only_flow(&module, 1);
	assert_int_equal(passed(&module) - before, FLOWS + kept);
	write_file(TRACING "events/kakuremichi/kk_flows_turn/enable", "0");
	for (int i = 0; i < FLOWS; i++)
		close(near[i]);
	close(far);
	settings.flow_times = (struct kk_flow_times){0};
	enter(gateway);
	tidy_up(&module);
}

/* A limit lets the burst pass, a ban nobody, a list those that it names; each is counted and told. */
static void test_guards(void **state)
{
	const struct kk_listener one = listener("203.0.113.1", IPPROTO_UDP, 53, 5353, 2);
	struct kk_guard guard = {.service = 2, .packets = {.rate = 1, .burst = 3}};
	struct kk_rule rule = {.prefix = {.addr = public_address("203.0.113.7"), .len = 32}};
	struct kk_list list = {.id = 4, .rules = &rule, .n_rules = 1};
	const struct kk_ban_entry ban = {.source = public_address("203.0.113.7")};
	struct kk_datapath_tables tables = {
		.listeners = &one, .n_listeners = 1, .guards = &guard, .n_guards = 1};
	struct kk_module module = open_module();
	struct kk_module_events events = subscribe();
	enum { SENT = 100 };
	int far = server(agent, SOCK_DGRAM, 5353), near;
	uint64_t before, limited = 0, passed = 0;
	const struct kk_module_event *event;
	struct kk_err err = {0};
	uint8_t byte = 0;

	(void)state;
	settings.edge = true;
	set_tables(&module, &tables);
	near = connected(client, SOCK_DGRAM, "203.0.113.1", 53);
	before = counted(&module, KK_REASON_LIMITED_PACKETS);
	for (int i = 0; i < SENT; i++)
		assert_int_equal(send(near, &byte, 1, 0), 1);
	for (int i = 0; passed + limited < SENT; i++) {
		assert_true(i < SENT + WAIT_MS / 10);
		if (arrives(far, 10)) {
			assert_int_equal(recv(far, &byte, 1, 0), 1);
			passed++;
		}
		limited = counted(&module, KK_REASON_LIMITED_PACKETS) - before;
	}
	assert_true(passed >= 3 && limited > 0);
	assert_int_equal(passed + limited, SENT);
	event = await_event(&events, KK_EVENT_LIMITED_PACKETS);
	assert_true(kk_address_equal(&event->source, &ban.source));
	assert_int_equal(event->service, 2);
	guard = (struct kk_guard){.service = 2, .list = 4, .deny_others = true};
	tables.lists = &list;
	tables.n_lists = 1;
	set_tables(&module, &tables);
	drop(&module, near, far, KK_REASON_DENIED);
	rule.allow = true;
	set_tables(&module, &tables);
	pass(near, far, true);
	assert_ok(kk_module_ban(&module, &ban, 1, &err), &err);
	drop(&module, near, far, KK_REASON_BANNED);
	assert_ok(kk_module_unban(&module, &ban.source, 0, &err), &err);
	pass(near, far, true);
	close(near);
	close(far);
	kk_module_events_close(&events);
	settings.edge = false;
	enter(gateway);
	tidy_up(&module);
}

static int server_at(const char *address, uint16_t port)
{
	const struct kk_address a = public_address(address);
	const union kk_sockaddr at = kk_sockaddr_make(&a, port);
	int fd;

	enter(agent);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, &at.any, kk_sockaddr_len(&at)), 0);
	return fd;
}

/* Both members get flows, and answers of both are the service's; one that is not healthy gets none. */
static void test_group(void **state)
{
	enum { FLOWS = 24 };
	struct kk_member members[] = {{ip4("10.1.0.100"), true}, {ip4("10.1.0.101"), true}};
	struct kk_group group = {.id = 5, .members = members, .n_members = 2};
	struct kk_listener one = listener("203.0.113.1", IPPROTO_UDP, 53, 5353, 2);
	const struct kk_datapath_tables tables = {
		.listeners = &one, .n_listeners = 1, .groups = &group, .n_groups = 1};
	struct kk_module module = open_module();
	struct kk_err err = {0};
	int far[2], seen[2] = {0};

	(void)state;
	shell("ip -n a addr add 10.1.0.101/24 dev wg0");
	far[0] = server_at("10.1.0.100", 5353);
	far[1] = server_at("10.1.0.101", 5353);
	enter(gateway);
	one.group = 5;
	set_tables(&module, &tables);
	for (int i = 0; i < 2 * FLOWS; i++) {
		int near = connected(client, SOCK_DGRAM, "203.0.113.1", 53), which;
		struct pollfd p[] = {{.fd = far[0], .events = POLLIN},
				     {.fd = far[1], .events = POLLIN}};
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		uint8_t byte = 0;

		if (i == FLOWS) {
			assert_true(seen[0] > 3 && seen[1] > 3);
			seen[0] = seen[1] = 0;
			members[0].healthy = false;
			enter(gateway);
			assert_ok(kk_module_set_group(&module, &group, &err), &err);
		}
		assert_int_equal(send(near, &byte, 1, 0), 1);
		assert_int_equal(poll(p, 2, WAIT_MS), 1);
		which = p[1].revents ? 1 : 0;
		seen[which]++;
		assert_int_equal(recvfrom(far[which], &byte, 1, 0, (struct sockaddr *)&from, &len),
				 1);
		assert_int_equal(sendto(far[which], &byte, 1, 0, (struct sockaddr *)&from, len), 1);
		wait_for(near);
		assert_int_equal(recv(near, &byte, 1, 0), 1);
		close(near);
	}
	assert_int_equal(seen[0], 0);
	close(far[0]);
	close(far[1]);
	enter(gateway);
	tidy_up(&module);
}

/*
 * Datagrams flood both ways while the module goes and comes. Without it the gateway's own stack answers, so that a
 * TCP connection would be reset; a new one is made at the end.
 */
static void test_unload_under_traffic(void **state)
{
	int far = server(agent, SOCK_DGRAM, 5353), near, status;
	static uint8_t data[1200];
	struct sockaddr_in6 from;
	socklen_t len = sizeof(from);
	pid_t child;

	(void)state;
	near = connected(client, SOCK_DGRAM, "203.0.113.1", 53);
	child = fork();
	assert_true(child >= 0);
	while (child == 0) {
		/* Errors are the other stack's that it is not listening. */
		(void)!send(near, data, sizeof(data), MSG_DONTWAIT);
		(void)!recv(near, data, sizeof(data), MSG_DONTWAIT);
		if (recvfrom(far, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from,
			     &len) > 0)
			(void)!sendto(far, data, sizeof(data), MSG_DONTWAIT,
				      (struct sockaddr *)&from, len);
	}
	for (int i = 0; i < N_UNLOADS; i++) {
		unload_module();
		load_module();
		load_tables();
	}
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	close(near);
	close(far);
	test_tcp(NULL);
	test_udp(NULL);
}

/* Another namespace with tables goes away; these stay. */
static void test_namespace_goes_with_its_tables(void **state)
{
	struct kk_module module;
	struct kk_err err = {0};

	(void)state;
	for (int i = 0; i < 10; i++) {
		struct kk_module_settings other = settings;

		assert_int_equal(unshare(CLONE_NEWNET), 0);
		assert_ok(kk_net_link_add(WORLD_PUBLIC, "veth", &err), &err);
		shell("ip link add wg0 type wireguard");
		other.public_ifindex = if_nametoindex(WORLD_PUBLIC);
		other.tunnel_ifindex = if_nametoindex("wg0");
		assert_ok(kk_module_open(&module, &err), &err);
		assert_ok(kk_module_replace(&module, &other, NULL, 0, &err), &err);
		kk_module_close(&module);
	}
	enter(client);
	test_tcp(NULL);
}

/* The tunnel is taken down and made anew under the same name: the tables go by it again. */
/* The new interface is told where the Agent is: with keepalives alone the Agent notices only after 120 s. */
static void test_tunnel_comes_back(void **state)
{
	(void)state;
	shell("ip -n g link del wg0 && ip -n g link add wg0 type wireguard &&"
	      "ip netns exec g wg set wg0 private-key /tmp/g listen-port 51820 peer $(cat /tmp/ap)"
	      " endpoint 192.168.7.2:51821 allowed-ips 10.1.0.0/24,fd00:1::a01:0/120 &&"
	      "ip -n g link set wg0 up mtu 1420 &&"
	      "ip -n g addr add 10.1.0.1/24 dev wg0 && i=0; until ip netns exec g ping -c1 -w1 -q 10.1.0.100 >/dev/null; do i=$((i+1)); test $i -lt 60 || exit 1; done");
	test_tcp(NULL);
}

/* test_module_traffic [TEST] */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_big_datagrams),
		cmocka_unit_test(test_counted),
		cmocka_unit_test(test_short_way),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_snat),
		cmocka_unit_test(test_bound_of_flows),
		cmocka_unit_test(test_flows_end),
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_group),
		cmocka_unit_test(test_tunnel_comes_back),
		cmocka_unit_test(test_namespace_goes_with_its_tables),
		cmocka_unit_test(test_unload_under_traffic),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, start, end);
}
