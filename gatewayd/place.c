// SPDX-License-Identifier: MIT
#include "gatewayd/place.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "net/net.h"
#include "util/cleanup.h"

int place_find_interface(const struct options *o, char ifname[IFNAMSIZ], struct kk_err *err)
{
	struct kk_err inner = {0};
	int r;

	if (o->public_interface) {
		strcpy(ifname, o->public_interface);
		return 0;
	}
	r = kk_net_default_ifname(ifname, &inner);
	if (r < 0)
		return kk_err_set(err, -r, "public-interface",
				  "%s: name the interface by --public-interface", inner.msg);
	return 0;
}

static bool has(const struct kk_prefix4 *list, int n, struct in_addr address)
{
	for (int i = 0; i < n; i++)
		if (list[i].addr.s_addr == address.s_addr)
			return true;
	return false;
}

/* Fills in what @place->public_ifname has; @place->address is kept where it can be. */
static int look(const struct options *o, struct place *place, struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_prefix4 *list = NULL;
	int n;

	place->ifindex = kk_net_ifindex(place->public_ifname);
	n = kk_net_addr_list(place->public_ifname, &list, err);
	if (n < 0)
		return n;
	if (o->address && !has(list, n, o->managed))
		return kk_err_set(err, EADDRNOTAVAIL, "address",
				  "interface %s does not have the address %s", place->public_ifname,
				  o->address);
	if (o->address)
		place->address = o->managed;
	else if (n && !has(list, n, place->address))
		place->address = list[0].addr;
	return 0;
}

int place_find(const struct options *o, struct place *ret, struct kk_err *err)
{
	struct place place = {0};
	int r;

	r = place_find_interface(o, place.public_ifname, err);
	if (r < 0)
		return r;
	if (strcmp(place.public_ifname, o->tunnel_interface) == 0)
		return kk_err_set(err, EINVAL, "tunnel-interface",
				  "%s cannot be public and tunnel interface at once",
				  place.public_ifname);
	r = look(o, &place, err);
	if (r == 0)
		*ret = place;
	return r;
}

int place_look_again(const struct options *o, const struct place *old, struct place *ret,
		     struct kk_err *err)
{
	struct place place = *old;
	int r;

	r = look(o, &place, err);
	if (r == 0)
		*ret = place;
	return r;
}

size_t place_addresses(const struct place *place, const struct kk_self *self,
		       struct kk_address ret[PLACE_ADDRESSES_MAX])
{
	const struct kk_address local = {.family = AF_INET, .v4 = place->address};
	bool named = !place->address.s_addr;
	size_t first4 = self->n_addresses;

	for (size_t i = 0; i < self->n_addresses; i++) {
		ret[i] = self->addresses[i];
		if (ret[i].family != AF_INET)
			continue;
		named |= kk_address_equal(&ret[i], &local);
		if (first4 == self->n_addresses)
			first4 = i;
	}
	if (!named && first4 < self->n_addresses)
		ret[first4] = local;
	return self->n_addresses;
}
