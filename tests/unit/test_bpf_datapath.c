// SPDX-License-Identifier: MIT
/* The loader: tables changed wholly or not at all, adopted, replaced, taken away. Needs root. */
#include "datapath_world.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <sys/stat.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>

#include <kk/core/types.h>

#include "bpf/attach.h"

static struct world world;

static struct kk_listener listener(uint8_t protocol, uint16_t port, const char *agent,
				   uint16_t agent_port, uint32_t service)
{
	return (struct kk_listener){
		.protocol = protocol,
		.address = world.address,
		.port = port,
		.agent_address = ip4(agent),
		.agent_port = agent_port,
		.service = service,
	};
}

static struct kk_datapath *open_datapath(void)
{
	struct kk_datapath *dp;
	struct kk_err err = {0};

	assert_ok(kk_datapath_open(&world.config, &dp, &err), &err);
	return dp;
}

static void sync_ok(struct kk_datapath *dp, const struct kk_listener *listeners, size_t n)
{
	struct kk_err err = {0};

	assert_ok(kk_datapath_sync(dp, listeners, n, &err), &err);
}

/* The tables hold exactly @wanted, which is in order of protocol and port. */
static void assert_tables(struct kk_datapath *dp, const struct kk_listener *wanted, size_t n)
{
	KK_CLEANUP_FREE struct kk_listener *list = NULL;
	struct kk_err err = {0};

	assert_int_equal(kk_datapath_list(dp, &list, &err), n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(list[i].protocol, wanted[i].protocol);
		assert_true(kk_address_equal(&list[i].address, &wanted[i].address));
		assert_int_equal(list[i].port, wanted[i].port);
		assert_int_equal(list[i].agent_address.s_addr, wanted[i].agent_address.s_addr);
		assert_int_equal(list[i].agent_port, wanted[i].agent_port);
		assert_int_equal(list[i].service, wanted[i].service);
	}
}

static void pin_path(const char *map, char path[128])
{
	snprintf(path, 128, "%s/layout-%d/%s", world.pin_dir, KK_LAYOUT, map);
}

static int open_pin(const char *map)
{
	char path[128];
	int fd;

	pin_path(map, path);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

/* How many ports the table of origins has. */
static size_t count_origins(void)
{
	KK_CLEANUP_CLOSE int fd = open_pin("kk_origins");
	struct kk_origin_key key;
	size_t n = 0;

	for (void *last = NULL; bpf_map_get_next_key(fd, last, &key) == 0; last = &key)
		n++;
	return n;
}

/* The public port of an Agent's port in the table of origins, 0: none. */
static uint16_t origin_of(const char *agent, uint8_t protocol, uint16_t port)
{
	KK_CLEANUP_CLOSE int fd = open_pin("kk_origins");
	struct kk_origin_key key = {.address = ip4(agent).s_addr,
				    .port = htons(port),
				    .protocol = protocol,
				    .family = KK_IP4};
	struct kk_origin value;

	return bpf_map_lookup_elem(fd, &key, &value) < 0 ? 0 : ntohs(value.port);
}

static struct bpf_tc_hook hook_of(const char *ifname)
{
	return (struct bpf_tc_hook){
		.sz = sizeof(struct bpf_tc_hook),
		.ifindex = kk_net_ifindex(ifname),
		.attach_point = BPF_TC_INGRESS,
	};
}

#define TCX_INGRESS 46 /* linux/bpf.h from Linux 6.6 on */

/* The only program at tcx; 0: there is none, or no tcx. */
static __u32 tcx_id(const char *ifname)
{
	__u32 id = 0, n = 1;

	return bpf_prog_query(kk_net_ifindex(ifname), TCX_INGRESS, 0, NULL, &id, &n) < 0 ? 0 : id;
}

static bool has_tcx(void)
{
	__u32 id, n = 1;

	return bpf_prog_query(kk_net_ifindex(WORLD_PUBLIC), TCX_INGRESS, 0, NULL, &id, &n) == 0;
}

/* At our place of clsact; 0: there is none. */
static __u32 clsact_id(const char *ifname)
{
	struct bpf_tc_hook hook = hook_of(ifname);
	struct bpf_tc_opts opts = {
		.sz = sizeof(opts), .handle = KK_TC_HANDLE, .priority = KK_TC_PRIORITY};

	return bpf_tc_query(&hook, &opts) < 0 ? 0 : opts.prog_id;
}

/* Ours is at one of the two. */
static __u32 program_id(const char *ifname)
{
	__u32 tcx = tcx_id(ifname), clsact = clsact_id(ifname);

	assert_false(tcx && clsact);
	return tcx ? tcx : clsact;
}

static void test_tables_outlive_the_process(void **state)
{
	const struct kk_listener some[] = {
		listener(IPPROTO_TCP, 2222, "10.1.0.100", 2222, 7),
		listener(IPPROTO_TCP, 8080, "10.2.0.100", 80, 9),
		listener(IPPROTO_UDP, 2222, "10.1.0.100", 2222, 70000),
	};
	struct kk_datapath *dp = open_datapath();
	__u32 before;

	(void)state;
	sync_ok(dp, NULL, 0);
	assert_tables(dp, NULL, 0);
	sync_ok(dp, some, ARRAY_SIZE(some));
	assert_tables(dp, some, ARRAY_SIZE(some));
	kk_datapath_close(dp);
	before = program_id(WORLD_PUBLIC);
	assert_true(before != 0 && program_id(WORLD_TUNNEL) != 0);

	dp = open_datapath();
	assert_true(program_id(WORLD_PUBLIC) != before);
	assert_tables(dp, some, ARRAY_SIZE(some));
	sync_ok(dp, some + 1, 1);
	assert_tables(dp, some + 1, 1);
	kk_datapath_close(dp);
}

static void test_origins_follow(void **state)
{
	struct kk_listener some[] = {
		listener(IPPROTO_TCP, 2222, "10.1.0.100", 2222, 1),
		listener(IPPROTO_TCP, 2223, "10.1.0.100", 22, 2),
		listener(IPPROTO_UDP, 2223, "10.2.0.100", 22, 3),
	};
	struct kk_datapath *dp = open_datapath();

	(void)state;
	sync_ok(dp, some, ARRAY_SIZE(some));
	assert_int_equal(count_origins(), 2); /* the same port inside and outside needs none */
	assert_int_equal(origin_of("10.1.0.100", IPPROTO_TCP, 22), 2223);
	assert_int_equal(origin_of("10.2.0.100", IPPROTO_UDP, 22), 2223);
	some[1].port = 2224;
	some[2].agent_port = 2223;
	sync_ok(dp, some, ARRAY_SIZE(some));
	assert_int_equal(count_origins(), 1);
	assert_int_equal(origin_of("10.1.0.100", IPPROTO_TCP, 22), 2224);
	sync_ok(dp, NULL, 0);
	assert_int_equal(count_origins(), 0);
	kk_datapath_close(dp);
}

/* Each is refused with the field at fault, and the tables stay as they were. */
static void test_bad_listeners(void **state)
{
	const struct kk_listener good[] = {listener(IPPROTO_TCP, 2222, "10.1.0.100", 22, 1)};
	const struct {
		struct kk_listener add;
		int error;
		const char *field, *part;
	} bad[] = {
		{listener(IPPROTO_TCP, 2222, "10.2.0.100", 22, 2), -EEXIST, "port", "2222/tcp"},
		{listener(IPPROTO_TCP, 2223, "10.1.0.100", 22, 2), -EEXIST, "agent_port",
		 "22/tcp of Agent 10.1.0.100"},
		{listener(132, 2223, "10.1.0.100", 23, 2), -EINVAL, "protocol", "132"},
		{listener(IPPROTO_TCP, 0, "10.1.0.100", 23, 2), -EINVAL, "port", "port 0"},
		{listener(IPPROTO_TCP, 2223, "10.1.0.100", 0, 2), -EINVAL, "agent_port", "port 0"},
		{listener(IPPROTO_TCP, 2223, "11.1.0.100", 23, 2), -EINVAL, "agent", "11.1.0.100"},
		{{.protocol = IPPROTO_TCP,
		  .address = public_address("198.51.100.9"),
		  .port = 1,
		  .agent_port = 1,
		  .agent_address = ip4("10.1.0.100")},
		 -EINVAL,
		 "address",
		 "198.51.100.9"},
	};
	struct kk_datapath *dp = open_datapath();

	(void)state;
	sync_ok(dp, good, 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct kk_listener both[] = {good[0], bad[i].add};
		struct kk_err err = {0};

		assert_int_equal(kk_datapath_sync(dp, both, 2, &err), bad[i].error);
		assert_err(&err, bad[i].field, bad[i].part);
		assert_tables(dp, good, 1);
	}
	kk_datapath_close(dp);
}

/* World with a second public address, of the same family: another table of listeners. */
static struct kk_datapath *open_two(struct kk_address two[2])
{
	struct kk_datapath_config config = world.config;
	struct kk_datapath *dp;
	struct kk_err err = {0};

	two[0] = world.address;
	two[1] = public_address("198.51.100.2");
	config.addresses = two;
	config.n_addresses = 2;
	assert_ok(kk_datapath_open(&config, &dp, &err), &err);
	return dp;
}

/*
 * @n listeners, each with a service of its own from @first on: all ports of both protocols of one address,
 * then those of the other one; inside, the port is @shift further.
 */
static struct kk_listener *many_listeners(const struct kk_address *two, size_t n, uint32_t first,
					  unsigned int shift)
{
	struct kk_listener *all = calloc(n, sizeof(*all));

	assert_non_null(all);
	for (unsigned int i = 0; i < n; i++) {
		unsigned int port = i / 2 % 65535;

		all[i] = listener(i % 2 ? IPPROTO_UDP : IPPROTO_TCP, (uint16_t)(port + 1),
				  i < 2 * 65535 ? "10.3.0.100" : "10.4.0.100",
				  (uint16_t)((port + shift) % 65535 + 1), first + i);
		all[i].address = two[i / (2 * 65535)];
	}
	return all;
}

/*
 * The kernel refuses in the middle of a change: what it had taken of it goes again, what it lost
 * comes back.
 */
static void test_failure_in_the_middle(void **state)
{
	const struct kk_listener good[] = {
		listener(IPPROTO_TCP, 2222, "10.1.0.100", 22, 1),
		listener(IPPROTO_TCP, 2223, "10.3.0.100", 2225, 2),
	};
	KK_CLEANUP_FREE struct kk_listener *many = NULL;
	struct kk_address two[2];
	struct kk_datapath *dp = open_two(two);
	struct kk_err err = {0};
	size_t n = KK_ORIGINS_MAX + 100;

	(void)state;
	sync_ok(dp, good, ARRAY_SIZE(good));
	many = many_listeners(two, n, 1, 1);
	for (size_t i = 0; i < n; i++)
		many[i].service = 3;
	assert_int_equal(kk_datapath_sync(dp, many, n, &err), -ENOSPC);
	assert_err(&err, "services", "131072");
	assert_tables(dp, good, ARRAY_SIZE(good));
	assert_int_equal(count_origins(), 2);
	assert_int_equal(origin_of("10.1.0.100", IPPROTO_TCP, 22), 2222);
	assert_int_equal(origin_of("10.3.0.100", IPPROTO_TCP, 2225), 2223);
	kk_datapath_close(dp);
}

static double milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* All services that there is room for, and as many others in their place; one more is refused. */
static void test_many_services(void **state)
{
	KK_CLEANUP_FREE struct kk_listener *many = NULL, *list = NULL;
	struct kk_address two[2];
	struct kk_datapath *dp = open_two(two);
	struct kk_err err = {0};

	(void)state;
	many = many_listeners(two, KK_SERVICES_MAX, 1, 0);
	sync_ok(dp, NULL, 0);
	for (uint32_t turn = 1; turn < 3; turn++) {
		double start = milliseconds();

		for (uint32_t i = 0; i < KK_SERVICES_MAX; i++)
			many[i].service = turn * 1000000 + i;
		sync_ok(dp, many, KK_SERVICES_MAX - 1);
		print_message("%d services %s in %.1f ms\n", KK_SERVICES_MAX - 1,
			      turn == 1 ? "loaded" : "replaced", milliseconds() - start);
		assert_int_equal(kk_datapath_list(dp, &list, &err), KK_SERVICES_MAX - 1);
		for (uint32_t i = 0; i < KK_SERVICES_MAX - 1; i += 997)
			assert_true(list[i].service >= turn * 1000000);
		free(KK_STEAL(list));
	}
	assert_int_equal(kk_datapath_sync(dp, many, KK_SERVICES_MAX, &err), -ENOSPC);
	assert_err(&err, "services", "131072 services");
	assert_int_equal(kk_datapath_list(dp, &list, &err), KK_SERVICES_MAX - 1);
	sync_ok(dp, NULL, 0);
	kk_datapath_close(dp);
}

static void test_ten_thousand_services(void **state)
{
	KK_CLEANUP_FREE struct kk_listener *many = many_listeners(&world.address, 10000, 1, 0);
	struct kk_datapath *dp = open_datapath();
	double start;

	(void)state;
	sync_ok(dp, NULL, 0);
	start = milliseconds();
	sync_ok(dp, many, 10000);
	print_message("10000 services loaded in %.1f ms\n", milliseconds() - start);
	sync_ok(dp, NULL, 0);
	kk_datapath_close(dp);
}

/*
 * A second address comes: another table of listeners, in which is what the first one held. It goes again, and
 * what was published there with it.
 */
static void test_addresses_come_and_go(void **state)
{
	struct kk_listener some[] = {
		listener(IPPROTO_TCP, 2222, "10.1.0.100", 2222, 1),
		listener(IPPROTO_TCP, 2222, "10.2.0.100", 2222, 2),
	};
	struct kk_address two[2];
	struct kk_datapath *dp = open_datapath();
	struct kk_err err = {0};

	(void)state;
	sync_ok(dp, some, 1);
	kk_datapath_close(dp);
	dp = open_two(two);
	assert_tables(dp, some, 1);
	some[1].address = two[1];
	sync_ok(dp, some, 2);
	assert_tables(dp, some, 2);
	assert_int_equal(count_origins(), 1); /* of the second address */
	/* Unique per family, not per address: where would an answer come from? */
	some[1].agent_address = some[0].agent_address;
	assert_int_equal(kk_datapath_sync(dp, some, 2, &err), -EEXIST);
	assert_err(&err, "agent_port", "2222/tcp of Agent 10.1.0.100");
	some[1].agent_address = ip4("10.2.0.100");
	kk_datapath_close(dp);

	assert_ok(kk_datapath_open_readonly(world.pin_dir, &dp, &err), &err);
	assert_tables(dp, some, 2);
	kk_datapath_close(dp);
	dp = open_datapath();
	assert_tables(dp, some, 1);
	kk_err_reset(&err);
	assert_int_equal(kk_datapath_sync(dp, some, 2, &err), -EINVAL);
	assert_err(&err, "address", "198.51.100.2 is not managed");
	sync_ok(dp, some, 1);
	kk_datapath_close(dp);
}

/* Both families, the same service on both: no origin, for each has its own first address. */
static void test_both_families(void **state)
{
	struct kk_address both[] = {public_address("2001:db8::1"), world.address};
	struct kk_datapath_config config = world.config;
	struct kk_listener some[] = {
		listener(IPPROTO_TCP, 2222, "10.1.0.100", 2222, 1),
		listener(IPPROTO_TCP, 2222, "10.1.0.100", 2222, 1),
	};
	struct kk_datapath *dp;
	struct kk_err err = {0};

	(void)state;
	config.addresses = both;
	config.n_addresses = 2;
	assert_int_equal(kk_datapath_open(&config, &dp, &err), -EINVAL);
	assert_err(&err, "address", "2001:db8::1 cannot be managed: there is no pool6");
	assert_int_equal(inet_pton(AF_INET6, "fd00:6b6b::", &config.pool6), 1);
	kk_err_reset(&err);
	assert_ok(kk_datapath_open(&config, &dp, &err), &err);
	some[1].address = both[0];
	sync_ok(dp, some, 2);
	assert_tables(dp, some, 2);
	assert_int_equal(count_origins(), 0);
	sync_ok(dp, NULL, 0);
	kk_datapath_close(dp);
}

/* An answer of UDP port 53 of the Agent, out of the tunnel; 29 bytes. */
static void send_answer(void)
{
	uint8_t packet[29] = {0x45, 0,	  0,  29, 0, 0,	  0,   0, 64,  IPPROTO_UDP,
			      0x57, 0x4b, 10, 1,  0, 100, 203, 0, 113, 7,
			      0,    53,	  0,  99, 0, 9,	  0,   0, 'x'};

	assert_int_equal(write(world.tun_fd, packet, sizeof(packet)), sizeof(packet));
}

static struct kk_datapath_service service_of(struct kk_datapath *dp, uint32_t id)
{
	KK_CLEANUP_FREE struct kk_datapath_service *list = NULL;
	struct kk_err err = {0};
	int n = kk_datapath_services(dp, &list, &err);

	for (int i = 0; i < n; i++)
		if (list[i].service == id)
			return list[i];
	fail_msg("service %u is not in the tables", id);
	return (struct kk_datapath_service){0};
}

static struct kk_datapath_counter counter_of(struct kk_datapath *dp, const char *name)
{
	KK_CLEANUP_FREE struct kk_datapath_counter *list = NULL;
	struct kk_err err = {0};
	int n = kk_datapath_counters(dp, &list, &err);

	for (int i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			return list[i];
	fail_msg("no counter %s", name);
	return (struct kk_datapath_counter){0};
}

static void test_counters(void **state)
{
	struct kk_listener dns = listener(IPPROTO_UDP, 5353, "10.1.0.100", 53, 5);
	struct kk_datapath *dp = open_datapath();
	struct kk_datapath_counter out = counter_of(dp, "outbound"), drop;

	(void)state;
	assert_string_equal(out.verdict, "nic");
	sync_ok(dp, &dns, 1);
	send_answer();
	send_answer();
	assert_int_equal(counter_of(dp, "outbound").packets - out.packets, 2);
	assert_int_equal(counter_of(dp, "outbound").bytes - out.bytes, 58);
	assert_int_equal(service_of(dp, 5).out_packets, 2);
	assert_int_equal(service_of(dp, 5).out_bytes, 58);
	assert_int_equal(service_of(dp, 5).in_packets, 0);

	/* The same service on another port goes on counting, another service begins at 0. */
	dns.port = 5354;
	sync_ok(dp, &dns, 1);
	assert_int_equal(service_of(dp, 5).out_packets, 2);
	for (uint32_t id = 6; id < 6 + KK_SERVICES_MAX; id += KK_SERVICES_MAX / 4) {
		dns.service = id;
		sync_ok(dp, &dns, 1);
		assert_int_equal(service_of(dp, id).out_packets, 0);
		send_answer();
		assert_int_equal(service_of(dp, id).out_packets, 1);
	}
	drop = counter_of(dp, "not_published");
	assert_string_equal(drop.verdict, "drop");
	sync_ok(dp, NULL, 0);
	send_answer();
	assert_int_equal(counter_of(dp, "not_published").packets - drop.packets, 1);
	kk_datapath_close(dp);
}

/* Every slot has had a service and been left: the next one in it begins at 0 nevertheless. */
static void test_counters_of_a_slot_used_again(void **state)
{
	KK_CLEANUP_FREE struct kk_listener *many = NULL;
	KK_CLEANUP_FREE struct kk_datapath_service *list = NULL;
	struct kk_listener dns = listener(IPPROTO_UDP, 5353, "10.1.0.100", 53, 5);
	struct kk_address two[2];
	struct kk_datapath *dp = open_two(two);
	struct kk_err err = {0};
	int n;

	(void)state;
	sync_ok(dp, &dns, 1);
	send_answer();
	assert_int_equal(service_of(dp, 5).out_packets, 1);
	many = many_listeners(two, KK_SERVICES_MAX - 1, 1000, 0);
	sync_ok(dp, many, KK_SERVICES_MAX - 1);
	n = kk_datapath_services(dp, &list, &err);
	assert_int_equal(n, KK_SERVICES_MAX - 1);
	for (int i = 0; i < n; i++)
		assert_int_equal(list[i].out_packets, 0);
	sync_ok(dp, NULL, 0);
	sync_ok(dp, &dns, 1);
	assert_int_equal(service_of(dp, 5).out_packets, 0);
	kk_datapath_close(dp);
}

/* Puts a map of another shape in the place of a pinned one, as another version would leave it. */
static void pin_other_shape(const char *map)
{
	char path[128];
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "other", 4, 8, 3, NULL);

	assert_true(fd >= 0);
	pin_path(map, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	close(fd);
}

/* Until the new tables are filled the other version's programs and tables carry on. */
static void test_tables_of_another_version(void **state)
{
	const struct kk_listener one[] = {listener(IPPROTO_TCP, 2222, "10.1.0.100", 22, 1)};
	struct kk_datapath *dp = open_datapath();
	__u32 public_id, tunnel_id;
	struct stat st;
	char path[128];

	(void)state;
	sync_ok(dp, one, 1);
	kk_datapath_close(dp);
	public_id = program_id(WORLD_PUBLIC);
	tunnel_id = program_id(WORLD_TUNNEL);
	pin_other_shape("kk_traffic");
	snprintf(path, sizeof(path), "%s/layout-999", world.pin_dir);
	assert_int_equal(mkdir(path, 0700), 0);

	dp = open_datapath();
	assert_true(strstr(kk_datapath_reason(dp), "another version") != NULL);
	assert_int_equal(program_id(WORLD_PUBLIC), public_id);
	assert_int_equal(program_id(WORLD_TUNNEL), tunnel_id);
	assert_tables(dp, NULL, 0);
	sync_ok(dp, one, 1);
	assert_true(strstr(kk_datapath_reason(dp), "another version") == NULL);
	assert_true(program_id(WORLD_PUBLIC) != public_id);
	assert_true(program_id(WORLD_TUNNEL) != tunnel_id);
	assert_int_equal(stat(path, &st), -1);
	kk_datapath_close(dp);

	dp = open_datapath();
	assert_tables(dp, one, 1);
	kk_datapath_close(dp);
}

/* A tunnel that takes less from now on: the programs say so when they are loaded anew. */
static void test_mtu_changes(void **state)
{
	struct kk_datapath *dp = open_datapath();
	KK_CLEANUP_CLOSE int fd = open_pin("kk_gateway");
	struct kk_settings settings;
	struct kk_err err = {0};
	__u32 zero = 0;

	(void)state;
	assert_true(kk_datapath_fits(dp));
	assert_ok(kk_net_link_set(WORLD_TUNNEL, true, 1300, &err), &err);
	assert_false(kk_datapath_fits(dp));
	kk_datapath_close(dp);
	dp = open_datapath();
	assert_true(kk_datapath_fits(dp));
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &settings), 0);
	assert_int_equal(settings.mtu, 1300);
	/* What goes into the public interface is its own affair. */
	assert_ok(kk_net_link_set(WORLD_PUBLIC, true, 1400, &err), &err);
	assert_true(kk_datapath_fits(dp));
	kk_datapath_close(dp);
}

static int load_foreign(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = TC_ACT_OK},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "foreign", "MIT", insns, 2, NULL);

	assert_true(fd >= 0);
	return fd;
}

/* Somebody else's program at @priority of the public interface's ingress. */
static void attach_foreign(__u32 priority)
{
	struct bpf_tc_hook hook = hook_of(WORLD_PUBLIC);
	KK_CLEANUP_CLOSE int fd = load_foreign();
	struct bpf_tc_opts opts = {
		.sz = sizeof(opts), .handle = KK_TC_HANDLE, .priority = priority, .prog_fd = fd};
	int r = bpf_tc_hook_create(&hook);

	assert_true(r == 0 || r == -EEXIST);
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
}

static void detach_foreign(__u32 priority)
{
	struct bpf_tc_hook hook = hook_of(WORLD_PUBLIC);
	struct bpf_tc_opts opts = {
		.sz = sizeof(opts), .handle = KK_TC_HANDLE, .priority = priority};

	assert_int_equal(bpf_tc_detach(&hook, &opts), 0);
}

static void remove_all(void)
{
	struct kk_err err = {0};

	assert_ok(kk_datapath_remove(world.pin_dir, WORLD_PUBLIC, WORLD_TUNNEL, &err), &err);
}

static void test_place_taken(void **state)
{
	struct kk_datapath *dp;
	struct kk_err err = {0};
	struct stat st;
	char path[128];
	__u32 foreign;

	(void)state;
	remove_all();
	attach_foreign(KK_TC_PRIORITY);
	foreign = program_id(WORLD_PUBLIC);
	assert_int_equal(kk_datapath_open(&world.config, &dp, &err), -EEXIST);
	assert_err(&err, "", "foreign");
	assert_int_equal(program_id(WORLD_PUBLIC), foreign);
	assert_int_equal(program_id(WORLD_TUNNEL), 0); /* taken back */
	pin_path("kk_listeners", path);
	assert_int_equal(stat(path, &st), -1);
	remove_all();
	assert_int_equal(program_id(WORLD_PUBLIC), foreign);
	detach_foreign(KK_TC_PRIORITY);
}

/* On failure a version that is in force stays in force. */
static void test_failure_keeps_what_is_there(void **state)
{
	struct kk_datapath *dp = open_datapath();
	__u32 tunnel_id = program_id(WORLD_TUNNEL);
	struct kk_err err = {0};

	(void)state;
	kk_datapath_close(dp);
	assert_int_equal(kk_detach(WORLD_PUBLIC, kk_net_ifindex(WORLD_PUBLIC), &err), 0);
	attach_foreign(KK_TC_PRIORITY);
	assert_int_equal(kk_datapath_open(&world.config, &dp, &err), -EEXIST);
	assert_int_equal(program_id(WORLD_TUNNEL), tunnel_id);
	detach_foreign(KK_TC_PRIORITY);
	dp = open_datapath();
	kk_datapath_close(dp);
}

static bool has_clsact(const char *ifname)
{
	struct bpf_tc_hook hook = hook_of(ifname);
	KK_CLEANUP_CLOSE int fd = load_foreign();
	struct bpf_tc_opts opts = {.sz = sizeof(opts), .handle = 7, .priority = 7, .prog_fd = fd};
	bool there = bpf_tc_attach(&hook, &opts) == 0;

	opts.prog_fd = opts.prog_id = opts.flags = 0;
	if (there)
		assert_int_equal(bpf_tc_detach(&hook, &opts), 0);
	return there;
}

/* At tcx, but behind those filters that somebody has; and from one place to the other and back. */
static void test_place_among_filters(void **state)
{
	struct kk_datapath *dp;
	__u32 first;

	(void)state;
	remove_all();
	for (int others = 0; others < 4; others++) {
		if (others == 1)
			attach_foreign(10);
		if (others == 3)
			detach_foreign(10);
		dp = open_datapath();
		first = others == 1 || others == 2 || !has_tcx() ? clsact_id(WORLD_PUBLIC)
								 : tcx_id(WORLD_PUBLIC);
		assert_true(first != 0);
		assert_int_equal(program_id(WORLD_PUBLIC), first);
		assert_true(has_tcx() ? tcx_id(WORLD_TUNNEL) : clsact_id(WORLD_TUNNEL));
		kk_datapath_close(dp);
	}
	remove_all();
	assert_int_equal(program_id(WORLD_PUBLIC), 0);
}

static void test_remove(void **state)
{
	struct kk_datapath *dp = open_datapath();
	struct kk_err err = {0};
	struct stat st;
	char other[128];

	(void)state;
	kk_datapath_close(dp);
	attach_foreign(200);
	snprintf(other, sizeof(other), "%s/other", world.pin_dir);
	assert_int_equal(mkdir(other, 0700), 0);
	remove_all();
	assert_int_equal(rmdir(other), 0);
	remove_all();
	assert_int_equal(program_id(WORLD_PUBLIC), 0);
	assert_int_equal(program_id(WORLD_TUNNEL), 0);
	assert_true(has_clsact(WORLD_PUBLIC)); /* the other program needs it */
	assert_false(has_clsact(WORLD_TUNNEL));
	assert_int_equal(stat(world.pin_dir, &st), -1);
	detach_foreign(200);
	remove_all();
	assert_ok(kk_datapath_remove(world.pin_dir, "nothere0", "nothere1", &err), &err);
}

static void test_bad_config(void **state)
{
	const struct {
		struct kk_datapath_config config;
		int error;
		const char *field, *part;
	} bad[] = {
#define WITH(...) ((struct kk_datapath_config){__VA_ARGS__})
#define IFS(p, t) .public_ifname = (p), .tunnel_ifname = (t)
#define ADDRESSES .addresses = &world.address, .n_addresses = 1
#define REST	  ADDRESSES, .pool = world.config.pool
		{WITH(.pin_dir = world.pin_dir, IFS("nothere", WORLD_TUNNEL), REST), -ENODEV,
		 "public-interface", "nothere"},
		{WITH(.pin_dir = world.pin_dir, IFS(WORLD_TUNNEL, WORLD_TUNNEL), REST), -EINVAL,
		 "public-interface", "Ethernet"},
		{WITH(.pin_dir = world.pin_dir, IFS(WORLD_PUBLIC, WORLD_PUBLIC), REST), -EINVAL,
		 "tunnel-interface", "layer 3"},
		{WITH(.pin_dir = "/tmp/kk-no-bpffs", IFS(WORLD_PUBLIC, WORLD_TUNNEL), REST),
		 -EINVAL, "pin-dir", "bpffs"},
		{WITH(.pin_dir = world.pin_dir, IFS(WORLD_PUBLIC, WORLD_TUNNEL), ADDRESSES),
		 -EINVAL, "pool", "0"},
		{WITH(.pin_dir = world.pin_dir, IFS(WORLD_PUBLIC, WORLD_TUNNEL),
		      .pool = world.config.pool),
		 -EINVAL, "address", "address"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct kk_datapath *dp;
		struct kk_err err = {0};

		assert_int_equal(kk_datapath_open(&bad[i].config, &dp, &err), bad[i].error);
		assert_err(&err, bad[i].field, bad[i].part);
	}
	assert_int_equal(program_id(WORLD_PUBLIC), 0);
}

static int setup(void **state)
{
	(void)state;
	world_init(&world);
	return 0;
}

static int teardown(void **state)
{
	struct stat st;

	(void)state;
	world_clean(&world);
	assert_int_equal(stat(world.pin_dir, &st), -1);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables_outlive_the_process),
		cmocka_unit_test(test_origins_follow),
		cmocka_unit_test(test_bad_listeners),
		cmocka_unit_test(test_failure_in_the_middle),
		cmocka_unit_test(test_many_services),
		cmocka_unit_test(test_ten_thousand_services),
		cmocka_unit_test(test_addresses_come_and_go),
		cmocka_unit_test(test_both_families),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_counters_of_a_slot_used_again),
		cmocka_unit_test(test_tables_of_another_version),
		cmocka_unit_test(test_mtu_changes),
		cmocka_unit_test(test_place_taken),
		cmocka_unit_test(test_failure_keeps_what_is_there),
		cmocka_unit_test(test_place_among_filters),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_bad_config),
	};

	return kk_run_group_as_root("loads BPF programs and makes a network namespace", tests,
				    setup, teardown);
}
