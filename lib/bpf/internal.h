/* SPDX-License-Identifier: MIT */
/* A data path, for the files that make it up. Private to lib/bpf. */
#ifndef KK_BPF_INTERNAL_H
#define KK_BPF_INTERNAL_H

#include <limits.h>
#include <net/if.h>

#include "bpf/datapath.h"
#include "bpf/tables.h"

struct kk_tc;

enum { KK_TUNNEL, KK_PUBLIC, KK_LINKS };

/* Programs differ by what their packets begin with, so each interface is of one kind. */
struct kk_link_end {
	char name[IFNAMSIZ];
	int ifindex;
	uint32_t mtu;
};

struct kk_datapath {
	char pin_dir[PATH_MAX - 32];
	struct kk_link_end link[KK_LINKS]; /* in the order of attaching: Agents are shut in first */
	struct kk_tc *skel;
	struct kk_tables tables;
	struct kk_edge_config edge;
	bool resized;  /* the table of listeners has another size than the pinned one */
	bool readonly; /* from kk_datapath_open_readonly() */
	bool pending; /* programs of another version are in force until the new tables are filled */
};

/* What an interface is now. Its kind and its MTU are checked. */
int kk_link_end_init(struct kk_link_end *ends, int which, const char *ifname, struct kk_err *err);

/* What @config asks for can be: errors as kk_datapath_open() has them. */
int kk_settings_check(const struct kk_datapath_config *config, struct kk_err *err);
/* A checked one, as the programs have it. */
struct kk_settings kk_settings_of(const struct kk_datapath_config *config, uint32_t mtu);
/* Slots up to that of the last address. */
uint32_t kk_settings_slots(const struct kk_datapath_config *config);

/*
 * Puts filled tables and loaded programs into force, wholly or not at all; @adopted: the tables are pinned already. Tables
 * first: a process that dies between the two leaves what the next one adopts.
 */
int kk_datapath_put_in_force(struct kk_datapath *dp, bool adopted, struct kk_err *err);

#endif
