/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Generic netlink family "kakuremichi": the tables of the module's data plane, one set for each network
 * namespace. doc/netlink/kakuremichi.yaml says the same to machines, and make check compares the two.
 *
 * Every operation needs CAP_NET_ADMIN in the user namespace that owns the network namespace. A request is done
 * wholly or not at all; what is wrong with it is told by extended acknowledgement, with the attribute.
 * Unknown attributes and flags are refused. Addresses are in network byte order, all numbers in host byte order.
 */
#ifndef _UAPI_KAKUREMICHI_H
#define _UAPI_KAKUREMICHI_H

#define KK_GENL_NAME	     "kakuremichi"
#define KK_GENL_VERSION	     1
#define KK_GENL_MCGRP_EVENTS "events"

enum kk_cmd {
	KK_CMD_UNSPEC,
	/* What is in force: version, layout, settings, counts. */
	KK_CMD_INFO_GET,
	/*
	 * A whole new set of tables: begun with its settings, filled by KK_CMD_TABLE_CHANGE with KK_A_PENDING
	 * over as many messages as it takes, put into force at once by commit. It belongs to the socket that
	 * began it, and goes with it. There is one at a time in a namespace: -EBUSY.
	 */
	KK_CMD_TABLE_BEGIN,
	KK_CMD_TABLE_COMMIT,
	KK_CMD_TABLE_ABORT,
	/* Tables and hooks are taken out of the namespace; bans and flows with them. */
	KK_CMD_TABLE_CLEAR,
	/* The settings of the tables in force, all of them anew. */
	KK_CMD_SETTINGS_SET,
	/*
	 * Listeners, groups, rules and guards are set (KK_A_LISTENER, _GROUP, _RULE, _GUARD) and removed (KK_A_GONE,
	 * KK_A_*_GONE), in the order of a message, as many as it holds, all of them or none. What is set takes the
	 * place of what is there. -ENOENT: what is to be removed is not there, or the group that a listener leads
	 * to. -EEXIST: the Agent's port is another listener's. -EBUSY: a listener leads to the group that is to
	 * be removed. -E2BIG: more than 131072 ports.
	 */
	KK_CMD_TABLE_CHANGE,
	/* Dump; with one KK_A_LISTENER only those that agree with it. */
	KK_CMD_LISTENER_GET,
	/* Dump; with one KK_A_GROUP only that. */
	KK_CMD_GROUP_GET,
	/* Dump; with one KK_A_RULE only those of its list. */
	KK_CMD_RULE_GET,
	/* Dump; with one KK_A_GUARD only that of its service. */
	KK_CMD_GUARD_GET,
	/*
	 * Sources are banned (KK_A_BAN), or bans lifted (KK_A_BAN_GONE: -ENOENT if there is none), all or none.
	 * Bans are no part of a set of tables: each stays until it ends or is lifted, or the tables are cleared.
	 */
	KK_CMD_BAN_CHANGE,
	/* Dump; with one KK_A_BAN only those of its service. */
	KK_CMD_BAN_GET,
	/* Dump of translated flows; with one KK_A_FLOW only those of its Agent. */
	KK_CMD_FLOW_GET,
	/* Dump of traffic by service; with one KK_A_SERVICE only that. */
	KK_CMD_SERVICE_GET,
	/* Dump of packets by reason. */
	KK_CMD_COUNTER_GET,
	/* All counters to 0, of reasons and services. */
	KK_CMD_COUNTER_RESET,
	/*
	 * What would be done with packets (KK_A_PACKET), one after another: what one would leave behind for
	 * the next (fragments, flows, limits) counts until the request is answered, and no longer. Nothing is
	 * sent and nothing is counted. Fragments are not put together: later ones go where their first one
	 * went. The answers come in the same order, in one message or several.
	 */
	KK_CMD_TRY,
	/* To the multicast group of events. */
	KK_CMD_EVENT,

	__KK_CMD_MAX
};
#define KK_CMD_MAX (__KK_CMD_MAX - 1)

enum kk_attr {
	KK_A_UNSPEC,
	KK_A_PAD,
	KK_A_VERSION,  /* string: of the module */
	KK_A_LAYOUT,   /* u32: of tables and reasons (KK_LAYOUT) */
	KK_A_SETTINGS, /* nest of enum kk_settings_attr */
	KK_A_PENDING,  /* flag: to the set of tables that was begun */
	KK_A_GONE, /* nest of enum kk_listener_attr: slot, protocol and ports; any number of them */
	KK_A_LISTENER,	 /* nest of enum kk_listener_attr; any number of them */
	KK_A_GROUP_GONE, /* nest of enum kk_group_attr: id */
	KK_A_GROUP,	 /* nest of enum kk_group_attr */
	KK_A_RULE_GONE,	 /* nest of enum kk_rule_attr: list, address and length */
	KK_A_RULE,	 /* nest of enum kk_rule_attr */
	KK_A_GUARD_GONE, /* nest of enum kk_guard_attr: service */
	KK_A_GUARD,	 /* nest of enum kk_guard_attr */
	KK_A_BAN_GONE,	 /* nest of enum kk_ban_attr: address and service */
	KK_A_BAN,	 /* nest of enum kk_ban_attr */
	KK_A_FLOW,	 /* nest of enum kk_flow_attr */
	KK_A_SERVICE,	 /* nest of enum kk_service_attr */
	KK_A_COUNTER,	 /* nest of enum kk_counter_attr */
	KK_A_PACKET,	 /* nest of enum kk_packet_attr; any number of them */
	KK_A_EVENT,	 /* u32: enum kk_event */
	KK_A_LISTENERS,	 /* u32: how many there are */
	KK_A_SERVICES,	 /* u32: how many have listeners or a guard */
	KK_A_FLOWS,	 /* u32: how many translated flows there are */
	KK_A_MISSED,	 /* u32: events of that kind that were not told since the last one */

	__KK_A_MAX
};
#define KK_A_MAX (__KK_A_MAX - 1)

enum kk_settings_attr {
	KK_SETTINGS_A_UNSPEC,
	KK_SETTINGS_A_PUBLIC,	/* u32: index of the public interface */
	KK_SETTINGS_A_TUNNEL,	/* u32: of the tunnel's, a layer-3 device */
	KK_SETTINGS_A_ADDRESS4, /* binary, 4 bytes each: public addresses, up to 8 */
	KK_SETTINGS_A_ADDRESS6, /* binary, 16 bytes each: up to 8 */
	KK_SETTINGS_A_POOL,	/* binary, 4 bytes: the Agents' addresses */
	KK_SETTINGS_A_POOL_LEN, /* u8: prefix length, 8 to 24 */
	KK_SETTINGS_A_POOL6,	/* binary, 16 bytes: a /96; without it there is no IPv6 inside */
	KK_SETTINGS_A_HOST,	/* u8: the gateway's own in each Agent's /24; without it none */
	KK_SETTINGS_A_MTU, /* u32: of the tunnel, 576 to 65535, with a pool6 1280 at least; without it all fits */
	KK_SETTINGS_A_FLOW_KEY, /* binary, 48 bytes: of the hash that spreads flows in a group */
	KK_SETTINGS_A_FLAGS,	/* u32: enum kk_settings_flags */
	/* Of the edge, where it is here. */
	KK_SETTINGS_A_COOKIE_KEY, /* binary, 16 bytes: of the challenges to a flood */
	KK_SETTINGS_A_SYN_RATE,	  /* u32: SYNs a second beyond which sources prove themselves */
	KK_SETTINGS_A_EPHEMERAL, /* u16: UDP from this port on is never a closed port's; without it 1 */
	KK_SETTINGS_A_FLOWS_MAX, /* u32: translated flows, up to 1048576; without it 65536 */
	/* Seconds without a packet after which a translated flow is over, up to 604800. */
	KK_SETTINGS_A_UDP_TIME,	    /* u32: without it 300 (RFC 4787) */
	KK_SETTINGS_A_TCP_TIME,	    /* u32: without it 7440 (RFC 5382) */
	KK_SETTINGS_A_CLOSING_TIME, /* u32: after FIN or RST; without it 240 */

	__KK_SETTINGS_A_MAX
};
#define KK_SETTINGS_A_MAX (__KK_SETTINGS_A_MAX - 1)

enum kk_settings_flags {
	/*
	 * The edge is here: lists, limits, bans, floods and closed ports are judged before a packet is forwarded.
	 * Without it somebody else does so, at XDP say, and they are but kept.
	 */
	KK_SETTINGS_F_EDGE = 1 << 0,
	KK_SETTINGS_F_CLOSED_PORTS = 1
				     << 1, /* what no socket wants of the other ports is dropped */
};
#define KK_SETTINGS_F_ALL (KK_SETTINGS_F_EDGE | KK_SETTINGS_F_CLOSED_PORTS)

enum kk_listener_attr {
	KK_LISTENER_A_UNSPEC,
	KK_LISTENER_A_SLOT, /* u8: 2 i for the i-th IPv4 address, 2 i + 1 for the i-th IPv6 one */
	KK_LISTENER_A_PROTOCOL,	  /* u8: 6 TCP, 17 UDP */
	KK_LISTENER_A_PORT,	  /* u16: public, not 0 */
	KK_LISTENER_A_PORTS,	  /* u16: how many from there on; without it one */
	KK_LISTENER_A_AGENT,	  /* binary, 4 bytes: its address, in the pool */
	KK_LISTENER_A_AGENT_PORT, /* u16: the first of as many */
	KK_LISTENER_A_SERVICE,	  /* u32: id, for counters and guards, not 0 */
	KK_LISTENER_A_FLAGS,	  /* u32: enum kk_listener_flags */
	KK_LISTENER_A_GROUP,	  /* u32: id of a group, in place of the Agent's address */

	__KK_LISTENER_A_MAX
};
#define KK_LISTENER_A_MAX (__KK_LISTENER_A_MAX - 1)

enum kk_listener_flags {
	KK_LISTENER_F_DRAINING = 1 << 0, /* established connections only */
	KK_LISTENER_F_SNAT = 1 << 1,	 /* the Agent sees the gateway in the client's place */
};
#define KK_LISTENER_F_ALL (KK_LISTENER_F_DRAINING | KK_LISTENER_F_SNAT)

/* Agents that one service is published on. Each flow goes to one, the same on every gateway. */
enum kk_group_attr {
	KK_GROUP_A_UNSPEC,
	KK_GROUP_A_ID,	    /* u32: any but 0 */
	KK_GROUP_A_MEMBERS, /* binary, 4 bytes each: addresses in the pool, 1 to 128 */
	KK_GROUP_A_UNHEALTHY, /* binary, 4 bytes each: members that get no flows, unless all are here */

	__KK_GROUP_A_MAX
};
#define KK_GROUP_A_MAX (__KK_GROUP_A_MAX - 1)

/* One prefix of a list. Of those that a source is in the longest decides. A list is there once it has one. */
enum kk_rule_attr {
	KK_RULE_A_UNSPEC,
	KK_RULE_A_LIST, /* u32: id, 0 to 2147483647; 0: of the whole gateway, which denies alone */
	KK_RULE_A_ADDRESS, /* binary, 4 or 16 bytes, without host bits */
	KK_RULE_A_LEN,	   /* u8: of the prefix */
	KK_RULE_A_VERDICT, /* u32: enum kk_rule_verdict */

	__KK_RULE_A_MAX
};
#define KK_RULE_A_MAX (__KK_RULE_A_MAX - 1)

enum kk_rule_verdict {
	KK_RULE_DENY,
	KK_RULE_ALLOW,
};

/* What a service asks of its clients. Limits are for each source, of IPv6 for each /64. */
enum kk_guard_attr {
	KK_GUARD_A_UNSPEC,
	KK_GUARD_A_SERVICE,	    /* u32: id */
	KK_GUARD_A_LIST,	    /* u32: id of the list, not 0; without it none */
	KK_GUARD_A_FLAGS,	    /* u32: enum kk_guard_flags */
	KK_GUARD_A_PACKET_RATE,	    /* u32: packets a second, up to 10000000; without it no limit */
	KK_GUARD_A_PACKET_BURST,    /* u32: at once, up to 1000000; without it 1 */
	KK_GUARD_A_CONNECTION_RATE, /* u32: segments that open a connection */
	KK_GUARD_A_CONNECTION_BURST, /* u32 */
	KK_GUARD_A_SYN_RATE, /* u32: SYNs a second beyond which sources prove themselves; without it the gateway's */

	__KK_GUARD_A_MAX
};
#define KK_GUARD_A_MAX (__KK_GUARD_A_MAX - 1)

enum kk_guard_flags {
	KK_GUARD_F_DENY_OTHERS = 1 << 0, /* whom the list does not name */
};
#define KK_GUARD_F_ALL KK_GUARD_F_DENY_OTHERS

/* A source that is kept out: of IPv6 its /64. */
enum kk_ban_attr {
	KK_BAN_A_UNSPEC,
	KK_BAN_A_ADDRESS, /* binary, 4 or 16 bytes */
	KK_BAN_A_SERVICE, /* u32: id; without it all services */
	KK_BAN_A_SECONDS, /* u32: that are left; without it, it does not end */

	__KK_BAN_A_MAX
};
#define KK_BAN_A_MAX (__KK_BAN_A_MAX - 1)

/* A flow whose client the Agent does not see. */
enum kk_flow_attr {
	KK_FLOW_A_UNSPEC,
	KK_FLOW_A_PAD,
	KK_FLOW_A_AGENT,       /* binary, 4 bytes */
	KK_FLOW_A_AGENT_PORT,  /* u16 */
	KK_FLOW_A_PORT,	       /* u16: of the gateway's address, which the Agent sees */
	KK_FLOW_A_PROTOCOL,    /* u8 */
	KK_FLOW_A_CLIENT,      /* binary, 4 or 16 bytes */
	KK_FLOW_A_CLIENT_PORT, /* u16 */
	KK_FLOW_A_SLOT,	       /* u8: of the public address */
	KK_FLOW_A_PUBLIC_PORT, /* u16 */
	KK_FLOW_A_IDLE,	       /* u32: seconds since its last packet */
	KK_FLOW_A_IN_PACKETS,  /* u64: to the Agent */
	KK_FLOW_A_IN_BYTES,    /* u64 */
	KK_FLOW_A_OUT_PACKETS, /* u64 */
	KK_FLOW_A_OUT_BYTES,   /* u64 */

	__KK_FLOW_A_MAX
};
#define KK_FLOW_A_MAX (__KK_FLOW_A_MAX - 1)

enum kk_service_attr {
	KK_SERVICE_A_UNSPEC,
	KK_SERVICE_A_PAD,
	KK_SERVICE_A_ID,	  /* u32 */
	KK_SERVICE_A_IN_PACKETS,  /* u64: to the Agent; a GSO packet is one */
	KK_SERVICE_A_IN_BYTES,	  /* u64: from the network header on */
	KK_SERVICE_A_OUT_PACKETS, /* u64: to clients */
	KK_SERVICE_A_OUT_BYTES,	  /* u64 */

	__KK_SERVICE_A_MAX
};
#define KK_SERVICE_A_MAX (__KK_SERVICE_A_MAX - 1)

enum kk_counter_attr {
	KK_COUNTER_A_UNSPEC,
	KK_COUNTER_A_PAD,
	KK_COUNTER_A_REASON,  /* string: its name in the core */
	KK_COUNTER_A_VERDICT, /* string: "pass", "tunnel", "nic" or "drop" */
	KK_COUNTER_A_PACKETS, /* u64 */
	KK_COUNTER_A_BYTES,   /* u64 */

	__KK_COUNTER_A_MAX
};
#define KK_COUNTER_A_MAX (__KK_COUNTER_A_MAX - 1)

enum kk_packet_attr {
	KK_PACKET_A_UNSPEC,
	KK_PACKET_A_DATA,      /* binary: from the network header on */
	KK_PACKET_A_DIRECTION, /* u32: enum kk_packet_direction */
	KK_PACKET_A_GSO, /* u16: payload bytes of each of the segments in it; without it, it is one */
	KK_PACKET_A_PARTIAL, /* flag: its transport checksum is yet to be completed */
	KK_PACKET_A_REASON,  /* string: in the answer */
	KK_PACKET_A_VERDICT, /* string: in the answer */
	KK_PACKET_A_PAD,
	KK_PACKET_A_NOW, /* u64: when it would come, ns of the monotonic clock; without it now */

	__KK_PACKET_A_MAX
};
#define KK_PACKET_A_MAX (__KK_PACKET_A_MAX - 1)

enum kk_packet_direction {
	KK_PACKET_INBOUND,  /* from the public interface */
	KK_PACKET_OUTBOUND, /* out of the tunnel */
};

enum kk_event {
	KK_EVENT_TUNNEL_GONE, /* the tunnel's interface went away; packets to it are dropped */
	KK_EVENT_TUNNEL_BACK, /* one with its name came, and the tables follow it */
	KK_EVENT_PUBLIC_GONE,
	KK_EVENT_PUBLIC_BACK,
	/* With KK_A_BAN: whose packet or connection was beyond a limit, and of which service. */
	KK_EVENT_LIMITED_PACKETS,
	KK_EVENT_LIMITED_CONNECTIONS,
	/* With KK_A_BAN. */
	KK_EVENT_BANNED,
	KK_EVENT_BAN_LIFTED,
	KK_EVENT_BAN_ENDED,
	/* With KK_A_FLOWS: seven eighths of the translated flows that may be are there; no new one was let in. */
	KK_EVENT_FLOWS_SCARCE,
	KK_EVENT_FLOWS_FULL,
};

#endif
