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
	 * A whole new set of tables: begun with its settings, filled by KK_CMD_LISTENER_CHANGE with KK_A_PENDING
	 * over as many messages as it takes, put into force at once by commit. It belongs to the socket that
	 * began it, and goes with it. There is one at a time in a namespace: -EBUSY.
	 */
	KK_CMD_TABLE_BEGIN,
	KK_CMD_TABLE_COMMIT,
	KK_CMD_TABLE_ABORT,
	/* Tables and hooks are taken out of the namespace. */
	KK_CMD_TABLE_CLEAR,
	/* The settings of the tables in force, all of them anew. */
	KK_CMD_SETTINGS_SET,
	/*
	 * Listeners are removed (KK_A_GONE) and set (KK_A_LISTENER), in the order of a message, as many as it
	 * holds, at most 131072 ports; what is on a port that is set is replaced. -ENOENT: a port to be
	 * removed is not there. -EEXIST: the Agent's port is another listener's.
	 */
	KK_CMD_LISTENER_CHANGE,
	/* Dump; with one KK_A_LISTENER only those that agree with it. */
	KK_CMD_LISTENER_GET,
	/* Dump of traffic by service; with one KK_A_SERVICE only that. */
	KK_CMD_SERVICE_GET,
	/* Dump of packets by reason. */
	KK_CMD_COUNTER_GET,
	/* All counters to 0, of reasons and services. */
	KK_CMD_COUNTER_RESET,
	/*
	 * What would be done with a packet. Nothing is sent and nothing is counted. Fragments are not put
	 * together: later ones go where their first one went.
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
	KK_A_LISTENER,	/* nest of enum kk_listener_attr; any number of them */
	KK_A_SERVICE,	/* nest of enum kk_service_attr */
	KK_A_COUNTER,	/* nest of enum kk_counter_attr */
	KK_A_PACKET,	/* nest of enum kk_packet_attr */
	KK_A_EVENT,	/* u32: enum kk_event */
	KK_A_LISTENERS, /* u32: how many there are */
	KK_A_SERVICES,	/* u32: how many have listeners */

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

	__KK_SETTINGS_A_MAX
};
#define KK_SETTINGS_A_MAX (__KK_SETTINGS_A_MAX - 1)

enum kk_listener_attr {
	KK_LISTENER_A_UNSPEC,
	KK_LISTENER_A_SLOT, /* u8: 2 i for the i-th IPv4 address, 2 i + 1 for the i-th IPv6 one */
	KK_LISTENER_A_PROTOCOL,	  /* u8: 6 TCP, 17 UDP */
	KK_LISTENER_A_PORT,	  /* u16: public, not 0 */
	KK_LISTENER_A_PORTS,	  /* u16: how many from there on; without it one */
	KK_LISTENER_A_AGENT,	  /* binary, 4 bytes: its address, in the pool */
	KK_LISTENER_A_AGENT_PORT, /* u16: the first of as many */
	KK_LISTENER_A_SERVICE,	  /* u32: id, for counters, not 0 */
	KK_LISTENER_A_FLAGS,	  /* u32: enum kk_listener_flags */

	__KK_LISTENER_A_MAX
};
#define KK_LISTENER_A_MAX (__KK_LISTENER_A_MAX - 1)

enum kk_listener_flags {
	KK_LISTENER_F_DRAINING = 1 << 0, /* established connections only */
};
#define KK_LISTENER_F_ALL KK_LISTENER_F_DRAINING

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
};

#endif
