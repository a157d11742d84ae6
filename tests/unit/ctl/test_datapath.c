// SPDX-License-Identifier: MIT
/* kkctl datapath beside a data path in force. Needs root. */
#include "tests/unit/datapath_world.h"

#include "ctl/ctl.h"
#include "tests/unit/ctl/capture.h"

static struct world world;

static int run(size_t command, const char *pin_dir, bool json)
{
	struct ctl ctl = {.options.pin_dir = pin_dir, .options.json = json};
	int r;

	ctl.command = &ctl_datapath.commands[command];
	CAPTURE(stdout, r = ctl.command->run(&ctl));
	return r;
}

/* Shows @text, and behind it who forwards (why depends on the machine) and where XDP is. */
static void assert_shown(const char *text)
{
	static const char host[] = "\nForwards: eBPF: ",
			  xdp[] = "\nXDP: off: XDP is switched off\n";
	size_t len = strlen(text);

	assert_true(strlen(captured) > len + strlen(host) + strlen(xdp));
	assert_memory_equal(captured, text, len);
	assert_memory_equal(captured + len, host, strlen(host));
	assert_string_equal(strchr(captured + len + 1, '\n'), xdp);
}

static void test_show(void **state)
{
	const struct kk_listener listeners[] = {
		{.protocol = IPPROTO_TCP,
		 .address = world.address,
		 .port = 2222,
		 .agent_address = ip4("10.1.0.100"),
		 .agent_port = 22,
		 .service = 7},
		{.protocol = IPPROTO_UDP,
		 .address = world.address,
		 .port = 53,
		 .agent_address = ip4("10.2.0.100"),
		 .agent_port = 53,
		 .service = 9},
	};
	struct kk_datapath *dp;
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_datapath_open(&world.config, &dp, &err), &err);
	assert_int_equal(run(0, world.pin_dir, false), CTL_DONE);
	assert_shown("Nothing is published here.\n");
	assert_ok(kk_datapath_sync(dp, listeners, ARRAY_SIZE(listeners), &err), &err);
	kk_datapath_close(dp);

	assert_int_equal(run(0, world.pin_dir, false), CTL_DONE);
	assert_shown("ADDRESS       PORT      TO             SERVICE ID\n"
		     "198.51.100.1  2222/tcp  10.1.0.100:22  7\n"
		     "198.51.100.1  53/udp    10.2.0.100:53  9\n");
	assert_int_equal(run(0, world.pin_dir, true), CTL_DONE);
	assert_non_null(strstr(captured, "\"agent_address\": \"10.2.0.100\""));
	assert_int_equal(run(1, world.pin_dir, false), CTL_DONE);
	assert_non_null(strstr(captured, "SERVICE ID  PACKETS IN"));
	assert_non_null(strstr(captured, "\n9           0 "));
	assert_int_equal(run(1, world.pin_dir, true), CTL_DONE);
	assert_non_null(strstr(captured, "\"verdict\": \"drop\""));
}

/* To be read only means what it says. */
static void test_readonly(void **state)
{
	struct kk_datapath *dp;
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_datapath_open_readonly(world.pin_dir, &dp, &err), &err);
	assert_int_equal(kk_datapath_sync(dp, NULL, 0, &err), -EROFS);
	kk_datapath_close(dp);
	assert_int_equal(run(0, world.pin_dir, false), CTL_DONE);
	assert_non_null(strstr(captured, "2222/tcp"));
}

static void test_nothing_there(void **state)
{
	struct ctl ctl = {.options.pin_dir = "/sys/fs/bpf/kk-test-none"};
	int r;

	(void)state;
	CAPTURE(stderr, r = ctl_datapath.commands[0].run(&ctl));
	assert_int_equal(r, CTL_REFUSED);
	assert_string_equal(captured, "kkctl: there are no tables of this version in "
				      "/sys/fs/bpf/kk-test-none\n");
	assert_int_equal(access(ctl.options.pin_dir, F_OK), -1);
}

static int trace_to(FILE **stream, bool json, const char *protocol, const char *source,
		    const char *dest, const char *flags)
{
	char *words[] = {(char *)protocol, (char *)source, (char *)dest};
	struct ctl ctl = {
		.options = {.pin_dir = world.pin_dir, .json = json, .tcp_flags = flags},
		.words = words,
		.command = &ctl_datapath.commands[2],
	};
	int r;

	CAPTURE(*stream, r = ctl.command->run(&ctl));
	return r;
}

static void set_guarded(void)
{
	const struct kk_member members[] = {{ip4("10.1.0.100"), true}, {ip4("10.2.0.100"), false}};
	const struct kk_group group = {.id = 5, .members = members, .n_members = 2};
	const struct kk_listener listener = {.protocol = IPPROTO_TCP,
					     .address = world.address,
					     .port = 2222,
					     .group = 5,
					     .agent_port = 22,
					     .service = 7};
	const struct kk_rule rules[] = {
		{.prefix = {.addr = {.family = AF_INET, .v4 = ip4("203.0.113.0")}, .len = 24}}};
	const struct kk_list list = {.id = 3, .rules = rules, .n_rules = 1};
	const struct kk_guard guard = {
		.service = 7, .list = 3, .connections = {.rate = 5, .burst = 10}};
	const struct kk_datapath_tables wanted = {&listener, 1, &group, 1, &guard, 1, &list, 1};
	const struct kk_ban_entry ban = {.source = {.family = AF_INET, .v4 = ip4("192.0.2.9")},
					 .service = 7};
	struct kk_datapath *dp;
	struct kk_err err = {0};

	assert_ok(kk_datapath_open(&world.config, &dp, &err), &err);
	assert_ok(kk_datapath_set(dp, &wanted, &err), &err);
	assert_ok(kk_datapath_ban(dp, &ban, 1, &err), &err);
	kk_datapath_close(dp);
}

static void test_show_guarded(void **state)
{
	(void)state;
	set_guarded();
	assert_int_equal(run(0, world.pin_dir, false), CTL_DONE);
	assert_shown("ADDRESS       PORT      TO          SERVICE ID  NOTES\n"
		     "198.51.100.1  2222/tcp  group 5:22  7           guarded\n"
		     "\nGROUP  AGENTS THAT GET FLOWS\n5      10.1.0.100\n"
		     "\nSERVICE ID  LIST  OTHERS  PACKETS  CONNECTIONS\n"
		     "7           3     allow   -        5/s, burst 10\n"
		     "\nLIST  PREFIX          VERDICT\n3     203.0.113.0/24  deny\n"
		     "\nBANNED     SERVICE ID  LEFT\n192.0.2.9  7           for good\n");
}

/* In this order in what was printed. */
static void assert_in_order(const char *const *parts, size_t n)
{
	const char *at = captured;

	for (size_t i = 0; i < n; i++) {
		const char *found = strstr(at, parts[i]);

		if (!found)
			fail_msg("no \"%s\" behind the others: %s", parts[i], captured);
		at = found + strlen(parts[i]);
	}
}

/* The steps of a packet that goes all the way. */
static const char *const on_the_way[] = {
	"addresses: 198.51.100.1 is managed",
	"listeners: 198.51.100.1 port 2222/tcp: to group in place 0",
	"bans: 198.51.100.9 at service 7: none",
	"floods: service slot 1: 0 SYNs in this second",
	"policies: 1: list 3, 5 connections a second (burst 10)",
	"lists: list 3: 198.51.100.9 is not on it",
	"sources: 198.51.100.9 at service 7: new",
	"edge at XDP (generic): goes on",
	"listeners: 198.51.100.1 port 2222/tcp: to group in place 0",
	"groups: place 0, element",
	"Agent 10.1.0.100",
	"forwarding at tc: tunnel (inbound)",
	"rewrite: destination 198.51.100.1:2222 becomes 10.1.0.100:22",
	"rewrite: hop limit 64 becomes 63",
	"rewrite: MSS 1460 becomes 1380, the tunnel's MTU is 1420",
};

/* Each of these has another fate, and says where on its way it was met. */
static void test_trace(void **state)
{
	const struct {
		const char *protocol, *source, *dest, *flags, *part, *verdict;
	} cases[] = {
		{"tcp", "198.51.100.9:4000", "198.51.100.1:2222", NULL, "to group in place 0",
		 "Verdict: tunnel (inbound)\n"
		 "Leaves as: 198.51.100.9:4000 to 10.1.0.100:22\n"},
		{"tcp", "203.0.113.7:4000", "198.51.100.1:2222", NULL, "is in 203.0.113.0/24: deny",
		 "Verdict: drop (denied)\n"},
		{"tcp", "192.0.2.9:4000", "198.51.100.1:2222", "A", "at service 7: for good",
		 "Verdict: drop (banned)\n"},
		{"udp", "192.0.2.8:4000", "198.51.100.1:2222", NULL, "nothing is published there",
		 "Verdict: drop (closed_port)\n"},
		{"udp", "192.0.2.8:4000", "198.51.100.1:2222", NULL, "2222/udp: none\n  edge at ",
		 "Verdict: drop (closed_port)\n"},
		{"udp", "192.0.2.8:4000", "198.51.100.1:2223", NULL,
		 "sockets: 198.51.100.1 port 2223/udp: one of the gateway's own takes it\n",
		 "Verdict: pass (not_ours)\n"},
		{"tcp", "192.0.2.8:4000", "198.51.100.1:1", "SF", "198.51.100.1 is managed",
		 "Verdict: drop (malformed)\n"},
		{"tcp", "192.0.2.8:4000", "192.0.2.1:1", NULL, "192.0.2.1 is not managed here",
		 "Verdict: pass (not_ours)\n"},
		{"packet", "public", "4500001c00000000401100000000000000000000", NULL,
		 "edge at XDP (generic): goes on\n", "Verdict: pass (not_ours)\n"},
		{"packet", "tunnel", "4500001800000000400600000a020064c000020800170fa0", NULL,
		 "forwarding at tc: drop", "Verdict: drop (not_published)\n"},
		{"tcp", "10.2.0.100:22", "192.0.2.8:4000", "SA",
		 "Agent 10.2.0.100 port 22/tcp: from 198.51.100.1 port 2222",
		 "Verdict: nic (outbound)\n"
		 "Leaves as: 198.51.100.1:2222 to 192.0.2.8:4000\n"},
		{"tcp", "10.2.0.100:23", "192.0.2.8:4000", "SA", "port 23/tcp: none",
		 "Verdict: drop (not_published)\n"},
	};

	int taken = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(2223)};
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_net_link_set(WORLD_TUNNEL, true, 1420, &err), &err);
	world.config.edge = (struct kk_edge_config){.xdp = KK_XDP_AUTO, .closed_ports = true};
	set_guarded();
	world.config.edge = (struct kk_edge_config){.xdp = KK_XDP_OFF};
	assert_int_equal(bind(taken, (const struct sockaddr *)&any, sizeof(any)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(trace_to(&stdout, false, cases[i].protocol, cases[i].source,
					  cases[i].dest, cases[i].flags),
				 CTL_DONE);
		if (!strstr(captured, cases[i].part) || !strstr(captured, cases[i].verdict))
			fail_msg("case %zu: %s", i, captured);
	}
	assert_int_equal(
		trace_to(&stdout, true, "tcp", "198.51.100.9:4000", "198.51.100.1:2222", NULL),
		CTL_DONE);
	assert_non_null(strstr(captured, "\"destination\": \"10.1.0.100:22\""));
	assert_in_order(on_the_way, ARRAY_SIZE(on_the_way));
	close(taken);
	/* Nothing was counted. */
	assert_int_equal(run(1, world.pin_dir, false), CTL_DONE);
	assert_non_null(strstr(captured, "No packet has come yet."));
}

static void test_trace_bad_input(void **state)
{
	const struct {
		const char *protocol, *source, *dest, *flags, *part;
	} cases[] = {
		{"icmp", "192.0.2.8:1", "198.51.100.1:2", NULL, "protocol \"icmp\""},
		{"tcp", "192.0.2.8", "198.51.100.1:2", NULL, "source: \"192.0.2.8\""},
		{"tcp", "192.0.2.8:1", "host:2", NULL, "\"host\""},
		{"tcp", "192.0.2.8:1", "[2001:db8::1]:2", NULL, "different families"},
		{"tcp", "192.0.2.8:1", "198.51.100.1:2", "SX", "'X' is none of FSRPAU"},
		{"udp", "192.0.2.8:1", "198.51.100.1:2", "S", "--flags is for tcp"},
		{"packet", "nic", "45", NULL, "from \"nic\" is neither public nor tunnel"},
		{"packet", "tunnel", "45", "S", "--flags and --size are not for"},
		{"packet", "tunnel", "450", NULL, "3 hexadecimal digits are no packet"},
		{"packet", "tunnel", "4g", NULL, "not all of it is hexadecimal"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(trace_to(&stderr, false, cases[i].protocol, cases[i].source,
					  cases[i].dest, cases[i].flags),
				 strstr(cases[i].part, "families") ? CTL_REFUSED : CTL_USAGE);
		if (!strstr(captured, cases[i].part))
			fail_msg("case %zu: %s", i, captured);
	}
}

static int setup(void **state)
{
	(void)state;
	world_init(&world);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_clean(&world);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_show),	      cmocka_unit_test(test_readonly),
		cmocka_unit_test(test_nothing_there), cmocka_unit_test(test_show_guarded),
		cmocka_unit_test(test_trace),	      cmocka_unit_test(test_trace_bad_input),
	};

	return kk_run_group_as_root("loads BPF programs and makes a network namespace", tests,
				    setup, teardown);
}
