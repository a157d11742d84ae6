/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the module keeps for a network namespace. Packets read under RCU, netlink writes under the lock; nothing
 * is registered in a namespace that has no tables.
 */
#ifndef KK_KMOD_NET_H
#define KK_KMOD_NET_H

#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <net/net_namespace.h>

#include "kmod/bans.h"
#include "kmod/events.h"
#include "kmod/flows.h"
#include "kmod/services.h"
#include "kmod/sources.h"
#include "kmod/tables.h"

/* An interface that the tables go by: found by its name again when it was made anew. */
struct kk_place {
	struct net_device __rcu *dev; /* NULL while there is none */
	char name[IFNAMSIZ];
	netdevice_tracker tracker;
	struct nf_hook_ops ingress; /* its dev is NULL: not registered */
};

struct kk_net {
	struct net *net;
	struct mutex lock;		/* of the rest; places: RTNL */
	struct kk_tables __rcu *tables; /* in force; NULL: none, and no hooks */
	struct kk_place place[2];	/* by the direction of packets that come in there */
	struct kk_services services;	/* of tables in force and pending */
	struct kk_bans bans;
	struct kk_flows flows;
	struct kk_sources sources;  /* that limits count */
	struct kk_sources verified; /* that have answered a challenge, of no service */
	struct kk_events events;
	u32 changes;			      /* of tables in force; a dump is not to mix them */
	struct kk_counter __percpu *counters; /* KK_REASON_MAX of them */
	struct {
		struct kk_tables *tables; /* NULL: none was begun */
		u32 ifindex[2];		  /* of the places */
		u32 portid;		  /* of the socket that began it */
	} pending;
};

int kk_net_register(void);
void kk_net_unregister(void);
struct kk_net *kk_net_of(const struct net *net);

/*
 * Under the lock. Puts @tables into force, with packets from the interfaces @ifindex, in place of what was; on
 * failure that stays, and @tables is the caller's.
 */
int kk_net_replace(struct kk_net *kn, struct kk_tables *tables, const u32 ifindex[2],
		   struct netlink_ext_ack *extack);
/* Under the lock. Takes tables and hooks out. */
void kk_net_clear(struct kk_net *kn);
/* Under the lock. Lets go of the set that was begun. */
void kk_net_abort(struct kk_net *kn);

static inline struct kk_tables *kk_net_tables(struct kk_net *kn)
{
	return rcu_dereference_protected(kn->tables, lockdep_is_held(&kn->lock));
}

#endif
