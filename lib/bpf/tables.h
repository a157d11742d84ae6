/* SPDX-License-Identifier: MIT */
/*
 * The tables of the data plane (include/kk/core/types.h says what is in them) in the hands of user
 * space. Listeners and service slots are mapped into memory and changed word by word under the
 * running programs.
 */
#ifndef KK_BPF_TABLES_H
#define KK_BPF_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bpf/libbpf.h>
#include <kk/core/edge_types.h>
#include <kk/core/types.h>

#include "bpf/change.h"
#include "bpf/datapath.h"
#include "util/err.h"

struct kk_sieve;
struct kk_shut;
struct kk_uses;

struct kk_tables {
	/* borrowed from the BPF object */
	int origins_fd, counters_fd, gateway_fd, lists_fd, bans_fd, sources_fd, snat_fd,
		fragments_fd, verified_fd, relays_fd, place_fd;
	int n_cpus;
	uint32_t n_traffic;	     /* CPUs that the table of traffic has room for */
	uint32_t n_slots;	     /* that the table of listeners has room for */
	struct kk_settings settings; /* whose addresses and pool the tables are about */
	__u64 *listeners;
	__u64 *traffic;
	struct kk_counter *totals;
	union kk_service_slot *services;
	__u64 *groups, *group_ids, *features;
	struct kk_policy *policies;
	struct kk_uses *uses; /* of all these; NULL until a part of them is changed */
	struct kk_flood *floods;
	__u64 *sieve_words;
	struct kk_shut *shut;
	struct kk_sieve *sieve; /* NULL: the tables are not changed here */
};

/*
 * Before an object is loaded that is not given to kk_tables_adopt(): room in its tables for @n_slots slots and for the CPUs
 * of this machine.
 */
int kk_tables_size(struct bpf_object *obj, uint32_t n_slots, struct kk_err *err);
/*
 * Before the object is loaded: if every map of @obj is pinned in @dir with the shape that @obj
 * wants, makes it use those and returns 1. Returns 0 if not; maps of another shape are left where
 * they are. On a negative errno @obj is not to be loaded. The table of listeners has room for
 * @n_slots slots; if the pinned one has another number of them, the object gets a new one, to be filled
 * by kk_tables_carry_over(), and *@ret_resized is set. With @n_slots 0 the table is taken as it is.
 */
int kk_tables_adopt(struct bpf_object *obj, const char *dir, uint32_t n_slots, bool *ret_resized,
		    struct kk_err *err);
/*
 * Pins the maps of a loaded @obj in @dir, in place of what is pinned there under their names; of
 * adopted and resized ones the table of listeners alone.
 */
int kk_tables_pin(struct bpf_object *obj, const char *dir, bool resized, struct kk_err *err);

/*
 * Maps the tables of a loaded @obj, which must outlive @ret, with the settings that stand in them, for the one process that
 * changes them.
 */
int kk_tables_init(struct kk_tables *ret, struct bpf_object *obj, struct kk_err *err);
/* The same to read them. */
int kk_tables_init_readonly(struct kk_tables *ret, struct bpf_object *obj, struct kk_err *err);
/* Writes the settings into the tables, for whoever reads them. */
int kk_tables_put_settings(const struct kk_tables *tables, struct kk_err *err);
/* The slot of a managed address, or -1. */
int kk_tables_slot(const struct kk_tables *tables, const struct kk_address *address);
void kk_tables_clean(struct kk_tables *tables);
/* Copies from the table of listeners that is pinned in @dir the slots that both have. */
int kk_tables_carry_over(struct kk_tables *tables, const char *dir, struct kk_err *err);

/* kk_datapath_set() on tables: all of it or nothing. Listeners were checked one by one before. */
int kk_tables_set(struct kk_tables *tables, const struct kk_datapath_tables *wanted,
		  struct kk_err *err);
/* With listeners alone. */
int kk_tables_sync(struct kk_tables *tables, const struct kk_listener *listeners, size_t n,
		   struct kk_err *err);
/* A slot that is about to stand for another service counts anew. */
void kk_tables_reset_service(const struct kk_tables *tables, uint32_t slot);
/* Stores a word of a mapped table, if it differs, under the running programs. */
void kk_tables_store(__u64 *word, __u64 value);
/* Switches bits KK_FEATURE_* of the features word, which has other writers too. */
void kk_tables_feature(struct kk_tables *tables, __u64 bits, bool on);
/* Tables with keys, to be read and changed by batches. */
struct kk_table kk_tables_origins(const struct kk_tables *tables);
struct kk_table kk_tables_lists(const struct kk_tables *tables);
struct kk_table kk_tables_bans(const struct kk_tables *tables);
struct kk_table kk_tables_sources(const struct kk_tables *tables);
struct kk_table kk_tables_snat(const struct kk_tables *tables);
struct kk_table kk_tables_fragments(const struct kk_tables *tables);
struct kk_table kk_tables_verified(const struct kk_tables *tables);
struct kk_table kk_tables_relays(const struct kk_tables *tables);
/*
 * What is published, in order of slot, protocol and port; *@ret is freed by the caller. Returns how many
 * or -ENOMEM.
 */
int kk_tables_list(const struct kk_tables *tables, struct kk_listener **ret, struct kk_err *err);

/* kk_datapath_read() on tables (read.c). */
int kk_tables_read(const struct kk_tables *tables, struct kk_datapath_tables **ret,
		   struct kk_err *err);

/* kk_datapath_counters() and kk_datapath_services() on tables (counters.c). */
int kk_tables_counters(const struct kk_tables *tables, struct kk_datapath_counter **ret,
		       struct kk_err *err);
int kk_tables_services(const struct kk_tables *tables, struct kk_datapath_service **ret,
		       struct kk_err *err);

#endif
