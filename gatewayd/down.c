// SPDX-License-Identifier: MIT
#include "gatewayd/gateway.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "net/net.h"
#include "util/cleanup.h"
#include "util/log.h"

/*
 * The tunnel, if there is one. Only what is in this namespace: an engine of the same name elsewhere is another
 * gateway's.
 */
static int find_tunnel(const struct options *o, struct wgctl **ret, struct kk_err *err)
{
	if (kk_net_ifindex(o->tunnel_interface) < 0) {
		kk_info("there is no interface %s", o->tunnel_interface);
		return 0;
	}
	return wgctl_adopt(o->tunnel_interface, ret, err);
}

/* Programs are not there without them. Those of another version are pinned there, too. */
static bool has_tables(const struct options *o)
{
	return access(o->pin_dir, F_OK) == 0;
}

int gateway_down(const struct options *o, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int lock = gateway_lock(o->state, false, err);
	KK_CLEANUP(wgctl_closep) struct wgctl *wg = NULL;
	char public_ifname[IFNAMSIZ];
	bool was_there;
	int r;

	/* A daemon that runs would make it all anew. */
	if (lock < 0 && lock != -ENOENT)
		return lock;
	r = place_find_interface(o, public_ifname, err);
	if (r == 0)
		r = find_tunnel(o, &wg, err);
	if (r < 0)
		return r;
	was_there = has_tables(o);
	r = kk_plane_remove(o->pin_dir, public_ifname, o->tunnel_interface, err);
	if (r < 0)
		return r;
	if (was_there)
		kk_info("programs and tables are removed from %s", public_ifname);
	else
		kk_info("there are no tables in %s", o->pin_dir);
	if (!wg)
		return 0;
	r = wgctl_destroy(wg, err);
	if (r == 0)
		kk_info("tunnel %s is down", o->tunnel_interface);
	return r;
}
