/* SPDX-License-Identifier: MIT */
/*
 * The tables of the data plane (include/kk/core/types.h says what is in them) in the hands of user
 * space. Listeners and service slots are mapped into memory and changed word by word under the
 * running programs.
 */
#ifndef KK_BPF_TABLES_H
#define KK_BPF_TABLES_H

#include <stddef.h>

#include <bpf/libbpf.h>
#include <kk/core/types.h>

#include "bpf/datapath.h"
#include "util/err.h"

struct kk_tables {
	int origins_fd, traffic_fd, counters_fd; /* borrowed from the BPF object */
	int n_cpus;
	union kk_destination *listeners;
	union kk_service_slot *services;
};

/*
 * Before the object is loaded: if every map of @obj is pinned in @dir with the shape that @obj
 * wants, makes it use those and returns 1. Returns 0 if not; maps of another shape are left where
 * they are. On a negative errno @obj is not to be loaded.
 */
int kk_tables_adopt(struct bpf_object *obj, const char *dir, struct kk_err *err);
/* Pins the maps of a loaded @obj in @dir, in place of what is pinned there under their names. */
int kk_tables_pin(struct bpf_object *obj, const char *dir, struct kk_err *err);

/* Maps the tables of a loaded @obj, which must outlive @ret. */
int kk_tables_init(struct kk_tables *ret, struct bpf_object *obj, struct kk_err *err);
void kk_tables_clean(struct kk_tables *tables);

/* kk_datapath_sync() on tables: all of it or nothing. Listeners were checked one by one before. */
int kk_tables_sync(struct kk_tables *tables, const struct kk_listener *listeners, size_t n,
		   struct kk_err *err);
/* What is published at @address; *@ret is freed by the caller. Returns how many or -ENOMEM. */
int kk_tables_list(const struct kk_tables *tables, struct in_addr address, struct kk_listener **ret,
		   struct kk_err *err);

/* kk_datapath_counters() and kk_datapath_services() on tables (counters.c). */
int kk_tables_counters(const struct kk_tables *tables, struct kk_datapath_counter **ret,
		       struct kk_err *err);
int kk_tables_services(const struct kk_tables *tables, struct kk_datapath_service **ret,
		       struct kk_err *err);

#endif
