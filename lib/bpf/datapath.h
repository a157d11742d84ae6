/* SPDX-License-Identifier: MIT */
/*
 * The gateway's data plane in eBPF (bpf/kk_tc.bpf.c), seen from kkgatewayd and kkctl: tables in
 * pinned maps, programs on two interfaces. All of it outlives the process: _open adopts what is
 * there. Addresses are in network byte order, ports in host byte order.
 */
#ifndef KK_BPF_DATAPATH_H
#define KK_BPF_DATAPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#include "util/address.h"
#include "util/err.h"
#include "util/parse.h"

struct kk_datapath;
struct kk_settings; /* kk/core/types.h */

/* One published port (design: section 3): public address and port <-> Agent address and port. */
struct kk_listener {
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	struct kk_address address;
	uint16_t port;
	/* Of IPv6 too: the prefix before it is kk_datapath_config.pool6. */
	struct in_addr agent_address;
	uint16_t agent_port;
	uint32_t service; /* id, for counters */
	uint32_t group;	  /* id of the group whose members stand in for agent_address; 0: none */
	bool snat;	  /* a plain WireGuard peer: it sees the gateway in the client's place */
	/*
	 * TCP connections that stand may go on, nothing new begins. Of UDP it cannot be told what
	 * stands, but with snat: without such a listener is as if it were not there.
	 */
	bool draining;
};

/* Agents that one service is published on; each flow goes to one of them. */
struct kk_member {
	struct in_addr address;
	bool healthy; /* gets flows; where none is healthy, all do */
};

struct kk_group {
	uint32_t id; /* any but 0 */
	const struct kk_member *members;
	size_t n_members; /* 1 to 128 */
};

/* For each source (of IPv6 each /64). */
struct kk_limit {
	uint32_t rate;	/* a second, 1 to KK_RATE_MAX; 0: no limit */
	uint32_t burst; /* at once, 1 to KK_BURST_MAX */
};

#define KK_RATE_MAX  10000000
#define KK_BURST_MAX 1000000

/* What a service asks of its clients. */
struct kk_guard {
	uint32_t service; /* id */
	uint32_t list;	  /* id of one; 0: none */
	bool deny_others; /* whom the list does not name */
	struct kk_limit packets;
	struct kk_limit connections; /* that begin: segments with SYN, of TCP alone */
	uint32_t
		syn_rate; /* SYNs a second from which on sources prove themselves; 0: the gateway's */
};

/* The longest prefix that a source is in decides. */
struct kk_rule {
	struct kk_prefix prefix;
	bool allow;
};

struct kk_list {
	uint32_t id; /* 0: of the whole gateway, denies alone and whatever a service says */
	const struct kk_rule *rules;
	size_t n_rules;
};

/* What the tables hold. Whoever asks for them to be changed keeps the arrays. */
struct kk_datapath_tables {
	const struct kk_listener *listeners;
	size_t n_listeners;
	const struct kk_group *groups;
	size_t n_groups;
	const struct kk_guard *guards;
	size_t n_guards;
	const struct kk_list *lists;
	size_t n_lists;
};

/* Modes of XDP: what is asked for, and what there is. */
enum kk_xdp_mode {
	KK_XDP_OFF,
	KK_XDP_AUTO, /* the best that the interface gives; on a veth generic, the reason says why */
	KK_XDP_GENERIC,
	KK_XDP_NATIVE,
	KK_XDP_OFFLOAD, /* is found, not asked for */
};

/* What is done before packets are forwarded: by XDP on the public interface, and where that cannot be at tc. */
struct kk_edge_config {
	enum kk_xdp_mode xdp;
	/* New connections and datagrams to ports of the managed addresses that nobody serves are dropped. */
	bool closed_ports;
	/*
	 * SYNs a second to one service beyond which new sources have to prove themselves first, unless the
	 * service has a rate of its own; 0: never.
	 */
	uint32_t syn_rate;
};

struct kk_datapath_config {
	const char *pin_dir;	   /* below a bpffs; the one at /sys/fs/bpf is mounted if need be */
	const char *public_ifname; /* programs are attached to its tc ingress ... */
	const char *tunnel_ifname; /* ... and to this one's, whose MTU is taken as it is now */
	/*
	 * The public addresses that are managed, each once, up to 8 of each family, in an order that
	 * stays: tables go by the place that an address has among those of its family, so that where one
	 * takes another's place, what is published there goes over to it.
	 */
	const struct kk_address *addresses;
	size_t n_addresses;
	struct kk_prefix4 pool; /* Agents': never reachable from outside, nor from each other */
	/*
	 * A /96 (its last 4 bytes zero): Agents' IPv6 addresses are this and their IPv4 address. All zero:
	 * none, and then no IPv6 address is managed.
	 */
	struct in6_addr pool6;
	/* The gateway is .host of every Agent's /24; 0: Agents reach no address of it at all. */
	uint8_t host;
	/* Of the hash that picks a group's member: secret, and the same on every gateway. */
	uint8_t flow_key[16];
	struct kk_edge_config edge;
	bool standby; /* begins as after kk_datapath_forward(dp, false) */
};

/*
 * Opens or adopts the maps, loads the programs and attaches them (atomically replacing an older
 * version's). Tables that are there stay in force throughout; if they are another version's, that
 * version's programs go on with them until the first kk_datapath_sync() has filled new ones. The
 * public interface is an Ethernet device, the tunnel a layer-3 one. Returns 0 or a negative errno
 * with @err.
 */
int kk_datapath_open(const struct kk_datapath_config *config, struct kk_datapath **ret,
		     struct kk_err *err);
/*
 * Opens the tables that are pinned in @pin_dir, to be read only: nothing is loaded, attached or
 * changed, and kk_datapath_sync() answers -EROFS. -ENOENT: no tables of this version are there.
 */
int kk_datapath_open_readonly(const char *pin_dir, struct kk_datapath **ret, struct kk_err *err);
/*
 * Whether the programs are still loaded for what is there: false once an interface was made anew or the
 * tunnel has another MTU, which they hold as constants. One that is away changes nothing.
 */
bool kk_datapath_fits(const struct kk_datapath *dp);
/*
 * Whether packets are forwarded here. If not, because the kernel module does it, the edge is still here, and what it lets
 * on goes to the module behind; tables are kept all the same, so that this may change at any time.
 */
void kk_datapath_forward(struct kk_datapath *dp, bool here);
/* What the programs are loaded for; from tables that were opened to be read, the settings alone. */
void kk_datapath_settings(const struct kk_datapath *dp, struct kk_settings *ret,
			  uint32_t *ret_public_ifindex, uint32_t *ret_tunnel_ifindex);
/* Lets go; maps stay pinned and programs attached. */
void kk_datapath_close(struct kk_datapath *dp);
/* Detaches the programs and removes the pins of @pin_dir: the end of a gateway on this machine. */
int kk_datapath_remove(const char *pin_dir, const char *public_ifname, const char *tunnel_ifname,
		       struct kk_err *err);

/*
 * Brings the tables from what they hold to exactly @wanted, touching only entries that differ; on
 * failure everything is put back. -EEXIST: two listeners claim the same public or Agent port (@err
 * names the port), two groups, guards or lists have one id. -EINVAL: an address that is not managed or
 * not in the pool, a port 0, a limit or prefix that cannot be. -ENOENT: a group or list that is named
 * and not there, a guard of a service without listeners. -ENOSPC: more than the tables hold. A
 * service on several addresses is a listener on each, with the same Agent port on one address of each
 * family at most. Packets meet each listener either as it was or as it shall be, and what stays the
 * same is not touched: none of its packets is lost.
 */
int kk_datapath_set(struct kk_datapath *dp, const struct kk_datapath_tables *wanted,
		    struct kk_err *err);
/*
 * The same change of a part, at the cost of that part: what @from has is in the tables and goes, what @to has comes, and what both
 * have stays. A service, a group or a list that either side names it names wholly, with all listeners, members and rules that
 * there are or shall be, and a guard with its service; of list 0 only the rules that come or go, and none comes that is there.
 * Errors as above; -ESTALE: the tables are not as @from says, or programs of another version are in force: set the
 * whole. So -ESTALE, like every error, leaves all as it was.
 */
int kk_datapath_amend(struct kk_datapath *dp, const struct kk_datapath_tables *from,
		      const struct kk_datapath_tables *to, struct kk_err *err);
/* kk_datapath_set() with listeners alone. */
int kk_datapath_sync(struct kk_datapath *dp, const struct kk_listener *listeners, size_t n,
		     struct kk_err *err);
/*
 * Of a group in the tables which members are healthy; the members are those that it was set with. Flows of
 * the others stay where they are. -ENOENT: there is no such group.
 */
int kk_datapath_set_group(struct kk_datapath *dp, const struct kk_group *group, struct kk_err *err);

/* A source (of IPv6 its /64) that is kept out. */
struct kk_ban_entry {
	struct kk_address source;
	uint32_t service; /* id; 0: of all services */
	uint32_t seconds; /* that are left; 0: for good */
};

/*
 * Adds bans or sets them anew, all or none. They are no part of kk_datapath_set(): each stays until it ends or
 * is lifted. -EINVAL: no host's address. -ENOSPC.
 */
int kk_datapath_ban(struct kk_datapath *dp, const struct kk_ban_entry *bans, size_t n,
		    struct kk_err *err);
/* -ENOENT: @source is not banned from @service (0: from all of them). */
int kk_datapath_unban(struct kk_datapath *dp, const struct kk_address *source, uint32_t service,
		      struct kk_err *err);
/*
 * The bans in force; *@ret is freed by the caller. Those that have ended are taken out of the table, unless it
 * was opened to be read: call it now and then. Count or errno.
 */
int kk_datapath_bans(struct kk_datapath *dp, struct kk_ban_entry **ret, struct kk_err *err);

/*
 * Reads everything back, from the tables: of groups the members that get flows, rates as they are kept.
 * *@ret is freed with kk_datapath_tables_free().
 */
int kk_datapath_read(struct kk_datapath *dp, struct kk_datapath_tables **ret, struct kk_err *err);
void kk_datapath_tables_free(struct kk_datapath_tables *tables);

/*
 * Reads the tables back (not the caller's memory of them). *@ret is freed by the caller. Count or
 * errno.
 */
int kk_datapath_list(struct kk_datapath *dp, struct kk_listener **ret, struct kk_err *err);

/* Whether a port is published on any address, as the tables have it. @protocol is IPPROTO_TCP or IPPROTO_UDP. */
bool kk_datapath_publishes(const struct kk_datapath *dp, uint8_t protocol, uint16_t port);

struct kk_datapath_counter {
	const char *name;	 /* static: a reason as the core names it */
	const char *verdict;	 /* static: "pass" (to the stack), "tunnel", "nic" or "drop" */
	uint64_t packets, bytes; /* summed over CPUs; bytes from the network header on */
};

/* All counters, in the order of the core's table. *@ret is freed by the caller. Count or errno. */
int kk_datapath_counters(struct kk_datapath *dp, struct kk_datapath_counter **ret,
			 struct kk_err *err);

struct kk_datapath_service {
	uint32_t service;	       /* id */
	uint64_t in_packets, in_bytes; /* to the Agent, since the service was first in the tables */
	uint64_t out_packets, out_bytes; /* to its clients */
};

/* Traffic of every service in the tables. *@ret is freed by the caller. Count or errno. */
int kk_datapath_services(struct kk_datapath *dp, struct kk_datapath_service **ret,
			 struct kk_err *err);

/* One end of a relayed session (doc/forwarding.md): a node, and the port of the gateway that it sends to. */
struct kk_relay_end {
	struct kk_address address;
	uint16_t port; /* that the node sends from */
	uint16_t at;   /* no published one, or nothing comes to be relayed */
};

struct kk_relay_session {
	struct kk_relay_end end[2];
	uint32_t seconds; /* until it ends by itself, at least 1 */
};

/*
 * Enters a session, or renews one: what is known of its ends stays. -EINVAL: an address that is no host's, ends of
 * two families, a port 0. -ENOSPC: there are as many as the table holds. Sessions are no part of
 * kk_datapath_set().
 */
int kk_datapath_relay(struct kk_datapath *dp, const struct kk_relay_session *session,
		      struct kk_err *err);
/* Ends one now. -ENOENT: it is not there. */
int kk_datapath_unrelay(struct kk_datapath *dp, const struct kk_relay_session *session,
			struct kk_err *err);

#define KK_XDP_REASON_MAX 160

struct kk_xdp_state {
	enum kk_xdp_mode mode; /* KK_XDP_OFF: our program is not there, and the edge is at tc */
	bool shared;	       /* beside others, in libxdp's dispatcher */
	/* In words: why not a better mode, or none. Empty: there is no better one. */
	char reason[KK_XDP_REASON_MAX];
};

/*
 * How XDP stands on the public interface, as the kernel says now. If somebody else took the program away, the edge
 * goes back to tc.
 */
int kk_datapath_edge(struct kk_datapath *dp, struct kk_xdp_state *ret, struct kk_err *err);
/* Static: "off", "auto", "generic", "native", "offload". */
const char *kk_xdp_mode_name(enum kk_xdp_mode mode);
/* -EINVAL: @text is none of the first four. */
int kk_xdp_mode_parse(const char *text, enum kk_xdp_mode *ret);

/* What is to be said of it in words; "": nothing. */
const char *kk_datapath_reason(const struct kk_datapath *dp);

#endif
