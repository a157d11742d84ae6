// SPDX-License-Identifier: MIT
/*
 * Connections to a service that is flooded with SYNs from millions of addresses, as fast as a processor can make them, beside
 * the same without the flood: a connection is opened, asks, is answered and closes (connect.c). The data plane is the product's,
 * with XDP in native mode on a veth and both TUN devices of the tunnel joined by threads. The client, the Agent and the tunnel have one
 * processor, the flood has the other; the two take turns, and in each turn under flood the client is one that has yet to prove
 * itself. Goodput under flood divided by goodput without, medians. Needs root and two processors.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <linux/if_tun.h>

#include "live.h"
#include "bpf/datapath.h"
#include "net/net.h"

#define SECONDS	 2
#define ROUNDS	 5
#define PARALLEL 16
#define BURST	 65536 /* of the flood */

enum { CLIENT, AGENT, GATEWAY, N_MACHINES };

static struct {
	int netns[N_MACHINES];
	int tun[2]; /* the gateway's, the Agent's */
	char pin_dir[64];
	const char *connect; /* the program beside this one */
	struct kk_datapath *dp;
	struct live *live;
} lab;

static void enter(int machine)
{
	if (setns(lab.netns[machine], CLONE_NEWNET) < 0)
		bench_die("setns: %s", strerror(errno));
}

static int new_netns(void)
{
	int fd = -1;

	if (unshare(CLONE_NEWNET) == 0)
		fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		bench_die("a network namespace: %s", strerror(errno));
	return fd;
}

static void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		bench_die("processor %d: %s", cpu, strerror(errno));
}

static int tun_open(const char *ifname)
{
	struct ifreq req = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	strcpy(req.ifr_name, ifname);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &req) < 0)
		bench_die("TUN device %s: %s", ifname, strerror(errno));
	return fd;
}

/* Packets from one end of the tunnel to the other. */
static void *pump(void *arg)
{
	const int *from = arg, *to = from == &lab.tun[0] ? &lab.tun[1] : &lab.tun[0];
	static _Thread_local char packet[2048];
	struct pollfd poll_fd = {.fd = *from, .events = POLLIN};
	ssize_t n;

	pin_to(0);
	for (;;) {
		poll(&poll_fd, 1, -1);
		while ((n = read(*from, packet, sizeof(packet))) > 0)
			if (write(*to, packet, (size_t)n) < 0)
				break; /* its queue is full: as with any link */
	}
	return NULL;
}

static void world(void)
{
	struct kk_err err = {0};

	lab.netns[CLIENT] = new_netns();
	lab.netns[AGENT] = new_netns();
	lab.tun[1] = tun_open("kka");
	bench_run("ip link set lo up; ip addr add 10.1.0.100/24 dev kka; ip link set kka up; "
		  "ip route add default dev kka");
	lab.netns[GATEWAY] = new_netns();
	lab.tun[0] = tun_open("kktun");
	bench_run("ip link set lo up; ip link add pub address " LIVE_MAC
		  " numrxqueues 2 numtxqueues 2 type veth peer name far address "
		  "02:00:00:00:00:02 numrxqueues 2 numtxqueues 2; "
		  "ip addr add 198.51.100.1/24 dev pub; ip link set pub up; "
		  "ip addr add 10.1.0.1/24 dev kktun; ip link set kktun mtu 1420 up");
	if (kk_net_link_move("far", lab.netns[CLIENT], &err) < 0)
		bench_die("%s", err.msg);
	/* The client's network routes to everybody else: what goes to the flood's addresses goes there too. */
	bench_run("ip neigh add 198.51.100.2 lladdr 02:00:00:00:00:02 dev pub; "
		  "ip route add default via 198.51.100.2");
	/* So that looking for a free port takes no time: closed connections do not linger. */
	enter(CLIENT);
	bench_run("sysctl -qw net.ipv4.tcp_max_tw_buckets=0; "
		  "ip link set lo up; ip addr add 203.0.113.7/32 dev far; ip link set far up; "
		  "ip route add 198.51.100.1 dev far; "
		  "ip neigh add 198.51.100.1 lladdr " LIVE_MAC " dev far");
	lab.live = live_load(1, 0);
	live_set_xdp((int)if_nametoindex("far"), lab.live->progs.kk_live_mine);
	enter(GATEWAY);
}

static void datapath_open(void)
{
	static struct kk_address address = {.family = AF_INET};
	struct kk_datapath_config config = {
		.pin_dir = lab.pin_dir,
		.public_ifname = "pub",
		.tunnel_ifname = "kktun",
		.addresses = &address,
		.n_addresses = 1,
		.pool = {.addr.s_addr = htonl(0x0a000000), .len = 8},
		.host = 1,
		.edge = {.xdp = KK_XDP_NATIVE, .closed_ports = true, .syn_rate = 10000}};
	const struct kk_listener listener = {
		.protocol = IPPROTO_TCP,
		.address = {.family = AF_INET, .v4.s_addr = htonl(LIVE_ADDRESS)},
		.port = LIVE_PORT,
		.agent_address.s_addr = htonl(LIVE_AGENT),
		.agent_port = LIVE_PORT,
		.service = 1};
	struct kk_err err = {0};

	address.v4.s_addr = htonl(LIVE_ADDRESS);
	snprintf(lab.pin_dir, sizeof(lab.pin_dir), "/sys/fs/bpf/kk-flood-%d", (int)getpid());
	if (kk_datapath_open(&config, &lab.dp, &err) < 0 ||
	    kk_datapath_sync(lab.dp, &listener, 1, &err) < 0)
		bench_die("%s", err.msg);
}

/* The program connect, in the namespace of @machine; @ret_out gets what it prints. */
static pid_t start(int machine, const char *what, int *ret_out)
{
	char port[8], seconds[8], parallel[8];
	int out[2];
	pid_t pid;

	snprintf(port, sizeof(port), "%d", LIVE_PORT);
	snprintf(seconds, sizeof(seconds), "%d", SECONDS);
	snprintf(parallel, sizeof(parallel), "%d", PARALLEL);
	if (pipe2(out, O_CLOEXEC) < 0)
		bench_die("a pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		bench_die("fork: %s", strerror(errno));
	if (pid == 0) {
		enter(machine);
		pin_to(0);
		dup2(out[1], STDOUT_FILENO);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(lab.connect, lab.connect, what,
		      machine == AGENT ? "10.1.0.100" : "198.51.100.1", port, seconds, parallel,
		      NULL);
		_exit(127);
	}
	close(out[1]);
	*ret_out = out[0];
	return pid;
}

/* Connections a second that were answered; *@ret_failed gets how many were not. */
static double connections(int *ret_failed)
{
	double seconds = 0;
	int out, done = 0;
	pid_t pid = start(CLIENT, "open", &out);
	FILE *f = fdopen(out, "r");

	if (!f || fscanf(f, "%d %d %lf", &done, ret_failed, &seconds) != 3 || seconds <= 0)
		bench_die("%s has not said how many connections were answered", lab.connect);
	fclose(f);
	waitpid(pid, NULL, 0);
	return done / seconds;
}

static atomic_bool over;
static atomic_ullong sent;

static void *flood(void *unused)
{
	(void)unused;
	enter(CLIENT);
	pin_to(1);
	while (!atomic_load(&over)) {
		live_send(lab.live->progs.kk_live_syn, (int)if_nametoindex("far"), BURST);
		atomic_fetch_add(&sent, BURST);
	}
	return NULL;
}

/* The client has yet to prove that it is there. */
static void forget_client(void)
{
	const struct kk_in6 client = {.word = {0, 0, htonl(0xffff), htonl(LIVE_CLIENT)}};
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/layout-%d/kk_verified", lab.pin_dir, KK_LAYOUT);
	fd = bpf_obj_get(path);
	if (fd < 0 || (bpf_map_delete_elem(fd, &client) < 0 && errno != ENOENT))
		bench_die("%s: %s", path, strerror(errno));
	close(fd);
}

static double flooded_connections(double *ret_rate, int *ret_failed)
{
	unsigned long long before = atomic_load(&sent);
	pthread_t thread;
	double result, began;

	forget_client();
	atomic_store(&over, false);
	if (pthread_create(&thread, NULL, flood, NULL))
		bench_die("a thread: %s", strerror(errno));
	began = bench_seconds(CLOCK_MONOTONIC);
	usleep(200000);
	result = connections(ret_failed);
	*ret_rate =
		(double)(atomic_load(&sent) - before) / (bench_seconds(CLOCK_MONOTONIC) - began);
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	return result;
}

static unsigned long long counted(const char *reason)
{
	struct kk_datapath_counter *list = NULL;
	unsigned long long packets = 0;
	struct kk_err err = {0};
	int n = kk_datapath_counters(lab.dp, &list, &err);

	if (n < 0)
		bench_die("%s", err.msg);
	for (int i = 0; i < n; i++)
		if (strcmp(list[i].name, reason) == 0)
			packets = list[i].packets;
	free(list);
	return packets;
}

static void measure(void)
{
	double quiet[ROUNDS], flooded[ROUNDS], rate[ROUNDS], with, without;
	int failed = 0, one = 0;

	for (int round = 0; round < ROUNDS; round++) {
		quiet[round] = connections(&one);
		failed += one;
		flooded[round] = flooded_connections(&rate[round], &one);
		failed += one;
	}
	without = bench_median(quiet, ROUNDS);
	with = bench_median(flooded, ROUNDS);
	printf("%.2f million SYNs a second; %llu were challenged, %llu proofs came\n",
	       bench_median(rate, ROUNDS) / 1e6, counted("syn_challenge"), counted("syn_proof"));
	printf("without flood %6.0f connections/s (%.0f to %.0f)\n", without, quiet[0],
	       quiet[ROUNDS - 1]);
	printf("flooded       %6.0f connections/s (%.0f to %.0f), %d of all failed\n", with,
	       flooded[0], flooded[ROUNDS - 1], failed);
	printf("figure flood-goodput-share %.2f x\n", with / without);
}

int main(int argc, char **argv)
{
	struct kk_err err = {0};
	pthread_t pumps[2];
	int out;
	pid_t server;

	if (argc != 2)
		bench_die("usage: bench_flood PATH-OF-CONNECT");
	lab.connect = argv[1];
	world();
	datapath_open();
	for (int i = 0; i < 2; i++)
		if (pthread_create(&pumps[i], NULL, pump, &lab.tun[i]))
			bench_die("a thread: %s", strerror(errno));
	server = start(AGENT, "serve", &out);
	usleep(100000);
	measure();
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	kk_datapath_close(lab.dp);
	if (kk_datapath_remove(lab.pin_dir, "pub", "kktun", &err) < 0)
		bench_die("%s", err.msg);
	live__destroy(lab.live);
	return 0;
}
