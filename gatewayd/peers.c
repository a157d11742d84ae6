// SPDX-License-Identifier: MIT
#include "gatewayd/peers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare_peers(const void *a, const void *b)
{
	return memcmp(((const struct wgctl_peer *)a)->public_key,
		      ((const struct wgctl_peer *)b)->public_key, KK_KEY_LEN);
}

static int compare_addresses(const void *a, const void *b)
{
	const struct kk_prefix4 *x = a, *y = b;
	uint32_t ax = ntohl(x->addr.s_addr), ay = ntohl(y->addr.s_addr);

	if (ax != ay)
		return ax < ay ? -1 : 1;
	return (int)x->len - (int)y->len;
}

static void sort(struct peers *p)
{
	if (p->n_peers)
		qsort(p->peers, p->n_peers, sizeof(*p->peers), compare_peers);
	if (p->n_addresses)
		qsort(p->addresses, p->n_addresses, sizeof(*p->addresses), compare_addresses);
}

static int name_twins(const struct kk_config *config, const uint8_t *key, struct kk_err *err)
{
	const char *names[2] = {"?", "?"};
	size_t n = 0;

	for (size_t i = 0; i < config->n_agents && n < 2; i++)
		if (config->agents[i].has_key &&
		    memcmp(config->agents[i].public_key, key, KK_KEY_LEN) == 0)
			names[n++] = config->agents[i].name;
	return kk_err_set(err, EEXIST, "public_key", "Agents %s and %s have the same public key",
			  names[0], names[1]);
}

int peers_wanted(const struct kk_config *config, struct peers *ret, struct kk_err *err)
{
	struct peers p = {.port = config->self.wg_port};
	int r = 0;

	if (config->n_agents) {
		p.peers = calloc(config->n_agents, sizeof(*p.peers));
		p.addresses = calloc(config->n_agents, sizeof(*p.addresses));
		if (!p.peers || !p.addresses) {
			peers_clean(&p);
			return kk_err_set(err, ENOMEM, NULL, "out of memory");
		}
	}
	for (size_t i = 0; i < config->n_agents; i++) {
		const struct kk_agent *agent = &config->agents[i];
		struct wgctl_peer *peer;

		p.addresses[p.n_addresses++] = (struct kk_prefix4){
			.addr = kk_subnet_host(&agent->subnet, config->self.index),
			.len = agent->subnet.len,
		};
		if (!agent->has_key)
			continue;
		peer = &p.peers[p.n_peers++];
		memcpy(peer->public_key, agent->public_key, KK_KEY_LEN);
		peer->allowed[0] = agent->subnet;
		peer->n_allowed = 1;
	}
	sort(&p);
	for (size_t i = 1; i < p.n_peers && r == 0; i++)
		if (compare_peers(&p.peers[i - 1], &p.peers[i]) == 0)
			r = name_twins(config, p.peers[i].public_key, err);
	if (r < 0)
		peers_clean(&p);
	else
		*ret = p;
	return r;
}

int peers_found(const struct wgctl_device *device, struct kk_prefix4 *addresses, size_t n_addresses,
		struct peers *ret, struct kk_err *err)
{
	struct peers p = {
		.port = device->listen_port,
		.addresses = addresses,
		.n_addresses = n_addresses,
	};

	if (device->n_peers) {
		p.peers = calloc(device->n_peers, sizeof(*p.peers));
		if (!p.peers) {
			peers_clean(&p);
			return kk_err_set(err, ENOMEM, NULL, "out of memory");
		}
		memcpy(p.peers, device->peers, device->n_peers * sizeof(*p.peers));
		p.n_peers = device->n_peers;
	}
	sort(&p);
	*ret = p;
	return 0;
}

void peers_clean(struct peers *peers)
{
	free(peers->peers);
	free(peers->addresses);
	*peers = (struct peers){0};
}

/* Endpoints are learnt by the engine and are none of the configuration. */
static bool same_peer(const struct wgctl_peer *a, const struct wgctl_peer *b)
{
	if (a->keepalive != b->keepalive || a->n_allowed != b->n_allowed ||
	    a->allowed_other != b->allowed_other)
		return false;
	for (size_t i = 0; i < a->n_allowed; i++)
		if (compare_addresses(&a->allowed[i], &b->allowed[i]) != 0)
			return false;
	return true;
}

static void compare_peer_lists(const struct peers *from, const struct peers *to,
			       struct peers_change *c)
{
	size_t i = 0, j = 0;

	while (i < from->n_peers || j < to->n_peers) {
		int order = i == from->n_peers ? 1
			    : j == to->n_peers ? -1
					       : compare_peers(&from->peers[i], &to->peers[j]);

		if (order < 0) {
			c->removed[c->n_removed++] = &from->peers[i++];
			continue;
		}
		if (order > 0 || !same_peer(&from->peers[i], &to->peers[j]))
			c->set[c->n_set++] = &to->peers[j];
		i += order == 0;
		j++;
	}
}

static void compare_address_lists(const struct peers *from, const struct peers *to,
				  struct peers_change *c)
{
	size_t i = 0, j = 0;

	while (i < from->n_addresses || j < to->n_addresses) {
		int order = i == from->n_addresses ? 1
			    : j == to->n_addresses
				    ? -1
				    : compare_addresses(&from->addresses[i], &to->addresses[j]);

		if (order < 0)
			c->addresses_removed[c->n_addresses_removed++] = &from->addresses[i++];
		else if (order > 0)
			c->addresses_added[c->n_addresses_added++] = &to->addresses[j++];
		else
			i++, j++;
	}
}

int peers_compare(const struct peers *from, const struct peers *to, struct peers_change *ret)
{
	struct peers_change c = {
		.set = calloc(to->n_peers + 1, sizeof(*c.set)),
		.removed = calloc(from->n_peers + 1, sizeof(*c.removed)),
		.addresses_added = calloc(to->n_addresses + 1, sizeof(*c.addresses_added)),
		.addresses_removed = calloc(from->n_addresses + 1, sizeof(*c.addresses_removed)),
	};

	if (!c.set || !c.removed || !c.addresses_added || !c.addresses_removed) {
		peers_change_clean(&c);
		return -ENOMEM;
	}
	compare_peer_lists(from, to, &c);
	compare_address_lists(from, to, &c);
	*ret = c;
	return 0;
}

void peers_change_clean(struct peers_change *change)
{
	free(change->set);
	free(change->removed);
	free(change->addresses_added);
	free(change->addresses_removed);
	*change = (struct peers_change){0};
}
