/* SPDX-License-Identifier: MIT */
/*
 * What Control tells a node, as structs: the whole of it (struct kk_config) and the change from one
 * generation to the next (doc/protocol.md). Gateways and Agents use the same structs; lists that do
 * not concern a role are empty.
 */
#ifndef KK_PROTO_MODEL_H
#define KK_PROTO_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#include <jansson.h>

#include "util/address.h"
#include "util/encode.h"
#include "util/err.h"
#include "util/parse.h"

#define KK_TARGET_MAX		 264
#define KK_AGENT_HOST		 100  /* the Agent is .100 of its /24 */
#define KK_MEMBERS_MAX		 16   /* Agents behind one service */
#define KK_RANGE_MAX		 4096 /* ports of one: each is a socket or two at its Agents */
#define KK_GATEWAY_ADDRESSES_MAX 16   /* of a gateway, of both families together; 8 of one */
#define KK_FLOW_KEY_LEN		 16
/*
 * What a node says in its hello that it understands: 1 are single ports of one Agent on a gateway's first IPv4
 * address; 2 port ranges, addresses of both families, several Agents, rules, limits, bans and draining; 3 services of
 * plain WireGuard peers.
 */
#define KK_MODEL 3

struct kk_self {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	/*
	 * The /96 behind which an address of the pool is an IPv6 address; of length 0 where Control speaks no IPv6.
	 */
	struct kk_prefix pool6;
	/* gateway */
	uint8_t index; /* .g of every Agent's /24 */
	/* Public: the first of a family is where a service without an address of its own is published. */
	struct kk_address addresses[KK_GATEWAY_ADDRESSES_MAX];
	size_t n_addresses;
	uint16_t wg_port;
	struct kk_prefix4 pool;
	uint8_t flow_key[KK_FLOW_KEY_LEN]; /* of the hash that chooses among several Agents */
	/* Agent */
	struct kk_prefix4 subnet;
};

struct kk_gateway {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	uint8_t index;
	union kk_sockaddr endpoint;
	bool has_key; /* false until it has joined and said hello */
	uint8_t public_key[KK_KEY_LEN];
};

struct kk_agent {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	struct kk_prefix4 subnet;
	bool has_key;
	uint8_t public_key[KK_KEY_LEN];
};

struct kk_service {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	uint8_t protocol;	    /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t port, last_port;   /* host byte order; one port twice, or a range */
	uint16_t agent_port;	    /* the first of as many */
	bool draining;		    /* nothing new is let in */
	bool proxy_protocol;	    /* at the Agent */
	bool shared;		    /* at the Agent: others serve it, too */
	bool snat;		    /* at a gateway: the Agent is a plain WireGuard peer */
	char target[KK_TARGET_MAX]; /* at the Agent, HOST:PORT or HOST:FIRST-LAST */
	/* at a gateway */
	int64_t agents[KK_MEMBERS_MAX]; /* ids, in order */
	size_t n_agents;
	struct kk_address address;		   /* none: the first of each family */
	uint32_t limit_packets, limit_connections; /* a second of one source; 0: no limit */
};

/* At a gateway: a prefix that a service lets in or does not, the longest one counts; or that none lets in. */
struct kk_filter {
	int64_t id;
	int64_t service; /* id; 0: all, and it is denied */
	struct kk_prefix prefix;
	bool allow;
};

/* At a gateway: an address that is shut out. */
struct kk_banned {
	int64_t id;
	int64_t service; /* id; 0: all */
	struct kk_address address;
	int64_t until; /* CLOCK_MONOTONIC, ns; INT64_MAX: for ever */
};

/* Ids that a delta named, to be put or removed, in order. */
struct kk_named {
	int64_t *ids;
	size_t n;
};

struct kk_config {
	char epoch[40]; /* "" before the first snapshot */
	int64_t generation;
	struct kk_self self;
	struct kk_gateway *gateways; /* each list sorted by id */
	size_t n_gateways;
	struct kk_agent *agents;
	size_t n_agents;
	struct kk_service *services;
	size_t n_services;
	struct kk_filter *rules; /* a service's rules and bans go with it */
	size_t n_rules;
	struct kk_banned *bans;
	size_t n_bans;
	/*
	 * What the one delta named that led here from the configuration before: the rest of the lists is as there, but for
	 * rules and bans that went with their services. Not @by_delta: anything may be another.
	 */
	struct {
		bool by_delta, self;
		struct kk_named gateways, agents, services, rules, bans;
	} named;
};

void kk_config_clean(struct kk_config *config);
/* Deep copy, but for what a delta named; -ENOMEM. */
int kk_config_copy(const struct kk_config *from, struct kk_config *ret);

/*
 * Makes the configuration that message @msg (a snapshot or a delta) leads to from @old, in *@ret; @old is
 * untouched. -ESTALE: a delta that does not start at @old's generation or epoch. -EINVAL: @err says what
 * is wrong with it.
 */
int kk_config_next(const struct kk_config *old, const json_t *msg, struct kk_config *ret,
		   struct kk_err *err);

const struct kk_gateway *kk_config_gateway(const struct kk_config *config, int64_t id);
const struct kk_agent *kk_config_agent(const struct kk_config *config, int64_t id);
const struct kk_service *kk_config_service(const struct kk_config *config, int64_t id);

/* The 2001:db8::10.1.0.100 of 10.1.0.100 with the prefix 2001:db8::/96. */
struct in6_addr kk_pool6_address(const struct kk_prefix *pool6, struct in_addr address);
/* The IPv6 prefix of an Agent's subnet behind @pool6. */
struct kk_prefix kk_pool6_prefix(const struct kk_prefix *pool6, const struct kk_prefix4 *subnet);
/* The address with host part @host (.g or .100) in an Agent's /24. */
struct in_addr kk_subnet_host(const struct kk_prefix4 *subnet, uint8_t host);

#endif
