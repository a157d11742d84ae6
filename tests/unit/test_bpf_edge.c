// SPDX-License-Identifier: MIT
/*
 * Where the edge stands: XDP in the best mode, beside other programs, not where another holds the interface, and then at
 * tc. Needs root.
 */
#include "datapath_world.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <xdp/libxdp.h>

#include "bpf/attach_xdp.h"

static struct world world;

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

static struct kk_xdp_state open_as(enum kk_xdp_mode mode)
{
	struct kk_datapath *dp;
	struct kk_xdp_state state;
	struct kk_err err = {0};

	world.config.edge.xdp = mode;
	assert_ok(kk_datapath_open(&world.config, &dp, &err), &err);
	assert_ok(kk_datapath_edge(dp, &state, &err), &err);
	kk_datapath_close(dp);
	return state;
}

/* What `ip link' would show. */
static uint32_t program_at(const char *ifname, struct bpf_prog_info *info)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);
	uint32_t len = sizeof(*info);
	int fd;

	assert_int_equal(bpf_xdp_query((int)if_nametoindex(ifname), 0, &opts), 0);
	if (!opts.prog_id)
		return 0;
	fd = bpf_prog_get_fd_by_id(opts.prog_id);
	assert_true(fd >= 0);
	memset(info, 0, sizeof(*info));
	assert_int_equal(bpf_obj_get_info_by_fd(fd, info, &len), 0);
	close(fd);
	return opts.prog_id;
}

static bool is_shared(const struct bpf_prog_info *info)
{
	return strcmp(info->name, "xdp_dispatcher") == 0;
}

/* The program is where it is said to be, and stays there when the process ends. */
static void assert_attached(const struct kk_xdp_state *state, enum kk_xdp_mode mode)
{
	struct bpf_prog_info info;

	if (state->mode != mode)
		fail_msg("mode %s: %s", kk_xdp_mode_name(state->mode), state->reason);
	assert_true(program_at(WORLD_PUBLIC, &info));
	assert_int_equal(is_shared(&info), state->shared);
	if (!state->shared)
		assert_string_equal(info.name, KK_XDP_PROGRAM);
}

static void test_modes(void **state)
{
	struct kk_xdp_state now = open_as(KK_XDP_NATIVE);
	struct bpf_prog_info info;

	(void)state;
	assert_attached(&now, KK_XDP_NATIVE);
	now = open_as(KK_XDP_GENERIC);
	assert_attached(&now, KK_XDP_GENERIC);
	now = open_as(KK_XDP_AUTO);
	assert_attached(&now, KK_XDP_GENERIC);
	assert_non_null(strstr(now.reason, "veth"));
	now = open_as(KK_XDP_NATIVE);
	assert_attached(&now, KK_XDP_NATIVE);
	now = open_as(KK_XDP_OFF);
	assert_int_equal(now.mode, KK_XDP_OFF);
	assert_non_null(strstr(now.reason, "switched off"));
	assert_int_equal(program_at(WORLD_PUBLIC, &info), 0);
}

/* A later daemon takes the place of an earlier one's program, without a moment in which there is none. */
static void test_restart_replaces(void **state)
{
	struct bpf_prog_info first, second;
	struct kk_xdp_state now = open_as(KK_XDP_NATIVE);

	(void)state;
	assert_attached(&now, KK_XDP_NATIVE);
	program_at(WORLD_PUBLIC, &first);
	now = open_as(KK_XDP_NATIVE);
	assert_attached(&now, KK_XDP_NATIVE);
	program_at(WORLD_PUBLIC, &second);
	assert_int_not_equal(first.id, second.id);
}

static void test_remove(void **state)
{
	struct bpf_prog_info info;
	struct kk_err err = {0};

	(void)state;
	open_as(KK_XDP_NATIVE);
	assert_true(program_at(WORLD_PUBLIC, &info));
	assert_ok(kk_datapath_remove(world.pin_dir, WORLD_PUBLIC, WORLD_TUNNEL, &err), &err);
	assert_int_equal(program_at(WORLD_PUBLIC, &info), 0);
}

static int load_other(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "firewall", "MIT", insns, 2, NULL);

	assert_true(fd >= 0);
	return fd;
}

/* One that did not come by libxdp holds the interface: it is named, it stays, and the edge is at tc. */
static void test_held_by_another(void **state)
{
	int fd = load_other(), ifindex = (int)if_nametoindex(WORLD_PUBLIC);
	struct bpf_prog_info info;
	struct kk_xdp_state now;
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(bpf_xdp_attach(ifindex, fd, XDP_FLAGS_DRV_MODE, NULL), 0);
	now = open_as(KK_XDP_AUTO);
	assert_int_equal(now.mode, KK_XDP_OFF);
	if (!strstr(now.reason, "firewall"))
		fail_msg("%s", now.reason);
	program_at(WORLD_PUBLIC, &info);
	assert_string_equal(info.name, "firewall");
	assert_ok(kk_datapath_remove(world.pin_dir, WORLD_PUBLIC, WORLD_TUNNEL, &err), &err);
	program_at(WORLD_PUBLIC, &info);
	assert_string_equal(info.name, "firewall");
	assert_int_equal(bpf_xdp_detach(ifindex, XDP_FLAGS_DRV_MODE, NULL), 0);
	close(fd);
}

/* ---- traffic through whatever is at XDP, beside somebody else's program ---- */

#define OWN_PORT 4500 /* a socket of the gateway's own */

static struct {
	atomic_bool stop;
	uint32_t sent, received;
	int from, to;
	struct sockaddr_ll link;
	uint8_t frame[14 + 20 + 8 + 1];
	pthread_t sender, receiver;
} traffic;

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void *send_on(void *arg)
{
	for (; !traffic.stop; pause_ms(2))
		if (sendto(traffic.from, traffic.frame, sizeof(traffic.frame), 0,
			   (void *)&traffic.link, sizeof(traffic.link)) > 0)
			traffic.sent++;
	return arg;
}

static void *receive_all(void *arg)
{
	char byte;

	while (recv(traffic.to, &byte, 1, 0) == 1)
		traffic.received++;
	return arg;
}

static void mac_of(const char *ifname, uint8_t *ret)
{
	struct ifreq req = {0};

	strcpy(req.ifr_name, ifname);
	assert_int_equal(ioctl(traffic.to, SIOCGIFHWADDR, &req), 0);
	memcpy(ret, req.ifr_hwaddr.sa_data, ETH_ALEN);
}

/* Datagrams from the other end of the pair to a port of the gateway's own, until traffic_end(). */
static void traffic_begin(void)
{
	static const uint8_t packet[] = {0x45,
					 0,
					 0,
					 29,
					 0,
					 1,
					 0,
					 0,
					 64,
					 IPPROTO_UDP,
					 0x26,
					 0x60,
					 198,
					 51,
					 100,
					 7,
					 198,
					 51,
					 100,
					 1,
					 0x30,
					 0x39,
					 OWN_PORT >> 8,
					 OWN_PORT & 0xff,
					 0,
					 9,
					 0,
					 0,
					 'x'};
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(OWN_PORT)};
	const struct kk_prefix4 own = {.addr = ip4("198.51.100.1"), .len = 24};
	struct timeval patience = {.tv_sec = 1};
	struct kk_err err = {0};

	memset(&traffic, 0, sizeof(traffic));
	assert_ok(kk_net_addr_add(WORLD_PUBLIC, &own, &err), &err);
	assert_ok(kk_net_link_set("veth0", true, 0, &err), &err);
	traffic.to = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(traffic.to >= 0);
	assert_int_equal(bind(traffic.to, (const void *)&any, sizeof(any)), 0);
	assert_int_equal(
		setsockopt(traffic.to, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	mac_of(WORLD_PUBLIC, traffic.frame);
	mac_of("veth0", traffic.frame + ETH_ALEN);
	traffic.frame[12] = ETH_P_IP >> 8;
	memcpy(traffic.frame + ETH_HLEN, packet, sizeof(packet));
	traffic.from = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	traffic.link = (struct sockaddr_ll){.sll_family = AF_PACKET,
					    .sll_ifindex = (int)if_nametoindex("veth0")};
	assert_true(traffic.from >= 0);
	assert_int_equal(pthread_create(&traffic.receiver, NULL, receive_all, NULL), 0);
	assert_int_equal(pthread_create(&traffic.sender, NULL, send_on, NULL), 0);
	pause_ms(100);
}

/* Every one of them has arrived. */
static void traffic_end(void)
{
	traffic.stop = true;
	pthread_join(traffic.sender, NULL);
	pthread_join(traffic.receiver, NULL);
	close(traffic.from);
	close(traffic.to);
	print_message("%u datagrams, %u arrived\n", traffic.sent, traffic.received);
	assert_true(traffic.sent > 20);
	assert_int_equal(traffic.received, traffic.sent);
}

/* Somebody else's, which lets everything pass: that of libxdp for AF_XDP, without a socket. */
static struct xdp_program *other_open(void)
{
	struct xdp_program *other = xdp_program__find_file("xsk_def_xdp_prog.o", NULL, NULL);

	assert_int_equal(libxdp_get_error(other), 0);
	return other;
}

/* Whether it is at the interface, ours aside. */
static bool other_is_there(const struct xdp_program *other)
{
	struct xdp_multiprog *all =
		xdp_multiprog__get_from_ifindex((int)if_nametoindex(WORLD_PUBLIC));
	struct xdp_program *prog = NULL;
	bool found = false;

	if (libxdp_get_error(all))
		return false;
	if (xdp_multiprog__is_legacy(all))
		found = xdp_program__id(xdp_multiprog__main_prog(all)) == xdp_program__id(other);
	else
		while ((prog = xdp_multiprog__next_prog(prog, all)))
			found |= xdp_program__id(prog) == xdp_program__id(other);
	xdp_multiprog__close(all);
	return found;
}

/* With the dispatcher each comes and goes as it likes, and the other stays. */
static void take_turns(struct xdp_program *other)
{
	int ifindex = (int)if_nametoindex(WORLD_PUBLIC);
	struct kk_xdp_state now;
	struct kk_err err = {0};

	for (int i = 0; i < 2; i++) {
		now = open_as(KK_XDP_AUTO);
		assert_attached(&now, KK_XDP_GENERIC);
		assert_true(now.shared && other_is_there(other));
		pause_ms(100);
		assert_int_equal(xdp_program__detach(other, ifindex, XDP_MODE_SKB, 0), 0);
		assert_int_equal(kk_xdp_query(ifindex, &now), 0);
		assert_true(now.mode == KK_XDP_GENERIC && !other_is_there(other));
		pause_ms(100);
		assert_int_equal(xdp_program__attach(other, ifindex, XDP_MODE_SKB, 0), 0);
		assert_int_equal(kk_xdp_query(ifindex, &now), 0);
		assert_true(now.mode == KK_XDP_GENERIC && other_is_there(other));
		pause_ms(100);
		assert_ok(kk_datapath_remove(world.pin_dir, WORLD_PUBLIC, WORLD_TUNNEL, &err),
			  &err);
		assert_true(other_is_there(other));
	}
}

/* Without it the first one stays alone. */
static void keep_apart(struct xdp_program *other)
{
	int ifindex = (int)if_nametoindex(WORLD_PUBLIC);
	struct kk_xdp_state now = open_as(KK_XDP_AUTO);

	assert_int_equal(now.mode, KK_XDP_OFF);
	assert_non_null(strstr(now.reason, xdp_program__name(other)));
	assert_true(other_is_there(other));
	assert_int_equal(xdp_program__detach(other, ifindex, XDP_MODE_SKB, 0), 0);
	now = open_as(KK_XDP_AUTO);
	assert_attached(&now, KK_XDP_GENERIC);
	assert_true(xdp_program__attach(other, ifindex, XDP_MODE_SKB, 0) < 0);
	assert_int_equal(kk_xdp_query(ifindex, &now), 0);
	assert_int_equal(now.mode, KK_XDP_GENERIC);
}

/* Beside another that came by libxdp, as far as the kernel lets them; not a packet is lost meanwhile. */
static void test_beside_another(void **state)
{
	struct xdp_program *other = other_open();
	struct bpf_prog_info info;
	int ifindex = (int)if_nametoindex(WORLD_PUBLIC);

	(void)state;
	traffic_begin();
	assert_int_equal(xdp_program__attach(other, ifindex, XDP_MODE_SKB, 0), 0);
	assert_true(program_at(WORLD_PUBLIC, &info));
	print_message("at XDP: %s\n", info.name);
	if (is_shared(&info)) {
		take_turns(other);
		assert_int_equal(xdp_program__detach(other, ifindex, XDP_MODE_SKB, 0), 0);
	} else {
		assert_null(getenv("KK_VM"));
		keep_apart(other);
	}
	traffic_end();
	xdp_program__close(other);
}

/* `ip link set dev ... xdp off' by somebody else. */
static void test_taken_away(void **state)
{
	struct kk_datapath *dp;
	struct kk_xdp_state now;
	struct kk_err err = {0};

	(void)state;
	world.config.edge.xdp = KK_XDP_NATIVE;
	assert_ok(kk_datapath_open(&world.config, &dp, &err), &err);
	assert_int_equal(
		bpf_xdp_detach((int)if_nametoindex(WORLD_PUBLIC), XDP_FLAGS_DRV_MODE, NULL), 0);
	assert_ok(kk_datapath_edge(dp, &now, &err), &err);
	assert_int_equal(now.mode, KK_XDP_OFF);
	kk_datapath_close(dp);
}

/* A reader sees what there is, from the kernel, and changes nothing. */
static void test_read_only(void **state)
{
	struct kk_datapath *dp;
	struct kk_xdp_state now;
	struct kk_err err = {0};

	(void)state;
	open_as(KK_XDP_AUTO);
	assert_ok(kk_datapath_open_readonly(world.pin_dir, &dp, &err), &err);
	assert_ok(kk_datapath_edge(dp, &now, &err), &err);
	assert_int_equal(now.mode, KK_XDP_GENERIC);
	assert_non_null(strstr(now.reason, "veth"));
	kk_datapath_close(dp);
}

static struct bpf_object *no_program(void *userdata, enum kk_xdp_mode mode, struct kk_err *err)
{
	(void)mode;
	*(bool *)userdata = true;
	kk_err_set(err, ENOSYS, NULL, "this one is not to be opened");
	return NULL;
}

static void nothing_to_close(void *userdata)
{
	(void)userdata;
}

static void test_never_on_lo(void **state)
{
	bool opened = false;
	const struct kk_xdp_source source = {
		.open = no_program, .close = nothing_to_close, .userdata = &opened};
	struct kk_xdp_state now;
	struct kk_err err = {0};

	(void)state;
	assert_ok(
		kk_xdp_attach("lo", (int)if_nametoindex("lo"), KK_XDP_NATIVE, &source, &now, &err),
		&err);
	assert_int_equal(now.mode, KK_XDP_OFF);
	assert_non_null(strstr(now.reason, "lo"));
	assert_false(opened);
}

/* A program that cannot be loaded is a reason, not an error: tc goes on. */
static void test_cannot_be_loaded(void **state)
{
	bool opened = false;
	const struct kk_xdp_source source = {
		.open = no_program, .close = nothing_to_close, .userdata = &opened};
	struct kk_xdp_state now;
	struct kk_err err = {0};

	(void)state;
	assert_ok(kk_xdp_attach(WORLD_PUBLIC, (int)if_nametoindex(WORLD_PUBLIC), KK_XDP_NATIVE,
				&source, &now, &err),
		  &err);
	assert_int_equal(now.mode, KK_XDP_OFF);
	assert_true(opened);
	assert_non_null(strstr(now.reason, "not to be opened"));
}

static void test_mode_names(void **state)
{
	enum kk_xdp_mode mode;

	(void)state;
	for (enum kk_xdp_mode m = KK_XDP_OFF; m < KK_XDP_OFFLOAD; m++) {
		assert_int_equal(kk_xdp_mode_parse(kk_xdp_mode_name(m), &mode), 0);
		assert_int_equal(mode, m);
	}
	assert_int_equal(kk_xdp_mode_parse("offload", &mode), -EINVAL);
	assert_int_equal(kk_xdp_mode_parse("", &mode), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mode_names),
		cmocka_unit_test_setup_teardown(test_modes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart_replaces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
		cmocka_unit_test_setup_teardown(test_held_by_another, setup, teardown),
		cmocka_unit_test_setup_teardown(test_beside_another, setup, teardown),
		cmocka_unit_test_setup_teardown(test_taken_away, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_never_on_lo, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cannot_be_loaded, setup, teardown),
	};

	return kk_run_group_as_root("loads BPF programs", tests, NULL, NULL);
}
