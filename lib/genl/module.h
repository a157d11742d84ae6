/* SPDX-License-Identifier: MIT */
/*
 * The kernel module's data plane (include/uapi/kakuremichi.h) in the network namespace of the thread that opens it, as
 * lib/bpf/datapath.h has that of eBPF. Addresses are in network byte order, ports in host byte order. What is wrong with
 * a call @err says, in the kernel's words where it has some.
 */
#ifndef KK_GENL_MODULE_H
#define KK_GENL_MODULE_H

#include <stdbool.h>

#include <kk/core/edge_types.h>
#include <kk/core/reasons.h>
#include <kk/core/types.h>

#include "bpf/datapath.h"
#include "genl/family.h"

struct kk_module {
	struct kk_genl genl;
};

/* Seconds without a packet after which a translated flow is over, up to 604800; 0: those of RFC 4787 and RFC 5382. */
struct kk_flow_times {
	uint32_t udp, tcp, closing;
};

struct kk_module_settings {
	struct kk_settings core;
	uint32_t public_ifindex, tunnel_ifindex;
	/*
	 * Lists, limits, bans, floods and closed ports are judged by the module. Without it somebody else does so (eBPF,
	 * at XDP or tc), and they are but kept.
	 */
	bool edge;
	bool closed_ports;		       /* with @edge: what no socket wants is dropped */
	struct kk_edge_settings edge_settings; /* with @edge */
	uint32_t flows_max; /* translated flows, up to 1048576; 0: KK_SNAT_FLOWS_MAX */
	struct kk_flow_times flow_times;
};

struct kk_module_info {
	char version[32];
	uint32_t layout;
	bool loaded; /* there are tables; what follows is theirs */
	struct kk_settings settings;
	uint32_t public_ifindex, tunnel_ifindex; /* 0: it went away */
	bool edge, closed_ports;
	struct kk_edge_settings edge_settings;
	uint32_t flows_max;
	struct kk_flow_times flow_times;
	uint32_t n_listeners, n_services, n_flows;
};

/* -ENOENT: the module is not there and cannot be loaded. -EPROTO: it is another version's. */
int kk_module_open(struct kk_module *ret, struct kk_err *err);
void kk_module_close(struct kk_module *module);

int kk_module_info(const struct kk_module *module, struct kk_module_info *ret, struct kk_err *err);

/*
 * Brings the tables in force to exactly @wanted: by one request with what differs, or where that is too much for
 * one, by a whole new set; what was there stays on failure. Errors as kk_datapath_set() has them.
 */
int kk_module_set(const struct kk_module *module, const struct kk_module_settings *settings,
		  const struct kk_datapath_tables *wanted, struct kk_err *err);
/*
 * kk_datapath_amend(): one request with what differs between the two. -ESTALE: other settings are in force, or no
 * tables. What else cannot be done by one request (-E2BIG, -EEXIST, -EBUSY) may be possible with the whole.
 */
int kk_module_amend(const struct kk_module *module, const struct kk_module_settings *settings,
		    const struct kk_datapath_tables *from, const struct kk_datapath_tables *to,
		    struct kk_err *err);
/* With listeners alone. */
int kk_module_sync(const struct kk_module *module, const struct kk_module_settings *settings,
		   const struct kk_listener *listeners, size_t n, struct kk_err *err);
/* Puts a whole new set of tables into force, at once; what was there stays on failure. */
int kk_module_replace_all(const struct kk_module *module, const struct kk_module_settings *settings,
			  const struct kk_datapath_tables *wanted, struct kk_err *err);
/* With listeners alone. */
int kk_module_replace(const struct kk_module *module, const struct kk_module_settings *settings,
		      const struct kk_listener *listeners, size_t n, struct kk_err *err);
/*
 * Of a group in the tables which members are healthy. Flows of the others stay where they are. -ENOENT: there is
 * no such group.
 */
int kk_module_set_group(const struct kk_module *module, const struct kk_group *group,
			struct kk_err *err);
int kk_module_set_settings(const struct kk_module *module,
			   const struct kk_module_settings *settings, struct kk_err *err);
/* Takes tables and hooks out of the namespace, and bans and flows with them. */
int kk_module_clear(const struct kk_module *module, struct kk_err *err);

/* As kk_datapath_ban(), _unban(), _bans(). They need tables: -ENOENT. */
int kk_module_ban(const struct kk_module *module, const struct kk_ban_entry *bans, size_t n,
		  struct kk_err *err);
int kk_module_unban(const struct kk_module *module, const struct kk_address *source,
		    uint32_t service, struct kk_err *err);
int kk_module_bans(const struct kk_module *module, struct kk_ban_entry **ret, struct kk_err *err);

/* Reads everything back that kk_module_set() sets. *@ret is freed with kk_datapath_tables_free(). */
int kk_module_read(const struct kk_module *module, struct kk_datapath_tables **ret,
		   struct kk_err *err);

/* A flow whose client the Agent does not see. */
struct kk_module_flow {
	struct in_addr agent;
	uint8_t protocol, slot; /* of the public address */
	uint16_t agent_port, port, client_port, public_port;
	struct kk_address client;
	uint32_t idle; /* seconds since its last packet */
	uint64_t in_packets, in_bytes, out_packets, out_bytes;
};

/* All of them: *@ret is freed by the caller; the count or a negative errno. */
int kk_module_list(const struct kk_module *module, struct kk_listener **ret, struct kk_err *err);
int kk_module_counters(const struct kk_module *module, struct kk_datapath_counter **ret,
		       struct kk_err *err);
int kk_module_services(const struct kk_module *module, struct kk_datapath_service **ret,
		       struct kk_err *err);
int kk_module_flows(const struct kk_module *module, struct kk_module_flow **ret,
		    struct kk_err *err);

struct kk_module_trial {
	enum kk_direction direction;
	uint16_t gso_size; /* 0: one packet */
	bool partial;	   /* its transport checksum is yet to be completed */
	uint64_t now;	   /* when it would come, ns of the monotonic clock; 0: now */
	uint8_t *data;	   /* in: from the IP header on. out: what became of it, to be freed */
	uint32_t len;
	enum kk_reason reason; /* out */
};

/* What the tables in force would do with a packet; nothing is sent or counted. @trial->data of before stays the caller's. */
int kk_module_try(const struct kk_module *module, struct kk_module_trial *trial,
		  struct kk_err *err);
/*
 * With several, one after another: what one leaves behind (fragments, flows, limits) counts for those after it. All or
 * none are filled. -EMSGSIZE: more than 256 KiB.
 */
int kk_module_try_all(const struct kk_module *module, struct kk_module_trial *trials, size_t n,
		      struct kk_err *err);

#endif
