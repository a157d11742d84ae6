/* SPDX-License-Identifier: MIT */
/* What tables hold, in an order in which two of them can be compared. Private to lib/genl. */
#ifndef KK_GENL_CONTENT_H
#define KK_GENL_CONTENT_H

#include "bpf/lists.h"
#include "genl/module.h"

struct kk_content {
	struct kk_listener *listeners; /* by public address, protocol and port */
	struct kk_group *groups;       /* by id; their members by address */
	struct kk_member *members;     /* of all groups */
	struct kk_guard *guards;       /* by service */
	struct kk_list_record *rules;  /* by key */
	size_t n_listeners, n_groups, n_guards, n_rules;
};

/*
 * A copy of @tables, sorted; @ret is to be cleaned in any case. Listeners that let nobody in (UDP that drains,
 * without flows) are left out. -EINVAL, -EEXIST, -ENOSPC: lists that cannot be.
 */
int kk_content_make(struct kk_content *ret, const struct kk_datapath_tables *tables,
		    struct kk_err *err);
/* What can be said before the module is asked, as kk_datapath_set() has it. */
int kk_content_check(const struct kk_content *content, const struct kk_settings *set,
		     const struct kk_datapath_tables *tables, struct kk_err *err);
void kk_content_clean(struct kk_content *content);

/* Orders of entries: 0 is the same place, id or key. */
int kk_content_compare_listeners(const void *a, const void *b);
int kk_content_compare_groups(const void *a, const void *b);
int kk_content_compare_guards(const void *a, const void *b);
int kk_content_compare_rules(const void *a, const void *b);

/* Whether two entries of one place ask the same. */
bool kk_content_same_listener(const void *a, const void *b);
bool kk_content_same_group(const void *a, const void *b);
bool kk_content_same_guard(const void *a, const void *b);
bool kk_content_same_rule(const void *a, const void *b);
/* Whether answers of the same Agents lead back to both listeners of one place. */
bool kk_content_same_way_back(const struct kk_listener *a, const struct kk_listener *b);

#endif
