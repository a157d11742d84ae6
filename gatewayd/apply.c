// SPDX-License-Identifier: MIT
/* One change of configuration: checked, then tunnel, then tables; taken back in reverse where a step fails. */
#include "gatewayd/gateway.h"

#include <errno.h>
#include <string.h>

#include "gatewayd/tables.h"
#include "util/cleanup.h"
#include "util/log.h"

int gateway_ports(const struct gateway *gw, struct ports *ret, struct kk_err *err)
{
	struct ports ports;
	int r;

	r = ports_read(gw->place.address, gw->place.ifindex, &ports, err);
	if (r < 0)
		return r;
	if (ports_add(&ports, IPPROTO_UDP, gw->tunnel.now.port) < 0) {
		ports_clean(&ports);
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	}
	*ret = ports;
	return 0;
}

static int check_ports(const struct gateway *gw, const struct kk_config *next, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_listener *carried = NULL;
	KK_CLEANUP(ports_clean) struct ports used = {0};
	int n, r;

	n = kk_datapath_list(gw->datapath, &carried, err);
	if (n < 0)
		return n;
	r = ports_read(gw->place.address, gw->place.ifindex, &used, err);
	if (r < 0)
		return r;
	return tables_check_ports(next, carried, (size_t)n, &used, err);
}

static int open_datapath(const struct gateway *gw, const struct kk_prefix4 *pool, uint8_t index,
			 struct kk_datapath **ret, struct kk_err *err)
{
	const struct kk_address address = {.family = AF_INET, .v4 = gw->place.address};
	const struct kk_datapath_config config = {
		.pin_dir = gw->options->pin_dir,
		.public_ifname = gw->place.public_ifname,
		.tunnel_ifname = gw->tunnel.ifname,
		.addresses = &address,
		.n_addresses = 1,
		.pool = *pool,
		.host = index,
	};

	return kk_datapath_open(&config, ret, err);
}

/* The programs hold pool and index as constants: they are loaded anew where these change. */
static int renew_datapath(struct gateway *gw, const struct kk_self *self, struct kk_err *err)
{
	struct kk_datapath *fresh;
	int r;

	if (gw->datapath && gw->index == self->index && gw->pool.len == self->pool.len &&
	    gw->pool.addr.s_addr == self->pool.addr.s_addr)
		return 0;
	r = open_datapath(gw, &self->pool, self->index, &fresh, err);
	if (r < 0)
		return r;
	kk_datapath_close(gw->datapath);
	gw->datapath = fresh;
	gw->pool = self->pool;
	gw->index = self->index;
	kk_info("data plane on %s: %s (%s)", gw->place.public_ifname, kk_datapath_kind(fresh),
		kk_datapath_reason(fresh));
	return 0;
}

int gateway_follow_place(struct gateway *gw, struct kk_err *err)
{
	struct place place, old = gw->place;
	struct kk_datapath *fresh;
	int r;

	r = place_look_again(gw->options, &old, &place, err);
	if (r < 0 || (place.ifindex == old.ifindex && place.address.s_addr == old.address.s_addr))
		return r;
	kk_warn("interface %s %s, and the data plane follows", place.public_ifname,
		place.ifindex == old.ifindex ? "has another address" : "was made anew");
	gw->place = place;
	if (!gw->datapath)
		return 0;
	r = open_datapath(gw, &gw->pool, gw->index, &fresh, err);
	if (r < 0) {
		gw->place = old; /* to be tried again */
		return r;
	}
	kk_datapath_close(gw->datapath);
	gw->datapath = fresh; /* with the tables that were there: they go by port, not by address */
	return 0;
}

static int set_tables(struct gateway *gw, const struct kk_config *config, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_listener *listeners = NULL;
	int r;

	r = tables_listeners(config, gw->place.address, &listeners, err);
	if (r < 0)
		return r;
	return kk_datapath_sync(gw->datapath, listeners, config->n_services, err);
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

/* The way of a change in its order; on failure what was done of it is undone. */
static int change(struct gateway *gw, const struct kk_config *next, struct kk_err *err)
{
	KK_CLEANUP(peers_clean) struct peers before = {0};
	int r;

	r = check_ports(gw, next, err);
	if (r == 0 && peers_copy(&gw->tunnel.now, &before) < 0)
		r = kk_err_set(err, ENOMEM, NULL, "out of memory");
	if (r == 0)
		r = set_tunnel(gw, next, err);
	if (r < 0)
		return r;
	r = set_tables(gw, next, err);
	if (r < 0)
		undo_tunnel(gw, &before);
	return r;
}

int gateway_apply(const struct kk_config *old, const struct kk_config *next, void *userdata,
		  struct kk_err *err)
{
	struct gateway *gw = userdata;
	int r;

	/* The programs first: they shut Agents in before there are any. */
	r = renew_datapath(gw, &next->self, err);
	if (r < 0)
		return r;
	r = change(gw, next, err);
	if (r < 0) {
		undo_datapath(gw, &old->self);
		return r;
	}
	kk_info("generation %lld is in force: %zu agents, %zu services",
		(long long)next->generation, next->n_agents, next->n_services);
	return 0;
}
