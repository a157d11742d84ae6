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

#include "util/encode.h"
#include "util/err.h"
#include "util/parse.h"

#define KK_TARGET_MAX 264
#define KK_AGENT_HOST 100 /* the Agent is .100 of its /24 */

struct kk_self {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	/* gateway */
	uint8_t index;		/* .g of every Agent's /24 */
	struct in_addr address; /* public */
	uint16_t wg_port;
	struct kk_prefix4 pool;
	/* Agent */
	struct kk_prefix4 subnet;
};

struct kk_gateway {
	int64_t id;
	char name[KK_NAME_MAX + 1];
	uint8_t index;
	struct sockaddr_in endpoint;
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
	uint16_t port, agent_port;  /* host byte order */
	int64_t agent;		    /* id, at a gateway */
	char target[KK_TARGET_MAX]; /* at the Agent, HOST:PORT */
	bool proxy_protocol;	    /* at the Agent */
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
};

void kk_config_clean(struct kk_config *config);
/* Deep copy; -ENOMEM. */
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

/* The address with host part @host (.g or .100) in an Agent's /24. */
struct in_addr kk_subnet_host(const struct kk_prefix4 *subnet, uint8_t host);

#endif
