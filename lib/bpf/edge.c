// SPDX-License-Identifier: MIT
#include "bpf/edge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/attach_xdp.h"
#include "bpf/tables.h"
#include "kk_tc.skel.h"
#include "kk_xdp.skel.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "wg/siphash.h"

#define PORT_RANGE	  "/proc/sys/net/ipv4/ip_local_port_range"
#define EPHEMERAL_DEFAULT 32768

_Static_assert(sizeof(((struct kk_edge_place *)0)->reason) == KK_XDP_REASON_MAX,
	       "a reason that is given is a reason that is kept");

/* The first port that the kernel gives away by itself in this network namespace. */
static uint32_t first_ephemeral(void)
{
	FILE *f = fopen(PORT_RANGE, "re");
	unsigned int first = EPHEMERAL_DEFAULT;

	if (!f)
		return first;
	if (fscanf(f, "%u", &first) != 1)
		first = EPHEMERAL_DEFAULT;
	fclose(f);
	return first;
}

int kk_edge_settings_of(const struct kk_datapath_config *config, struct kk_edge_settings *ret,
			struct kk_err *err)
{
	static const uint8_t none[sizeof(config->flow_key)];
	struct kk_edge_settings set = {.syn_rate = config->edge.syn_rate,
				       .ephemeral = first_ephemeral()};
	struct wg_siphash_key sip;

	memcpy(&sip, config->flow_key, sizeof(sip));
	if (memcmp(config->flow_key, none, sizeof(none)) == 0 &&
	    getrandom(&sip, sizeof(sip), 0) != sizeof(sip))
		return kk_err_set(err, errno, NULL, "no random numbers: %s", strerror(errno));
	set.cookie_key[0] = wg_siphash(&sip, "cookie 0", 8);
	set.cookie_key[1] = wg_siphash(&sip, "cookie 1", 8);
	*ret = set;
	return 0;
}

/* What is open between the two functions that kk_xdp_attach() calls. */
struct source {
	const struct kk_tc *tc;
	struct kk_xdp *skel;
};

/*
 * In generic mode a packet of this machine's neighbours may have a checksum that a device is yet to complete, which tc sees
 * and XDP does not: there datagrams are relayed at tc.
 */
static uint32_t part_of(enum kk_xdp_mode mode)
{
	switch (mode) {
	case KK_XDP_OFF:
		return 0;
	case KK_XDP_GENERIC:
		return KK_EDGE_CHECKS;
	default:
		return KK_EDGE_CHECKS | KK_EDGE_RELAY;
	}
}

static int share_tables(struct kk_xdp *skel, const struct kk_tc *tc, struct kk_err *err)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, skel->obj) {
		const char *name = bpf_map__name(map);
		int fd;

		if (bpf_map__is_internal(map))
			continue;
		fd = bpf_object__find_map_fd_by_name(tc->obj, name);
		if (fd < 0 || bpf_map__reuse_fd(map, fd) < 0)
			return kk_err_set(err, ENOENT, NULL, "XDP cannot share table %s", name);
	}
	return 0;
}

static struct bpf_object *open_program(void *userdata, enum kk_xdp_mode mode, struct kk_err *err)
{
	struct source *source = userdata;

	source->skel = kk_xdp__open();
	if (!source->skel) {
		kk_err_set(err, errno, NULL, "cannot open the XDP program: %s", strerror(errno));
		return NULL;
	}
	source->skel->rodata->kk_settings = source->tc->rodata->kk_settings;
	source->skel->rodata->kk_edge_settings = source->tc->rodata->kk_edge_settings;
	source->skel->rodata->kk_edge_part = part_of(mode);
	/*
	 * Native: also packets in several buffers (jumbo frames). Generic XDP gives a program that takes those
	 * a copy of the packet, which since Linux 6.9 has forgotten how long its link header is: tc would look
	 * at the wrong bytes. Others get the packet itself, in one buffer.
	 */
	if (mode != KK_XDP_GENERIC)
		bpf_program__set_flags(source->skel->progs.kk_xdp, BPF_F_XDP_HAS_FRAGS);
	if (share_tables(source->skel, source->tc, err) == 0)
		return source->skel->obj;
	kk_xdp__destroy(source->skel);
	return NULL;
}

static void close_program(void *userdata)
{
	struct source *source = userdata;

	kk_xdp__destroy(source->skel);
	source->skel = NULL;
}

static void leave_to_tc(struct kk_tc *tc, enum kk_xdp_mode mode)
{
	__atomic_store_n(&tc->data->kk_edge_here, (KK_EDGE_CHECKS | KK_EDGE_RELAY) & ~part_of(mode),
			 __ATOMIC_RELEASE);
}

int kk_edge_attach(struct kk_tc *tc, const struct kk_edge_config *config, const char *ifname,
		   int ifindex, struct kk_err *err)
{
	struct source source = {.tc = tc};
	const struct kk_xdp_source program = {
		.open = open_program, .close = close_program, .userdata = &source};
	struct kk_edge_place place = {.settings = tc->rodata->kk_edge_settings,
				      .ifindex = (uint32_t)ifindex};
	const uint32_t zero = 0;
	struct kk_xdp_state state;
	int r;

	/* Until it is known what XDP does. */
	leave_to_tc(tc, KK_XDP_OFF);
	r = kk_xdp_attach(ifname, ifindex, config->xdp, &program, &state, err);
	if (r < 0)
		return r;
	leave_to_tc(tc, state.mode);
	memcpy(place.reason, state.reason, sizeof(place.reason));
	if (bpf_map_update_elem(bpf_map__fd(tc->maps.kk_edge_place), &zero, &place, BPF_ANY) < 0)
		kk_warn("cannot note why XDP is as it is: %s", strerror(errno));
	kk_info("XDP on %s: %s%s%s%s", ifname, kk_xdp_mode_name(state.mode),
		state.shared ? ", beside others" : "", *state.reason ? "; " : "", state.reason);
	return 0;
}

int kk_edge_query(int place_fd, struct kk_tc *tc, struct kk_xdp_state *ret, struct kk_err *err)
{
	struct kk_edge_place place;
	const uint32_t zero = 0;
	struct kk_xdp_state state = {.mode = KK_XDP_OFF};

	if (bpf_map_lookup_elem(place_fd, &zero, &place) < 0)
		return kk_err_set(err, errno, NULL, "cannot read where XDP is: %s",
				  strerror(errno));
	memcpy(state.reason, place.reason, sizeof(state.reason));
	/* An interface that is gone has no program either. */
	if (kk_xdp_query((int)place.ifindex, &state) < 0)
		state.mode = KK_XDP_OFF;
	if (state.mode == KK_XDP_OFF && !*state.reason)
		strcpy(state.reason, "somebody took the XDP program away");
	if (tc)
		leave_to_tc(tc, state.mode);
	*ret = state;
	return 0;
}
