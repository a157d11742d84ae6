/* SPDX-License-Identifier: MIT */
/* The edge's programs as hosts under BPF_PROG_TEST_RUN: their tables filled as a world of the edge says, and what became of a packet. */
#ifndef KK_TEST_BPF_HOSTS_H
#define KK_TEST_BPF_HOSTS_H

#include "bpf_host.h"
#include "edge_cases.h"

#include <errno.h>
#include <fcntl.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>

#include "bpf/sieve.h"

static inline void put(struct bpf_object *obj, const char *map, const void *key, const void *value)
{
	int fd = bpf_object__find_map_fd_by_name(obj, map);

	assert_true(fd >= 0);
	if (bpf_map_update_elem(fd, key, value, BPF_ANY) < 0)
		fail_msg("%s: %s", map, strerror(errno));
}

/* The guarded services' words and slots, as the loader would have them. */
static inline void fill_policies(struct bpf_host *host, const struct edge_world *w)
{
	for (size_t i = 0; i < w->n_policies; i++) {
		uint32_t number = (uint32_t)i + 1, slot = 0;

		put(host->obj, "kk_policies", &number, &w->policies[i].policy);
		for (uint32_t s = 1; s < KK_SERVICES_MAX && !slot; s++)
			if (host->tables.services[s].id == w->policies[i].service)
				slot = s;
		assert_true(slot);
		host->tables.services[slot].policy = (uint16_t)number;
		for (size_t j = 0; j < SLOTS * KK_LISTENERS_PER_ADDRESS; j++)
			if (kk_listener_service(host->tables.listeners[j]) == slot)
				host->tables.listeners[j] |= KK_LISTENER_GUARDED;
	}
}

static inline void fill_edge(struct bpf_host *host, struct edge_world *w)
{
	const uint32_t zero = 0;

	fill(host, &w->base);
	put(host->obj, "kk_features", &zero, &w->features);
	for (size_t i = 0; i < w->n_relays; i++)
		put(host->obj, "kk_relays", &w->relays[i].key, &w->relays[i].value);
	for (size_t i = 0; i < w->n_verified; i++)
		put(host->obj, "kk_verified", &w->verified[i].source, &w->verified[i].until);
	for (size_t i = 0; i < w->n_bans; i++)
		put(host->obj, "kk_bans", &w->bans[i].key, &w->bans[i].until);
	for (size_t i = 0; i < w->n_lists; i++)
		put(host->obj, "kk_lists", &w->lists[i].key, &w->lists[i].value);
	assert_int_equal(kk_sieve_make(&host->tables, NULL), 0);
	fill_policies(host, w);
}

/* ---- running ---- */

static inline void test_run(int prog_fd, const struct packet *in, struct packet *out,
			    uint32_t *action)
{
	static uint8_t frame[PACKET_MAX + ETH_HLEN], back[PACKET_MAX + 2 * ETH_HLEN];
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = frame,
		.data_size_in = ETH_HLEN + in->len,
		.data_out = back,
		.data_size_out = sizeof(back),
	};
	bool ip6;

	/* The kernel wants a whole header of what the frame says. */
	ip6 = in->data[0] >> 4 == 6 && in->len >= 40;
	memset(frame, 0, ETH_HLEN);
	frame[12] = ip6 ? ETH_P_IPV6 >> 8 : ETH_P_IP >> 8;
	frame[13] = ip6 ? ETH_P_IPV6 & 0xff : 0;
	memcpy(frame + ETH_HLEN, in->data, in->len);
	if (bpf_prog_test_run_opts(prog_fd, &opts) < 0) {
		print_packet("in  ", in);
		fail_msg("BPF_PROG_TEST_RUN: %s", strerror(errno));
	}
	*action = opts.retval;
	assert_true(opts.data_size_out >= ETH_HLEN && opts.data_size_out - ETH_HLEN <= PACKET_MAX);
	out->len = opts.data_size_out - ETH_HLEN;
	out->gso_size = 0;
	memcpy(out->data, back + ETH_HLEN, out->len);
}

/* The reason is the one that was counted; KK_REASON_MAX: none. */
static inline void outcome_of(struct bpf_host *host, struct outcome *ret)
{
	struct kk_counter after[KK_REASON_MAX];

	ret->reason = read_reason(host, after);
	ret->verdict = ret->reason == KK_REASON_MAX ? KK_PASS : kk_verdict(ret->reason);
	assert_counted(host->before, after, ret->reason, ret->packet.len);
	memcpy(host->before, after, sizeof(after));
}

static inline uint32_t xdp_action_of(enum kk_verdict verdict)
{
	switch (verdict) {
	case KK_PASS:
		return XDP_PASS;
	case KK_TO_TUNNEL:
		return XDP_REDIRECT;
	case KK_TO_NIC:
	case KK_BACK:
		return XDP_TX;
	default:
		return XDP_DROP;
	}
}

static inline void xdp_run(struct bpf_host *host, const struct bpf_program *prog,
			   const struct packet *in, struct outcome *ret)
{
	uint32_t action;

	test_run(bpf_program__fd(prog), in, &ret->packet, &action);
	outcome_of(host, ret);
	assert_int_equal(action, xdp_action_of(ret->verdict));
}

#define EDGE_LOAD(skel, prefix, w)                                                                 \
	do {                                                                                       \
		(skel) = prefix##__open();                                                         \
		assert_non_null(skel);                                                             \
		(skel)->rodata->kk_settings = (w)->base.settings;                                  \
		(skel)->rodata->kk_edge_settings = (w)->settings;                                  \
		(skel)->rodata->kk_now = (w)->now;                                                 \
		(skel)->rodata->kk_public_ifindex = 1;                                             \
		(skel)->rodata->kk_tunnel_ifindex = 1;                                             \
		assert_int_equal(kk_tables_size((skel)->obj, SLOTS, &err), 0);                     \
		assert_int_equal(prefix##__load(skel), 0);                                         \
	} while (0)

static inline int socket_at(uint8_t protocol, uint16_t port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd =
		socket(AF_INET6, (protocol == KK_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	if (protocol == KK_TCP)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

#endif
