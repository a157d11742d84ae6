// SPDX-License-Identifier: MIT
/* One change of configuration: checked, then tunnel, then tables; taken back in reverse where a step fails. */
#include "gatewayd/gateway.h"

#include <errno.h>
#include <string.h>

#include "gatewayd/part.h"
#include "gatewayd/tables.h"
#include "util/cleanup.h"
#include "util/log.h"

int gateway_ports(const struct gateway *gw, struct ports *ret, struct kk_err *err)
{
	struct ports ports;
	int r;

	r = ports_read(gw->place.address, gw->addresses, gw->n_addresses, gw->place.ifindex, &ports,
		       err);
	if (r < 0)
		return r;
	if (ports_add(&ports, IPPROTO_UDP, gw->tunnel.now.port) < 0) {
		ports_clean(&ports);
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	}
	*ret = ports;
	return 0;
}

static bool carries(uint8_t protocol, uint16_t port, void *userdata)
{
	return kk_datapath_publishes(userdata, protocol, port);
}

/* @part, or with NULL all of @next. */
static int check_ports(const struct gateway *gw, const struct part *part,
		       const struct kk_config *next, struct kk_err *err)
{
	KK_CLEANUP(ports_clean) struct ports used = {0};
	struct kk_datapath *dp = kk_plane_bpf(gw->plane);
	int r;

	if (part && !tables_has_new_port(&part->next, carries, dp))
		return 0;
	r = ports_read(gw->place.address, gw->addresses, gw->n_addresses, gw->place.ifindex, &used,
		       err);
	return r < 0 ? r : tables_check_ports(part ? &part->next : next, &used, carries, dp, err);
}

/* @addresses as place_addresses() has them. */
static int open_datapath(const struct gateway *gw, const struct kk_self *self,
			 const struct kk_address *addresses, size_t n_addresses,
			 struct kk_plane **ret, struct kk_err *err)
{
	struct kk_datapath_config config = {
		.pin_dir = gw->options->pin_dir,
		.public_ifname = gw->place.public_ifname,
		.tunnel_ifname = gw->tunnel.ifname,
		.addresses = addresses,
		.n_addresses = n_addresses,
		.pool = self->pool,
		.pool6 = self->pool6.addr.v6,
		.host = self->index,
		.edge = gw->options->edge,
	};

	_Static_assert(sizeof(config.flow_key) == KK_FLOW_KEY_LEN, "one key");
	memcpy(config.flow_key, self->flow_key, sizeof(config.flow_key));
	return kk_plane_open(&config, gw->options->datapath_host, ret, err);
}

static bool same_addresses(const struct gateway *gw, const struct kk_address *addresses, size_t n)
{
	for (size_t i = 0; i < n && n == gw->n_addresses; i++)
		if (!kk_address_equal(&gw->addresses[i], &addresses[i]))
			return false;
	return n == gw->n_addresses;
}

static bool same_constants(const struct kk_self *a, const struct kk_self *b)
{
	return a->index == b->index && a->pool.len == b->pool.len &&
	       a->pool.addr.s_addr == b->pool.addr.s_addr &&
	       kk_prefix_equal(&a->pool6, &b->pool6) &&
	       memcmp(a->flow_key, b->flow_key, sizeof(a->flow_key)) == 0;
}

/* An IPv6 address is managed only where Agents have one, too. */
static size_t managed(const struct gateway *gw, const struct kk_self *self,
		      struct kk_address ret[PLACE_ADDRESSES_MAX])
{
	size_t all = place_addresses(&gw->place, self, ret), n = 0;

	for (size_t i = 0; i < all; i++)
		if (ret[i].family == AF_INET || self->pool6.len)
			ret[n++] = ret[i];
	return n;
}

/* The programs hold addresses, pools and index as constants: they are loaded anew where these change. */
static int renew_datapath(struct gateway *gw, const struct kk_self *self, struct kk_err *err)
{
	struct kk_address addresses[PLACE_ADDRESSES_MAX];
	size_t n = managed(gw, self, addresses);
	struct kk_plane *fresh;
	int r;

	if (gw->plane && same_constants(&gw->self, self) && same_addresses(gw, addresses, n))
		return 0;
	r = open_datapath(gw, self, addresses, n, &fresh, err);
	if (r < 0)
		return r;
	kk_plane_close(gw->plane);
	gw->plane = fresh;
	gw->in_step = false;
	gw->self = *self;
	memcpy(gw->addresses, addresses, n * sizeof(*addresses));
	gw->n_addresses = n;
	kk_info("data plane on %s: %s (%s)", gw->place.public_ifname, kk_plane_kind(fresh),
		kk_plane_reason(fresh));
	return 0;
}

int gateway_follow_place(struct gateway *gw, struct kk_err *err)
{
	struct place place, old = gw->place;
	struct kk_address addresses[PLACE_ADDRESSES_MAX];
	struct kk_plane *fresh;
	size_t n;
	int r;

	r = place_look_again(gw->options, &old, &place, err);
	if (r < 0)
		return r;
	if (place.ifindex != old.ifindex || place.address.s_addr != old.address.s_addr)
		kk_warn("interface %s %s, and the data plane follows", place.public_ifname,
			place.ifindex == old.ifindex ? "has another address" : "was made anew");
	else if (gw->plane && !kk_plane_fits(gw->plane))
		kk_warn("tunnel %s has another MTU, and the data plane follows", gw->tunnel.ifname);
	else
		return 0;
	gw->place = place;
	if (!gw->plane)
		return 0;
	n = managed(gw, &gw->self, addresses);
	r = open_datapath(gw, &gw->self, addresses, n, &fresh, err);
	if (r < 0) {
		gw->place = old; /* to be tried again */
		return r;
	}
	kk_plane_close(gw->plane);
	memcpy(gw->addresses, addresses, n * sizeof(*addresses));
	gw->n_addresses = n;
	gw->in_step = false;
	gw->plane = fresh; /* with the tables that were there: they go by port, not by address */
	return gateway_set_again(gw, err);
}

static bool is_healthy(int64_t service, int64_t agent, void *userdata)
{
	struct gateway *gw = userdata;

	return health_ok(&gw->health, agent) && probe_ok(&gw->probe, service, agent);
}

static struct tables_place place_of(struct gateway *gw)
{
	return (struct tables_place){gw->addresses, gw->n_addresses, is_healthy, gw};
}

static int set_tables(struct gateway *gw, const struct kk_config *config, struct kk_err *err)
{
	KK_CLEANUP(tables_clean) struct tables tables = {0};
	const struct tables_place place = place_of(gw);
	int r;

	r = tables_make(config, &place, &tables, err);
	if (r == 0)
		r = kk_plane_set(gw->plane, &tables.all, err);
	if (r < 0)
		return r;
	gw->in_step = true;
	return tables_set_bans(kk_plane_bpf(gw->plane), config, err);
}

static int amend_tables(struct gateway *gw, const struct part *part, struct kk_err *err)
{
	KK_CLEANUP(tables_clean) struct tables from = {0};
	KK_CLEANUP(tables_clean) struct tables to = {0};
	const struct tables_place place = place_of(gw);
	int r;

	r = tables_make(&part->old, &place, &from, err);
	if (r == 0)
		r = tables_make(&part->next, &place, &to, err);
	return r < 0 ? r : kk_plane_amend(gw->plane, &from.all, &to.all, err);
}

/* What cannot be done by its part is done by the whole, or refused by it. */
static int change_tables(struct gateway *gw, const struct part *part, const struct kk_config *next,
			 struct kk_err *err)
{
	struct kk_err why = {0};

	if (!part)
		return set_tables(gw, next, err);
	if (amend_tables(gw, part, &why) < 0) {
		kk_debug("the whole tables are set: %s", why.msg);
		return set_tables(gw, next, err);
	}
	return part->bans ? tables_set_bans(kk_plane_bpf(gw->plane), next, err) : 0;
}

int gateway_set_again(struct gateway *gw, struct kk_err *err)
{
	const struct kk_config *config = kk_link_config(gw->link);

	return gw->plane && config->generation ? set_tables(gw, config, err) : 0;
}

void gateway_follow_health(void *userdata)
{
	struct gateway *gw = userdata;
	const struct kk_config *config = kk_link_config(gw->link);
	const struct tables_place place = place_of(gw);

	for (size_t i = 0; gw->plane && i < config->n_services; i++) {
		const struct kk_service *service = &config->services[i];
		struct kk_member members[KK_MEMBERS_MAX];
		const struct kk_group group = {.id = (uint32_t)service->id,
					       .members = members,
					       .n_members = service->n_agents};
		struct kk_err err = {0};

		if (service->n_agents < 2)
			continue;
		tables_members(config, service, &place, members);
		/* One that is published on no address here has none. */
		if (kk_plane_set_group(gw->plane, &group, &err) < 0 && err.code != ENOENT)
			kk_error("service %s: %s", service->name, err.msg);
	}
	kk_link_report(gw->link);
}

static int set_tunnel(struct gateway *gw, const struct kk_config *config, struct kk_err *err)
{
	KK_CLEANUP(peers_clean) struct peers wanted = {0};
	int r;

	r = peers_wanted(config, &wanted, err);
	if (r < 0)
		return r;
	return tunnel_set(&gw->tunnel, &wanted, err);
}

static void undo_datapath(struct gateway *gw, const struct kk_self *old)
{
	struct kk_err err = {0};

	if (old->pool.len && renew_datapath(gw, old, &err) < 0)
		kk_error("the data plane could not be put back as it was: %s", err.msg);
}

static void undo_tunnel(struct gateway *gw, const struct peers *before)
{
	struct kk_err err = {0};

	if (tunnel_set(&gw->tunnel, before, &err) < 0)
		kk_error("the tunnel could not be put back as it was: %s", err.msg);
}

static void undo_tables(struct gateway *gw, const struct kk_config *old)
{
	struct kk_err err = {0};

	if (!old->generation || set_tables(gw, old, &err) == 0)
		return;
	gw->in_step = false;
	kk_error("the tables could not be put back as they were: %s", err.msg);
}

/* @part as for change_tables(): what it has not got is as it was. */
static int change_peers(struct gateway *gw, const struct part *part, const struct kk_config *next,
			struct peers *before, struct kk_err *err)
{
	if (part && !part->agents)
		return 0;
	if (peers_copy(&gw->tunnel.now, before) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	return set_tunnel(gw, next, err);
}

static int change_watches(struct gateway *gw, const struct part *part, const struct kk_config *next,
			  struct kk_err *err)
{
	int r;

	if (part && !part->agents && !part->groups)
		return 0;
	r = health_set(&gw->health, next, err);
	return r < 0 ? r : probe_set(&gw->probe, next, err);
}

/* The way of a change in its order; on failure what was done of it is undone. */
static int change(struct gateway *gw, const struct part *part, const struct kk_config *old,
		  const struct kk_config *next, struct kk_err *err)
{
	KK_CLEANUP(peers_clean) struct peers before = {0};
	int r;

	r = check_ports(gw, part, next, err);
	if (r == 0)
		r = change_peers(gw, part, next, &before, err);
	if (r < 0)
		return r;
	r = change_tables(gw, part, next, err);
	if (r == 0)
		r = change_watches(gw, part, next, err);
	if (r < 0) {
		undo_tables(gw, old);
		if (before.peers)
			undo_tunnel(gw, &before);
	}
	return r;
}

int gateway_apply(const struct kk_config *old, const struct kk_config *next, void *userdata,
		  struct kk_err *err)
{
	KK_CLEANUP(part_clean) struct part part = {0};
	struct gateway *gw = userdata;
	int r, is_part = 0;

	/* The programs first: they shut Agents in before there are any. */
	r = renew_datapath(gw, &next->self, err);
	if (r < 0)
		return r;
	if (gw->in_step)
		is_part = part_make(old, next, &part);
	r = is_part < 0 ? kk_err_set(err, ENOMEM, NULL, "out of memory")
			: change(gw, is_part ? &part : NULL, old, next, err);
	if (r < 0) {
		undo_datapath(gw, &old->self);
		return r;
	}
	kk_info("generation %lld is in force: %zu agents, %zu services",
		(long long)next->generation, next->n_agents, next->n_services);
	return 0;
}
