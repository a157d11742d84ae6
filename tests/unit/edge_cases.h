/* SPDX-License-Identifier: MIT */
/* The packet cases of the edge (tests/packets/edge.json): what their worlds have besides those of packet_cases.h. */
#ifndef KK_TEST_EDGE_CASES_H
#define KK_TEST_EDGE_CASES_H

#include "packet_cases.h"

#define EDGE_MAX 16 /* entries of each table, and sockets */

struct edge_policy {
	uint32_t service; /* id; the number is its place + 1 */
	struct kk_policy policy;
};

struct edge_world {
	const char *name;
	struct packet_world base;
	struct kk_edge_settings settings;
	uint64_t now, features;
	struct {
		struct kk_relay_key key;
		struct kk_relay value;
	} relays[EDGE_MAX];
	struct {
		struct kk_in6 source;
		uint64_t until;
	} verified[EDGE_MAX];
	struct {
		struct kk_ban_key key;
		uint64_t until;
	} bans[EDGE_MAX];
	struct {
		struct kk_list_key key;
		struct kk_list_entry value;
	} lists[EDGE_MAX];
	struct edge_policy policies[EDGE_MAX];
	struct {
		uint8_t protocol;
		uint16_t port;
	} sockets[EDGE_MAX];
	size_t n_relays, n_verified, n_bans, n_lists, n_policies, n_sockets;
};

static inline uint64_t big_number_of(const json_t *obj, const char *key)
{
	const json_t *number = json_object_get(obj, key);

	return number ? (uint64_t)json_integer_value(number) : 0;
}

/* Of either family, as the tables have it. */
static inline struct kk_in6 end_of(const char *text)
{
	if (strchr(text, ':'))
		return in6_of(text);
	return (struct kk_in6){.word = {0, 0, htonl(0xffff), address_of(text).s_addr}};
}

static inline uint64_t features_of(const json_t *list)
{
	static const struct {
		const char *name;
		uint64_t bit;
	} names[] = {
		{"list", KK_FEATURE_LIST},
		{"bans", KK_FEATURE_BANS},
		{"relay", KK_FEATURE_RELAY},
		{"closed_ports", KK_FEATURE_CLOSED_PORTS},
		{"syn_cookies", KK_FEATURE_SYN_COOKIES},
		{"service_bans", KK_FEATURE_SERVICE_BANS},
	};
	uint64_t features = 0;
	const json_t *entry;
	size_t i;

	json_array_foreach((json_t *)list, i, entry) {
		uint64_t before = features;

		for (size_t j = 0; j < ARRAY_SIZE(names); j++)
			if (strcmp(json_string_value(entry), names[j].name) == 0)
				features |= names[j].bit;
		if (features == before)
			fail_msg("feature %s", json_string_value(entry));
	}
	return features;
}

static inline void relays_of(const json_t *list, struct edge_world *w)
{
	const json_t *e;
	size_t i;

	json_array_foreach((json_t *)list, i, e) {
		assert_true(i < EDGE_MAX);
		w->relays[w->n_relays].key = (struct kk_relay_key){
			.address = end_of(text_of(e, "address")),
			.port = htons((uint16_t)number_of(e, "port")),
			.at = htons((uint16_t)number_of(e, "at")),
		};
		w->relays[w->n_relays++].value = (struct kk_relay){
			.peer = end_of(text_of(e, "peer")),
			.peer_port = htons((uint16_t)number_of(e, "peer_port")),
			.at = htons((uint16_t)number_of(e, "peer_at")),
			.until = big_number_of(e, "until"),
		};
	}
}

static inline struct kk_list_key list_key(uint32_t list, const struct kk_prefix *prefix)
{
	bool v4 = prefix->addr.family == AF_INET;
	struct kk_list_key key = {
		.prefix_len = 32 + (v4 ? 96u : 0) + prefix->len,
		.list = kk_list_number(list, v4 ? KK_IP4 : KK_IP6),
		.address = {.word = {0, 0, htonl(0xffff), prefix->addr.v4.s_addr}},
	};

	if (!v4)
		memcpy(&key.address, prefix->addr.bytes, sizeof(key.address));
	return key;
}

static inline void guards_of(const json_t *edge, struct edge_world *w)
{
	const json_t *e;
	const char *key;
	size_t i;

	json_array_foreach(json_object_get(edge, "bans"), i, e) {
		w->bans[w->n_bans].key =
			(struct kk_ban_key){.address = end_of(text_of(e, "source")),
					    .service = number_of(e, "service")};
		w->bans[w->n_bans++].until = big_number_of(e, "until");
	}
	json_array_foreach(json_object_get(edge, "lists"), i, e) {
		struct kk_prefix prefix;

		assert_true(i < EDGE_MAX);
		assert_int_equal(kk_parse_prefix("prefix", text_of(e, "prefix"), &prefix, NULL), 0);
		w->lists[w->n_lists].key = list_key(number_of(e, "list"), &prefix);
		w->lists[w->n_lists++].value.verdict =
			strcmp(text_of(e, "verdict"), "deny") == 0 ? KK_LIST_DENY : KK_LIST_ALLOW;
	}
	json_object_foreach(json_object_get(edge, "policies"), key, e) {
		w->policies[w->n_policies++] = (struct edge_policy){
			.service = number_of(e, "service"),
			.policy = {.list = (uint32_t)big_number_of(e, "list"),
				   .flags = flag_of(e, "deny_others") ? KK_POLICY_DENY : 0,
				   .syn_rate = (uint32_t)big_number_of(e, "syn_rate"),
				   .packet_interval = (uint32_t)big_number_of(e, "packet_interval"),
				   .packet_slack = big_number_of(e, "packet_slack"),
				   .connection_interval =
					   (uint32_t)big_number_of(e, "connection_interval"),
				   .connection_slack = big_number_of(e, "connection_slack")},
		};
	}
}

static inline void edge_world_of(const json_t *obj, struct edge_world *w)
{
	const json_t *edge = json_object_get(obj, "edge"), *key, *e;
	size_t i;

	memset(w, 0, sizeof(*w));
	w->name = text_of(obj, "name");
	w->base = world_of(obj);
	key = json_object_get(edge, "cookie_key");
	w->settings = (struct kk_edge_settings){
		.cookie_key = {(uint64_t)json_integer_value(json_array_get(key, 0)),
			       (uint64_t)json_integer_value(json_array_get(key, 1))},
		.syn_rate = number_of(edge, "syn_rate"),
		.ephemeral = number_of(edge, "ephemeral"),
	};
	w->now = big_number_of(edge, "now");
	w->features = features_of(json_object_get(edge, "features"));
	relays_of(json_object_get(edge, "relays"), w);
	json_array_foreach(json_object_get(edge, "verified"), i, e) {
		w->verified[w->n_verified].source = end_of(text_of(e, "source"));
		w->verified[w->n_verified++].until = big_number_of(e, "until");
	}
	guards_of(edge, w);
	json_array_foreach(json_object_get(obj, "sockets"), i, e) {
		w->sockets[w->n_sockets].protocol =
			strcmp(text_of(e, "protocol"), "tcp") == 0 ? KK_TCP : KK_UDP;
		w->sockets[w->n_sockets++].port = (uint16_t)number_of(e, "port");
	}
}

/* The slot of a service is its id in user space. */
static inline void edge_user_service(struct kk_user *user, const struct edge_world *w,
				     const struct kk_listener *l)
{
	uint32_t slot = slot_of(&w->base.settings, &l->address);

	user->services[l->service].id = l->service;
	user->services[l->service].state = KK_SLOT_USED;
	for (size_t i = 0; i < w->n_policies; i++) {
		if (w->policies[i].service != l->service)
			continue;
		user->services[l->service].policy = (uint16_t)(i + 1);
		user->listeners[kk_listener_index(slot, l->protocol, l->port)] |=
			KK_LISTENER_GUARDED;
	}
}

/* @user is empty. */
static inline void edge_user_fill(struct kk_user *user, const struct edge_world *w)
{
	user_fill(user, &w->base);
	user->edge.settings = w->settings;
	user->now = w->now;
	user->features = w->features;
	for (size_t i = 0; i < w->n_relays; i++)
		kk_map_put(&user->edge.relays, &w->relays[i].key, &w->relays[i].value);
	for (size_t i = 0; i < w->n_verified; i++)
		kk_map_put(&user->edge.verified, &w->verified[i].source, &w->verified[i].until);
	for (size_t i = 0; i < w->n_bans; i++)
		kk_map_put(&user->bans, &w->bans[i].key, &w->bans[i].until);
	for (size_t i = 0; i < w->n_lists; i++)
		kk_map_put(&user->lists, &w->lists[i].key, &w->lists[i].value);
	for (size_t i = 0; i < w->base.n_listeners; i++)
		edge_user_service(user, w, &w->base.listeners[i]);
	for (size_t i = 0; i < w->n_policies; i++)
		user->policies[i + 1] = w->policies[i].policy;
	for (size_t i = 0; i < w->n_sockets; i++) {
		user->edge.wanted[i].protocol = w->sockets[i].protocol;
		user->edge.wanted[i].port = htons(w->sockets[i].port);
	}
	user->edge.n_wanted = w->n_sockets;
}

static inline struct kk_user *edge_user_new(const struct edge_world *w)
{
	struct kk_user *user = kk_user_new();

	assert_non_null(user);
	edge_user_fill(user, w);
	return user;
}

static inline void edge_user_free(struct kk_user *user)
{
	kk_user_free(user);
}

/* As user_run(), through the edge; what it lets on has reason KK_REASON_MAX and is not counted. */
static inline void edge_user_run(struct kk_user *user, const struct packet *in, struct outcome *ret)
{
	KK_CLEANUP_FREE uint8_t *data = malloc(KK_USER_HEADROOM + in->len);
	struct kk_user_packet packet = {
		.data = data + KK_USER_HEADROOM, .len = in->len, .gso_size = in->gso_size};
	struct kk_counter before[KK_REASON_MAX];

	assert_non_null(data);
	memcpy(packet.data, in->data, in->len);
	memcpy(before, user->counters, sizeof(before));
	ret->reason = kk_user_edge(user, &packet);
	ret->verdict = ret->reason == KK_REASON_MAX ? KK_PASS : kk_verdict(ret->reason);
	ret->packet.len = packet.len;
	ret->packet.gso_size = 0;
	memcpy(ret->packet.data, packet.data, packet.len);
	assert_counted(before, user->counters, ret->reason, packet.len);
}

static inline const char *edge_reason_name(enum kk_reason reason)
{
	return reason == KK_REASON_MAX ? "on" : kk_reason_name(reason);
}

struct edge_case {
	const char *name;
	struct packet in, out;
	const char *verdict, *reason;
};

static inline void edge_case_of(const json_t *obj, struct edge_case *ret)
{
	const json_t *out = json_object_get(obj, "out");

	ret->name = text_of(obj, "name");
	ret->verdict = text_of(obj, "verdict");
	ret->reason = text_of(obj, "reason");
	packet_of(text_of(obj, "in"), &ret->in);
	ret->in.gso_size = 0;
	packet_of(out ? json_string_value(out) : text_of(obj, "in"), &ret->out);
}

/* Of what is sent back only the packet counts: what is behind it is padding, and zero as far as 40 bytes go. */
static inline bool edge_same_packet(const struct packet *got, const struct packet *want)
{
	if (got->len < want->len || memcmp(got->data, want->data, want->len) != 0)
		return false;
	for (uint32_t i = want->len; i < got->len && i < want->len + 37; i++)
		if (got->data[i])
			return false;
	return true;
}

/* The edge, and what comes after it. */
static inline void user_both(struct kk_user *user, const struct packet *in, struct outcome *edge,
			     struct outcome *both)
{
	edge_user_run(user, in, edge);
	if (edge->reason == KK_REASON_MAX)
		user_run(user, KK_INBOUND, in, both);
	else
		*both = *edge;
}

static inline bool edge_same(const struct outcome *theirs, const struct outcome *ours)
{
	if (theirs->reason != ours->reason)
		return false;
	return ours->reason == KK_REASON_SYN_CHALLENGE
		       ? edge_same_packet(&theirs->packet, &ours->packet)
		       : same_packet(&theirs->packet, &ours->packet);
}

static inline void assert_edge_case(const char *world, const char *host, const struct edge_case *c,
				    const struct outcome *got)
{
	bool same = strcmp(c->verdict, "back") == 0 && strcmp(c->reason, "syn_challenge") == 0
			    ? edge_same_packet(&got->packet, &c->out)
			    : same_packet(&got->packet, &c->out);

	if (strcmp(kk_verdict_name(got->verdict), c->verdict) == 0 &&
	    strcmp(edge_reason_name(got->reason), c->reason) == 0 && same)
		return;
	print_packet("in  ", &c->in);
	print_packet("want", &c->out);
	print_packet("got ", &got->packet);
	fail_msg("%s: %s at the %s: want %s (%s), got %s (%s)", world, c->name, host, c->verdict,
		 c->reason, kk_verdict_name(got->verdict), edge_reason_name(got->reason));
}

static inline json_t *load_edge_cases(void)
{
	char path[PATH_MAX];
	json_error_t error;
	json_t *doc;

	packets_path("edge.json", path);
	doc = json_load_file(path, 0, &error);
	if (!doc)
		fail_msg("%s: %s", path, error.text);
	return doc;
}

#endif
