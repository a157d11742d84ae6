/* SPDX-License-Identifier: MIT */
/*
 * The kernel module's data plane (include/uapi/kakuremichi.h) in the network namespace of the thread that opens it.
 * Addresses are in network byte order, ports in host byte order. What is wrong with a call @err says, in the kernel's
 * words where it has some.
 */
#ifndef KK_GENL_MODULE_H
#define KK_GENL_MODULE_H

#include <stdbool.h>

#include <kk/core/reasons.h>
#include <kk/core/types.h>

#include "bpf/datapath.h"
#include "genl/family.h"

struct kk_module {
	struct kk_genl genl;
};

struct kk_module_info {
	char version[32];
	uint32_t layout;
	bool loaded; /* there are tables; what follows is theirs */
	struct kk_settings settings;
	uint32_t public_ifindex, tunnel_ifindex; /* 0: it went away */
	uint32_t n_listeners, n_services;
};

struct kk_module_settings {
	struct kk_settings core;
	uint32_t public_ifindex, tunnel_ifindex;
};

/* -ENOENT: the module is not there and cannot be loaded. -EPROTO: it is another version's. */
int kk_module_open(struct kk_module *ret, struct kk_err *err);
void kk_module_close(struct kk_module *module);

int kk_module_info(const struct kk_module *module, struct kk_module_info *ret, struct kk_err *err);

/* Puts a whole new set of tables into force, at once, with @listeners; what was there stays on failure. */
int kk_module_replace(const struct kk_module *module, const struct kk_module_settings *settings,
		      const struct kk_listener *listeners, size_t n, struct kk_err *err);
/*
 * Brings the tables in force to exactly @listeners: by one request with what differs, or where that is too much for
 * one, by a whole new set.
 */
int kk_module_sync(const struct kk_module *module, const struct kk_module_settings *settings,
		   const struct kk_listener *listeners, size_t n, struct kk_err *err);
int kk_module_set_settings(const struct kk_module *module,
			   const struct kk_module_settings *settings, struct kk_err *err);
/* Takes tables and hooks out of the namespace. */
int kk_module_clear(const struct kk_module *module, struct kk_err *err);

/* All three: *@ret is freed by the caller; the count or a negative errno. */
int kk_module_list(const struct kk_module *module, struct kk_listener **ret, struct kk_err *err);
int kk_module_counters(const struct kk_module *module, struct kk_datapath_counter **ret,
		       struct kk_err *err);
int kk_module_services(const struct kk_module *module, struct kk_datapath_service **ret,
		       struct kk_err *err);

struct kk_module_trial {
	enum kk_direction direction;
	uint16_t gso_size; /* 0: one packet */
	bool partial;	   /* its transport checksum is yet to be completed */
	uint8_t *data;	   /* in: from the IP header on. out: what became of it, to be freed */
	uint32_t len;
	enum kk_reason reason; /* out */
};

/* What the tables in force would do with a packet; nothing is sent or counted. @trial->data of before stays the caller's. */
int kk_module_try(const struct kk_module *module, struct kk_module_trial *trial,
		  struct kk_err *err);

#endif
