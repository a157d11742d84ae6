// SPDX-License-Identifier: MIT
/*
 * The module while memory fails: the first allocation of a request, then the second, and so on until it gets through
 * (fail-nth of failslab and fail_page_alloc). After each the tables are what they were, byte for byte, or wholly what was
 * asked for, and the answer is -ENOMEM. Leaks are looked for when the machine ends. Needs root, the debug kernel, and the
 * module, which $KK_MODULE is the file of; the kernel with slub_debug=FZPU;FZPUA,kk_flow_entry.
 */
#include "tests/unit/datapath_world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <netlink/attr.h>
#include <uapi/kakuremichi.h>

#include "core/names.h"
#include "genl/module.h"
#include "genl/wire.h"
#include "tests/vm/fuzz_traffic.h"

#define INJECT	 "/sys/kernel/debug/"
#define FLOWS	 "/sys/kernel/slab/kk_flow_entry/failslab"
#define NTH_MAX	 3000
#define DUMP_MAX (256 << 10)

static struct kk_module module;
static struct kk_module_settings settings;
static int raw = -1, nth_fd = -1; /* requests go by the one, what is to fail by the other */
static uint32_t sequence;

/* ---- what is to fail ---- */

__attribute__((format(printf, 2, 3))) static void write_file(const char *path, const char *fmt, ...)
{
	char text[64];
	va_list args;
	int fd, n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		fail_msg("%s: %s", path, strerror(errno));
	close(fd);
}

/* Pages as well, or objects alone: where the kernel's own allocations of pages would be told in the log when they fail. */
static void fail_pages_too(bool on)
{
	write_file(INJECT "fail_page_alloc/min-order", "%d", on ? 0 : 20);
}

static void prepare_injection(void)
{
	static const char *const of[] = {"failslab", "fail_page_alloc"};

	for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
		char path[96];

		snprintf(path, sizeof(path), INJECT "%s/ignore-gfp-wait", of[i]);
		write_file(path, "N");
		snprintf(path, sizeof(path), INJECT "%s/verbose", of[i]);
		write_file(path, "0");
	}
	fail_pages_too(true);
	nth_fd = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	assert_true(nth_fd >= 0);
}

static void fail_nth(unsigned nth)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", nth);

	assert_int_equal(pwrite(nth_fd, text, (size_t)n, 0), n);
}

/* How many it did not come to; 0: it has failed. */
static unsigned nth_left(void)
{
	char text[16] = "";

	assert_true(pread(nth_fd, text, sizeof(text) - 1, 0) > 0);
	fail_nth(0);
	return (unsigned)atoi(text);
}

/* ---- requests ---- */

/* Sends, with allocation @nth failing (0: none). 0, the negative errno of the answer, or 1: it was lost. */
static int request(struct nl_msg *msg, unsigned nth, bool *failed)
{
	struct nlmsghdr *hdr = nlmsg_hdr(msg);
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	static uint8_t answer[64 << 10];
	ssize_t n;
	int r = 1, e;

	hdr->nlmsg_seq = ++sequence;
	hdr->nlmsg_pid = 0;
	hdr->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (nth)
		fail_nth(nth);
	n = sendto(raw, hdr, hdr->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	e = errno;
	*failed = nth && nth_left() == 0;
	if (n < 0) /* it did not come to the module; the kernel says ENOBUFS to that */
		return e == ENOBUFS ? -ENOMEM : -e;
	while ((n = recv(raw, answer, sizeof(answer), MSG_DONTWAIT)) > 0 || errno == ENOBUFS) {
		const struct nlmsghdr *at = (const struct nlmsghdr *)answer;

		if (n < 0) /* there was no memory for an answer */
			continue;
		for (int left = (int)n; NLMSG_OK(at, (unsigned)left); at = NLMSG_NEXT(at, left))
			if (at->nlmsg_type == NLMSG_ERROR && at->nlmsg_seq == sequence)
				r = ((const struct nlmsgerr *)NLMSG_DATA(at))->error;
	}
	return r;
}

static void must(struct nl_msg *msg)
{
	bool failed;

	assert_int_equal(request(msg, 0, &failed), 0);
	nlmsg_free(msg);
}

struct dump {
	uint8_t data[DUMP_MAX];
	size_t len;
};

static int add_message(struct nlmsghdr *hdr, void *userdata)
{
	struct dump *dump = userdata;
	size_t n = (size_t)nlmsg_datalen(hdr);

	assert_true(dump->len + n <= sizeof(dump->data));
	memcpy(dump->data + dump->len, nlmsg_data(hdr), n);
	dump->len += n;
	return 0;
}

/* All that is in force: what each dump says, one after another. */
static void read_all(struct dump *dump)
{
	static const struct {
		uint8_t cmd;
		int flags;
	} of[] = {{KK_CMD_INFO_GET, 0},
		  {KK_CMD_LISTENER_GET, NLM_F_DUMP},
		  {KK_CMD_GROUP_GET, NLM_F_DUMP},
		  {KK_CMD_RULE_GET, NLM_F_DUMP},
		  {KK_CMD_GUARD_GET, NLM_F_DUMP},
		  {KK_CMD_BAN_GET, NLM_F_DUMP},
		  {KK_CMD_SERVICE_GET, NLM_F_DUMP},
		  {KK_CMD_FLOW_GET, NLM_F_DUMP}};
	struct kk_err err = {0};

	dump->len = 0;
	for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
		struct nl_msg *msg = kk_genl_request(&module.genl, of[i].cmd, of[i].flags, 64);

		assert_ok(kk_genl_call(&module.genl, msg, add_message, dump, "dump", &err), &err);
		nlmsg_free(msg);
	}
}

static struct dump before, after;

static bool is_as_before(void)
{
	read_all(&after);
	return after.len == before.len && !memcmp(after.data, before.data, after.len);
}

/* ---- tables that all begin from ---- */

static const struct kk_ban_entry base_ban = {.source = {.family = AF_INET}};

static struct kk_listener at(uint16_t port, const char *agent, uint32_t service)
{
	struct kk_listener listener = fuzz_listener(port, service);

	listener.agent_address = ip4(agent);
	return listener;
}

static void put_base(void)
{
	struct kk_listener listeners[] = {at(22, "10.1.0.100", 1), at(80, "10.1.0.100", 2),
					  at(443, "10.1.0.100", 3)};
	struct kk_member members[] = {{ip4("10.2.0.100"), true}, {ip4("10.3.0.100"), true}};
	struct kk_group group = {.id = 9, .members = members, .n_members = 2};
	struct kk_guard guard = {
		.service = 1, .list = 7, .deny_others = true, .packets = {.rate = 9, .burst = 5}};
	struct kk_rule rule = {.prefix = {.addr = public_address("192.0.2.0"), .len = 24},
			       .allow = true};
	struct kk_list list = {.id = 7, .rules = &rule, .n_rules = 1};
	const struct kk_datapath_tables tables = {.listeners = listeners,
						  .n_listeners = 3,
						  .groups = &group,
						  .n_groups = 1,
						  .guards = &guard,
						  .n_guards = 1,
						  .lists = &list,
						  .n_lists = 1};
	struct kk_ban_entry ban = base_ban;
	struct kk_err err = {0};

	listeners[1].group = 9;
	listeners[2].snat = true;
	ban.source = public_address("203.0.113.200");
	assert_ok(kk_module_clear(&module, &err), &err);
	assert_ok(kk_module_replace_all(&module, &settings, &tables, &err), &err);
	assert_ok(kk_module_ban(&module, &ban, 1, &err), &err);
}

static int start(void **state)
{
	struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fuzz_world();
	assert_ok(kk_net_link_set("veth0", true, 0, &err), &err);
	fuzz_settings(&settings);
	settings.core.address4[1] = ip4("198.51.100.2").s_addr;
	assert_ok(kk_module_open(&module, &err), &err);
	raw = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	assert_int_equal(bind(raw, (struct sockaddr *)&any, sizeof(any)), 0);
	prepare_injection();
	put_base();
	return 0;
}

/* ---- the walk ---- */

/* One kind of request, made anew each time; @ready, if any, comes before it and @undo after one that was done. */
struct walk {
	const char *what;
	struct nl_msg *(*make)(void);
	void (*ready)(void);
	void (*undo)(void);
};

static void undo(const struct walk *walk)
{
	(walk->undo ?: put_base)();
	if (!is_as_before())
		fail_msg("%s: what was undone is not what was", walk->what);
}

static void abort_if_begun(void)
{
	struct nl_msg *msg = kk_genl_request(&module.genl, KK_CMD_TABLE_ABORT, 0, 64);
	bool failed;
	int r = request(msg, 0, &failed);

	assert_true(r == 0 || r == -ENOENT);
	nlmsg_free(msg);
}

/* One round; whether it failed. Refused: all is as it was. Done: so it is said, or the answer was lost. */
static bool try_nth(const struct walk *walk, unsigned nth, unsigned *refused)
{
	struct nl_msg *msg;
	bool failed;
	int r;

	if (walk->ready)
		walk->ready();
	msg = walk->make();
	r = request(msg, nth, &failed);
	nlmsg_free(msg);
	if (r == -ENOMEM) {
		if (!failed)
			fail_msg("%s, allocation %u: -ENOMEM of itself", walk->what, nth);
		if (walk->ready) /* it may not have come to the module */
			abort_if_begun();
		if (!is_as_before())
			fail_msg("%s, allocation %u: refused, and the tables changed", walk->what,
				 nth);
		(*refused)++;
	} else if (r < 0) {
		fail_msg("%s, allocation %u: %s", walk->what, nth, strerror(-r));
	} else if (r == 0 || !is_as_before()) {
		undo(walk);
	}
	return failed;
}

static void walk_all(const struct walk *walk)
{
	unsigned nth = 1, refused = 0;

	read_all(&before);
	while (try_nth(walk, nth, &refused))
		if (++nth > NTH_MAX)
			fail_msg("%s: more than %d allocations", walk->what, NTH_MAX);
	print_message("%s: %u allocations, %u refused\n", walk->what, nth - 1, refused);
	if (!refused)
		fail_msg("%s: nothing was ever refused", walk->what);
}

/* ---- changes ---- */

static struct nl_msg *change(bool pending)
{
	struct nl_msg *msg = kk_genl_request(&module.genl, KK_CMD_TABLE_CHANGE, 0, 3500);

	assert_non_null(msg);
	if (pending)
		assert_int_equal(nla_put_flag(msg, KK_A_PENDING), 0);
	return msg;
}

static struct nl_msg *with_listener(struct nl_msg *msg, struct kk_listener listener, uint16_t n)
{
	assert_int_equal(kk_wire_put_listener(msg, &settings.core, &listener, n), 0);
	return msg;
}

static struct nl_msg *add_listener(void)
{
	struct kk_listener listener = at(1000, "10.4.0.100", 4);

	listener.address = public_address("198.51.100.2"); /* with words of its own */
	return with_listener(change(false), listener, 20);
}

static struct nl_msg *move_listener(void)
{
	return with_listener(change(false), at(22, "10.5.0.100", 5), 1);
}

static struct nl_msg *remove_listener(void)
{
	struct nl_msg *msg = change(false);
	struct kk_listener listener = at(22, "10.1.0.100", 1);

	assert_int_equal(kk_wire_put_gone(msg, &settings.core, &listener, 1), 0);
	return msg;
}

static struct nl_msg *with_group(struct nl_msg *msg, uint32_t id)
{
	struct kk_member members[] = {
		{ip4("10.2.0.100"), true}, {ip4("10.6.0.100"), true}, {ip4("10.7.0.100"), false}};
	const struct kk_group group = {.id = id, .members = members, .n_members = 3};

	assert_int_equal(kk_wire_put_group(msg, &group), 0);
	return msg;
}

/* A listener leads to it: ways back are made and left behind. */
static struct nl_msg *change_group(void)
{
	return with_group(change(false), 9);
}

static struct nl_msg *add_group(void)
{
	return with_group(change(false), 10);
}

static struct nl_msg *with_guard(struct nl_msg *msg, uint32_t service)
{
	const struct kk_guard guard = {.service = service, .connections = {.rate = 3, .burst = 2}};

	assert_int_equal(kk_wire_put_guard(msg, &guard), 0);
	return msg;
}

static struct nl_msg *add_guard(void)
{
	return with_guard(change(false), 300);
}

static struct nl_msg *change_guard(void)
{
	return with_guard(change(false), 1);
}

static struct nl_msg *remove_guard(void)
{
	const struct kk_guard guard = {.service = 1};
	struct nl_msg *msg = change(false);

	assert_int_equal(kk_wire_put_guard_gone(msg, &guard), 0);
	return msg;
}

/* Of @list, a prefix of either family. */
static struct nl_msg *with_rules(struct nl_msg *msg, uint32_t list)
{
	const char *const of[] = {"198.18.0.0", "2001:db8:9::"};

	for (int v6 = 0; v6 < 2; v6++) {
		struct nlattr *nest = nla_nest_start(msg, KK_A_RULE);
		struct kk_address a = public_address(of[v6]);

		assert_non_null(nest);
		nla_put_u32(msg, KK_RULE_A_LIST, list);
		nla_put(msg, KK_RULE_A_ADDRESS, v6 ? 16 : 4, v6 ? (void *)&a.v6 : (void *)&a.v4);
		nla_put_u8(msg, KK_RULE_A_LEN, v6 ? 48 : 15);
		nla_put_u32(msg, KK_RULE_A_VERDICT, KK_RULE_DENY);
		nla_nest_end(msg, nest);
	}
	return msg;
}

static struct nl_msg *add_list(void)
{
	return with_rules(change(false), 70);
}

static struct nl_msg *change_list(void)
{
	return with_rules(change(false), 7);
}

/* Of everything something, on top of each other. */
static struct nl_msg *fill(struct nl_msg *msg)
{
	struct kk_listener grouped = at(2000, "0.0.0.0", 21);

	with_group(msg, 20);
	grouped.group = 20;
	with_listener(msg, grouped, 4);
	with_listener(msg, at(3000, "10.8.0.100", 22), 30);
	with_listener(msg, at(3010, "10.9.0.100", 23), 5);
	with_guard(msg, 22);
	with_guard(msg, 23);
	return with_rules(with_rules(msg, 30), 31);
}

static struct nl_msg *batch(void)
{
	return fill(change(false));
}

static struct nl_msg *bans(void)
{
	const char *const of[] = {"203.0.113.1", "203.0.113.200", "203.0.113.3", "2001:db8:5::1"};
	struct nl_msg *msg = kk_genl_request(&module.genl, KK_CMD_BAN_CHANGE, 0, 1024);

	for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
		const struct kk_ban_entry ban = {.source = public_address(of[i])};

		assert_int_equal(kk_wire_put_ban(msg, i == 1 ? KK_A_BAN_GONE : KK_A_BAN, &ban), 0);
	}
	return msg;
}

static struct nl_msg *other_settings(void)
{
	struct nl_msg *msg =
		kk_genl_request(&module.genl, KK_CMD_SETTINGS_SET, 0, KK_WIRE_SETTINGS_ROOM);
	struct kk_module_settings other = settings;

	other.core.mtu--;
	other.edge = true;
	assert_int_equal(kk_wire_put_settings(msg, &other), 0);
	return msg;
}

static void test_changes(void **state)
{
	static const struct {
		const char *what;
		struct nl_msg *(*make)(void);
	} of[] = {
		{"listeners added", add_listener},
		{"listener moved", move_listener},
		{"listener removed", remove_listener},
		{"group changed", change_group},
		{"group added", add_group},
		{"guard added", add_guard},
		{"guard and limits changed", change_guard},
		{"guard removed", remove_guard},
		{"list added", add_list},
		{"list changed", change_list},
		{"batch", batch},
		{"bans", bans},
		{"settings", other_settings},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(of); i++)
		walk_all(&(struct walk){.what = of[i].what, .make = of[i].make});
}

/* ---- whole sets of tables ---- */

static struct nl_msg *plain(uint8_t cmd)
{
	return kk_genl_request(&module.genl, cmd, 0, 64);
}

static struct nl_msg *begin(void)
{
	struct nl_msg *msg =
		kk_genl_request(&module.genl, KK_CMD_TABLE_BEGIN, 0, KK_WIRE_SETTINGS_ROOM);

	assert_int_equal(kk_wire_put_settings(msg, &settings), 0);
	return msg;
}

static struct nl_msg *part(void)
{
	return fill(change(true));
}

static struct nl_msg *commit(void)
{
	return plain(KK_CMD_TABLE_COMMIT);
}

static void do_begin(void)
{
	must(begin());
}

static void do_abort(void)
{
	must(plain(KK_CMD_TABLE_ABORT));
}

static void do_begin_and_fill(void)
{
	do_begin();
	must(part());
}

static void clear(void)
{
	struct kk_err err = {0};

	assert_ok(kk_module_clear(&module, &err), &err);
}

/* What was begun is nobody's until it is committed; a part that was refused leaves nothing in it. */
static void test_whole_tables(void **state)
{
	static const struct walk begins = {.what = "begin", .make = begin, .undo = do_abort};
	static const struct walk parts = {.what = "part", .make = part, .undo = do_begin};
	static const struct walk commits = {
		.what = "commit", .make = commit, .ready = do_begin_and_fill};
	static const struct walk firsts = {
		.what = "first commit", .make = commit, .ready = do_begin_and_fill, .undo = clear};
	static struct dump wanted;

	(void)state;
	walk_all(&begins);
	/* What a set is that was filled at the first go. */
	do_begin_and_fill();
	must(commit());
	read_all(&wanted);
	put_base();
	do_begin();
	walk_all(&parts);
	must(part());
	must(commit());
	read_all(&after);
	assert_int_equal(after.len, wanted.len);
	assert_memory_equal(after.data, wanted.data, wanted.len);
	put_base();
	walk_all(&commits);
	clear();
	walk_all(&firsts);
	put_base();
}

/* ---- what is only asked ---- */

static void walk_question(const char *what, uint8_t cmd, int flags, bool with_packet)
{
	unsigned nth = 1;
	bool failed = true;

	read_all(&before);
	for (; failed; nth++) {
		struct nl_msg *msg = kk_genl_request(&module.genl, cmd, flags, 1024);
		uint8_t packet[64];
		struct nlattr *nest;
		int r;

		for (uint16_t i = 0; with_packet && i < 3; i++) {
			size_t len = fuzz_packet(packet, IPPROTO_TCP, "192.0.2.7", "198.51.100.1",
						 i == 0	  ? 443
						 : i == 1 ? 22
							  : 80);

			nest = nla_nest_start(msg, KK_A_PACKET);
			assert_non_null(nest);
			nla_put(msg, KK_PACKET_A_DATA, (int)len, packet);
			nla_put_u32(msg, KK_PACKET_A_DIRECTION, KK_PACKET_INBOUND);
			nla_nest_end(msg, nest);
		}
		r = request(msg, nth, &failed);
		nlmsg_free(msg);
		if (r < 0 && (r != -ENOMEM || !failed))
			fail_msg("%s, allocation %u: %s", what, nth, strerror(-r));
		if (!is_as_before())
			fail_msg("%s, allocation %u: the tables changed", what, nth);
		if (nth > NTH_MAX)
			fail_msg("%s: more than %d allocations", what, NTH_MAX);
	}
	print_message("%s: %u allocations\n", what, nth - 2);
}

static void test_questions(void **state)
{
	(void)state;
	walk_question("packets tried", KK_CMD_TRY, 0, true);
	walk_question("listeners listed", KK_CMD_LISTENER_GET, NLM_F_DUMP, false);
	walk_question("flows listed", KK_CMD_FLOW_GET, NLM_F_DUMP, false);
	walk_question("groups listed", KK_CMD_GROUP_GET, NLM_F_DUMP, false);
	walk_question("info", KK_CMD_INFO_GET, 0, false);
}

/* ---- flows, in the middle of a packet ---- */

static void send_datagram(const char *from)
{
	const int ifindex = (int)if_nametoindex("veth0");
	uint8_t frame[ETH_HLEN + 64] = {0};
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET, .sll_ifindex = ifindex, .sll_protocol = htons(ETH_P_IP)};
	struct ifreq req = {.ifr_name = FUZZ_PUBLIC};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	size_t len;

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &req), 0);
	memcpy(frame, req.ifr_hwaddr.sa_data, ETH_ALEN);
	frame[12] = 8;
	len = ETH_HLEN + fuzz_packet(frame + ETH_HLEN, IPPROTO_TCP, from, "198.51.100.1", 443);
	assert_int_equal(sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof(to)), len);
	close(fd);
}

static void await_flows(uint32_t flows, uint64_t exhausted)
{
	struct kk_module_info info = {0};
	uint64_t counted = 0;

	for (int i = 0; i < 1000; i++) {
		KK_CLEANUP_FREE struct kk_datapath_counter *counters = NULL;
		struct kk_err err = {0};

		assert_ok(kk_module_counters(&module, &counters, &err), &err);
		assert_ok(kk_module_info(&module, &info, &err), &err);
		counted = counters[KK_REASON_SNAT_EXHAUSTED].packets;
		if (info.n_flows == flows && counted == exhausted)
			return;
		usleep(10000);
	}
	fail_msg("%u flows, want %u; %llu packets without one, want %llu", info.n_flows, flows,
		 (unsigned long long)counted, (unsigned long long)exhausted);
}

/* The kernel was started so that objects of that kind can be told to fail alone. */
static bool may_fail_flows(void)
{
	char text[4] = "";
	int fd = open(FLOWS, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return text[0] == '1';
}

static void test_flows(void **state)
{
	(void)state;
	assert_true(may_fail_flows());
	write_file(INJECT "failslab/cache-filter", "Y");
	write_file(INJECT "failslab/times", "-1");
	write_file(INJECT "failslab/probability", "100");
	for (int i = 0; i < 3; i++)
		send_datagram("192.0.2.7");
	await_flows(0, 3);
	write_file(INJECT "failslab/probability", "0");
	write_file(INJECT "failslab/cache-filter", "N");
	send_datagram("192.0.2.7");
	await_flows(1, 3);
	put_base();
	await_flows(0, 3);
}

/* ---- namespaces and the module itself ---- */

/* Runs @act in a process of its own with allocation @nth failing: what it returns, below 128, and whether one failed. */
static int act_failing(int (*act)(void), unsigned nth, unsigned *left)
{
	int pipes[2], status, r;
	pid_t child;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		nth_fd = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
		fail_nth(nth);
		r = act();
		*left = nth_left();
		(void)!write(pipes[1], left, sizeof(*left));
		_exit(r);
	}
	assert_int_equal(read(pipes[0], left, sizeof(*left)), sizeof(*left));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	close(pipes[0]);
	close(pipes[1]);
	return WEXITSTATUS(status);
}

static int new_namespace(void)
{
	return unshare(CLONE_NEWNET) < 0 ? errno : 0;
}

enum { EVER = 1000000 };

/*
 * The module's own are among the last, since it was loaded last: they and what is near are walked through. Of objects
 * alone, for what the rest of the kernel says of pages is not ours to judge.
 */
static void test_namespace(void **state)
{
	enum { NEAR = 100 };
	unsigned left, total, refused = 0;

	(void)state;
	fail_pages_too(false);
	read_all(&before);
	assert_int_equal(act_failing(new_namespace, EVER, &left), 0);
	total = EVER - left;
	for (unsigned nth = total; nth > 0 && nth + NEAR > total; nth--) {
		int r = act_failing(new_namespace, nth, &left);

		/* Some of the others' say that they have no buffers. */
		if (r && ((r != ENOMEM && r != ENOBUFS) || left))
			fail_msg("a namespace, allocation %u: %s", nth, strerror(r));
		refused += r != 0;
	}
	assert_true(is_as_before());
	fail_pages_too(true);
	print_message("a namespace: %u allocations, %u refused\n", total, refused);
	assert_true(refused > 0);
}

static void *image;
static size_t image_size;

static void read_image(void)
{
	FILE *file = fopen(getenv("KK_MODULE") ?: "", "rb");

	if (!file)
		fail_msg("$KK_MODULE is no file that can be read");
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	image_size = (size_t)ftell(file);
	rewind(file);
	image = malloc(image_size);
	assert_non_null(image);
	assert_int_equal(fread(image, 1, image_size, file), image_size);
	fclose(file);
}

static int load(void)
{
	return syscall(SYS_init_module, image, image_size, "") < 0 ? errno : 0;
}

static void unload(void)
{
	if (syscall(SYS_delete_module, "kakuremichi", O_NONBLOCK) < 0)
		fail_msg("the module cannot be unloaded: %s", strerror(errno));
}

static void test_load(void **state)
{
	unsigned left, nth = 1, refused = 0;

	(void)state;
	read_image();
	kk_module_close(&module);
	unload();
	fail_pages_too(false);
	for (left = 0; !left; nth++) {
		int r = act_failing(load, nth, &left);

		if (r && (r != ENOMEM || left))
			fail_msg("the module, allocation %u: %s", nth, strerror(r));
		refused += r != 0;
		if (!r)
			unload();
		assert_true(nth < NTH_MAX);
	}
	fail_pages_too(true);
	print_message("the module: %u allocations, %u refused\n", nth - 2, refused);
	assert_true(refused > 0);
	assert_int_equal(load(), 0);
}

/*
 * test_module_faults [namespace | load]: these alone, for there the kernel's own parts tell in the log what they had no
 * memory for (doc/vm.md).
 */
int main(int argc, char **argv)
{
	const struct CMUnitTest requests[] = {
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_whole_tables),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_flows),
	};
	const struct CMUnitTest namespaces[] = {cmocka_unit_test(test_namespace)};
	const struct CMUnitTest loads[] = {cmocka_unit_test(test_load)};
	const char *which = argc > 1 ? argv[1] : "";

	if (!strcmp(which, "load"))
		return cmocka_run_group_tests(loads, start, NULL);
	if (!strcmp(which, "namespace"))
		return cmocka_run_group_tests(namespaces, start, NULL);
	return cmocka_run_group_tests(requests, start, NULL);
}
