/* SPDX-License-Identifier: MIT */
/* Where on the machine the gateway stands: its public interface and the address that is managed. */
#ifndef KK_GATEWAYD_PLACE_H
#define KK_GATEWAYD_PLACE_H

#include <net/if.h>

#include "gatewayd/options.h"
#include "proto/model.h"
#include "util/address.h"

struct place {
	char public_ifname[IFNAMSIZ];
	int ifindex; /* of it */
	struct in_addr
		address; /* the first that is managed, local to that interface; 0: it never had one */
};

#define PLACE_ADDRESSES_MAX KK_GATEWAY_ADDRESSES_MAX

/*
 * The addresses that are managed, in the order of the tables: those that Control names. Where it does not name
 * place->address it names what a NAT in front has: the first IPv4 address then stands for that.
 */
size_t place_addresses(const struct place *place, const struct kk_self *self,
		       struct kk_address ret[PLACE_ADDRESSES_MAX]);

/* The interface: as asked for, else that of the default route. */
int place_find_interface(const struct options *o, char ifname[IFNAMSIZ], struct kk_err *err);
/* Interface and address, both checked to be there. */
int place_find(const struct options *o, struct place *ret, struct kk_err *err);
/*
 * The same interface again, which may have been made anew or have another address since. An address that is
 * still there stays the managed one.
 */
int place_look_again(const struct options *o, const struct place *old, struct place *ret,
		     struct kk_err *err);

#endif
