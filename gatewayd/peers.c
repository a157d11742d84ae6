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

static int compare_prefixes(const void *a, const void *b)
{
	const struct kk_prefix *x = a, *y = b;
	int order = kk_address_compare(&x->addr, &y->addr);

	return order ? order : (int)x->len - (int)y->len;
}

static void sort(struct peers *p)
{
	if (p->n_peers)
		qsort(p->peers, p->n_peers, sizeof(*p->peers), compare_peers);
	if (p->n_addresses)
		qsort(p->addresses, p->n_addresses, sizeof(*p->addresses), compare_prefixes);
}

static bool in_pool(const struct kk_prefix4 *pool, const struct kk_prefix4 *subnet)
{
	uint32_t mask = pool->len ? 0xffffffffu << (32 - pool->len) : 0;

	return subnet->len >= pool->len &&
	       !((ntohl(subnet->addr.s_addr) ^ ntohl(pool->addr.s_addr)) & mask);
}

/* Says which two Agents have the same key (@key) or subnet (@key NULL, @address of ours in it). */
static int refuse_twins(const struct kk_config *config, const uint8_t *key, struct in_addr address,
			struct kk_err *err)
{
	const char *names[2] = {"?", "?"};
	size_t n = 0;

	for (size_t i = 0; i < config->n_agents && n < 2; i++) {
		const struct kk_agent *agent = &config->agents[i];
		struct in_addr ours = kk_subnet_host(&agent->subnet, config->self.index);

		if (key ? agent->has_key && memcmp(agent->public_key, key, KK_KEY_LEN) == 0
			: ours.s_addr == address.s_addr)
			names[n++] = agent->name;
	}
	return kk_err_set(err, EEXIST, key ? "public_key" : "subnet",
			  "Agents %s and %s have the same %s", names[0], names[1],
			  key ? "public key" : "subnet");
}

static int check_twins(const struct kk_config *config, const struct peers *p, struct kk_err *err)
{
	for (size_t i = 1; i < p->n_peers; i++)
		if (compare_peers(&p->peers[i - 1], &p->peers[i]) == 0)
			return refuse_twins(config, p->peers[i].public_key, (struct in_addr){0},
					    err);
	for (size_t i = 1; i < p->n_addresses; i++)
		if (compare_prefixes(&p->addresses[i - 1], &p->addresses[i]) == 0)
			return refuse_twins(config, NULL, p->addresses[i].addr.v4, err);
	return 0;
}

/* Ours in the Agent's subnet: of IPv4, and the same behind pool6. */
static void add_addresses(const struct kk_self *self, const struct kk_agent *agent, struct peers *p)
{
	const struct in_addr ours = kk_subnet_host(&agent->subnet, self->index);

	p->addresses[p->n_addresses++] = (struct kk_prefix){.addr = {.family = AF_INET, .v4 = ours},
							    .len = agent->subnet.len};
	if (self->pool6.len)
		p->addresses[p->n_addresses++] = (struct kk_prefix){
			.addr = {.family = AF_INET6, .v6 = kk_pool6_address(&self->pool6, ours)},
			.len = (uint8_t)(self->pool6.len + agent->subnet.len)};
}

static int add_agent(const struct kk_config *config, const struct kk_agent *agent, struct peers *p,
		     struct kk_err *err)
{
	struct wgctl_peer *peer;
	char subnet[INET_ADDRSTRLEN];

	if (!in_pool(&config->self.pool, &agent->subnet))
		return kk_err_set(err, EINVAL, "subnet",
				  "Agent %s has subnet %s/%u, outside the pool", agent->name,
				  inet_ntop(AF_INET, &agent->subnet.addr, subnet, sizeof(subnet)),
				  agent->subnet.len);
	add_addresses(&config->self, agent, p);
	if (!agent->has_key)
		return 0;
	peer = &p->peers[p->n_peers++];
	memcpy(peer->public_key, agent->public_key, KK_KEY_LEN);
	peer->allowed[0] = agent->subnet;
	peer->n_allowed = 1;
	if (config->self.pool6.len)
		peer->allowed6[peer->n_allowed6++] =
			kk_pool6_prefix(&config->self.pool6, &agent->subnet);
	return 0;
}

int peers_wanted(const struct kk_config *config, struct peers *ret, struct kk_err *err)
{
	struct peers p = {
		.port = config->self.wg_port,
		.peers = calloc(config->n_agents + 1, sizeof(*p.peers)),
		.addresses = calloc(2 * config->n_agents + 1, sizeof(*p.addresses)),
	};
	int r = 0;

	if (!p.peers || !p.addresses)
		r = kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < config->n_agents && r == 0; i++)
		r = add_agent(config, &config->agents[i], &p, err);
	sort(&p);
	if (r == 0)
		r = check_twins(config, &p, err);
	if (r < 0)
		peers_clean(&p);
	else
		*ret = p;
	return r;
}

int peers_found(const struct wgctl_device *device, struct kk_prefix *addresses, size_t n_addresses,
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

int peers_copy(const struct peers *from, struct peers *ret)
{
	struct peers p = *from;

	p.peers = calloc(from->n_peers + 1, sizeof(*p.peers));
	p.addresses = calloc(from->n_addresses + 1, sizeof(*p.addresses));
	if (!p.peers || !p.addresses) {
		peers_clean(&p);
		return -ENOMEM;
	}
	if (from->n_peers)
		memcpy(p.peers, from->peers, from->n_peers * sizeof(*p.peers));
	if (from->n_addresses)
		memcpy(p.addresses, from->addresses, from->n_addresses * sizeof(*p.addresses));
	*ret = p;
	return 0;
}

void peers_sort(struct wgctl_device *device)
{
	if (device->n_peers)
		qsort(device->peers, device->n_peers, sizeof(*device->peers), compare_peers);
}

const struct wgctl_peer *peers_lookup(const struct wgctl_device *device,
				      const uint8_t public_key[KK_KEY_LEN])
{
	struct wgctl_peer key = {0};

	memcpy(key.public_key, public_key, KK_KEY_LEN);
	return device->n_peers
		       ? bsearch(&key, device->peers, device->n_peers, sizeof(key), compare_peers)
		       : NULL;
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
	    a->n_allowed6 != b->n_allowed6 || a->allowed_other != b->allowed_other)
		return false;
	for (size_t i = 0; i < a->n_allowed; i++)
		if (a->allowed[i].addr.s_addr != b->allowed[i].addr.s_addr ||
		    a->allowed[i].len != b->allowed[i].len)
			return false;
	for (size_t i = 0; i < a->n_allowed6; i++)
		if (!kk_prefix_equal(&a->allowed6[i], &b->allowed6[i]))
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
				    : compare_prefixes(&from->addresses[i], &to->addresses[j]);

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
