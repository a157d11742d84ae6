// SPDX-License-Identifier: MIT
/* Hosts, groups and access rules, as apply brings them about. */
#include <errno.h>

#include "controld/rest/apply.h"
#include "controld/rest/call.h"

struct look {
	const json_t *wanted;
	json_t *found;
};

/* ---- hosts ---- */

static int want_host(struct kk_store *store, const json_t *obj, json_t *changes, struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *is = NULL, *wanted = NULL;
	struct kk_host_row row = {0}, now;
	int r = kk_host_read(obj, &row, err);

	if (r < 0)
		return r;
	wanted = kk_apply_bare(kk_host_json(&row));
	r = kk_store_host_get(store, row.name, &now, NULL);
	if (r == -ENOENT) {
		r = kk_store_host_add(store, &row, err);
		return r < 0 ? r
			     : kk_apply_note(changes, "add", "host", row.name, NULL,
					     KK_STEAL(wanted), err);
	}
	if (r < 0)
		return kk_err_set(err, -r, NULL, "the database failed");
	is = kk_apply_bare(kk_host_json(&now));
	if (json_equal(is, wanted))
		return 0;
	row.id = now.id;
	r = kk_store_host_set(store, &row, err);
	return r < 0 ? r
		     : kk_apply_note(changes, "set", "host", row.name, KK_STEAL(is),
				     KK_STEAL(wanted), err);
}

static int look_at_host(const struct kk_host_row *row, void *userdata)
{
	struct look *look = userdata;

	return kk_apply_unwanted(look->wanted, look->found, row->name);
}

static int find_hosts(struct kk_store *store, const json_t *wanted, json_t *found,
		      struct kk_err *err)
{
	struct look look = {wanted, found};

	return kk_store_host_list(store, look_at_host, &look, err);
}

static int remove_host(struct kk_store *store, const char *name, json_t *changes,
		       struct kk_err *err)
{
	struct kk_host_row row;
	int r = kk_store_host_get(store, name, &row, err);

	if (r == 0)
		r = kk_store_host_remove(store, name, err);
	return r < 0 ? r
		     : kk_apply_note(changes, "remove", "host", name,
				     kk_apply_bare(kk_host_json(&row)), NULL, err);
}

const struct kk_apply_value kk_apply_hosts = {want_host, find_hosts, remove_host};

/* ---- groups ---- */

static int want_group(struct kk_store *store, const json_t *obj, json_t *changes,
		      struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *is = NULL, *wanted = NULL;
	struct kk_group_row row = {0}, now;
	int r = kk_group_read(obj, &row, err);

	if (r < 0)
		return r;
	wanted = kk_apply_bare(kk_group_json(&row));
	r = kk_store_group_get(store, row.name, &now, NULL);
	if (r == -ENOENT) {
		r = kk_store_group_add(store, &row, err);
		return r < 0 ? r
			     : kk_apply_note(changes, "add", "group", row.name, NULL,
					     KK_STEAL(wanted), err);
	}
	if (r < 0)
		return kk_err_set(err, -r, NULL, "the database failed");
	is = kk_apply_bare(kk_group_json(&now));
	if (json_equal(is, wanted))
		return 0;
	row.id = now.id;
	r = kk_store_group_set(store, &row, err);
	return r < 0 ? r
		     : kk_apply_note(changes, "set", "group", row.name, KK_STEAL(is),
				     KK_STEAL(wanted), err);
}

static int look_at_group(const struct kk_group_row *row, void *userdata)
{
	struct look *look = userdata;

	return kk_apply_unwanted(look->wanted, look->found, row->name);
}

static int find_groups(struct kk_store *store, const json_t *wanted, json_t *found,
		       struct kk_err *err)
{
	struct look look = {wanted, found};

	return kk_store_group_list(store, look_at_group, &look, err);
}

static int remove_group(struct kk_store *store, const char *name, json_t *changes,
			struct kk_err *err)
{
	struct kk_group_row row;
	int r = kk_store_group_get(store, name, &row, err);

	if (r == 0)
		r = kk_store_group_remove(store, name, err);
	return r < 0 ? r
		     : kk_apply_note(changes, "remove", "group", name,
				     kk_apply_bare(kk_group_json(&row)), NULL, err);
}

const struct kk_apply_value kk_apply_groups = {want_group, find_groups, remove_group};

/* ---- rules ---- */

static int want_rule(struct kk_store *store, const json_t *obj, json_t *changes, struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *is = NULL, *wanted = NULL;
	struct kk_access_rule_row row = {0}, now;
	int r = kk_access_rule_read(obj, &row, err);

	if (r < 0)
		return r;
	wanted = kk_apply_bare(kk_access_rule_json(&row));
	r = kk_store_access_rule_get(store, row.name, &now, NULL);
	if (r == -ENOENT) {
		r = kk_store_access_rule_add(store, &row, err);
		return r < 0 ? r
			     : kk_apply_note(changes, "add", "rule", row.name, NULL,
					     KK_STEAL(wanted), err);
	}
	if (r < 0)
		return kk_err_set(err, -r, NULL, "the database failed");
	is = kk_apply_bare(kk_access_rule_json(&now));
	if (json_equal(is, wanted))
		return 0;
	row.id = now.id;
	r = kk_store_access_rule_set(store, &row, err);
	return r < 0 ? r
		     : kk_apply_note(changes, "set", "rule", row.name, KK_STEAL(is),
				     KK_STEAL(wanted), err);
}

static int look_at_rule(const struct kk_access_rule_row *row, void *userdata)
{
	struct look *look = userdata;

	return kk_apply_unwanted(look->wanted, look->found, row->name);
}

static int find_rules(struct kk_store *store, const json_t *wanted, json_t *found,
		      struct kk_err *err)
{
	struct look look = {wanted, found};

	return kk_store_access_rule_list(store, look_at_rule, &look, err);
}

static int remove_rule(struct kk_store *store, const char *name, json_t *changes,
		       struct kk_err *err)
{
	struct kk_access_rule_row row;
	int r = kk_store_access_rule_get(store, name, &row, err);

	if (r == 0)
		r = kk_store_access_rule_remove(store, name, err);
	return r < 0 ? r
		     : kk_apply_note(changes, "remove", "rule", name,
				     kk_apply_bare(kk_access_rule_json(&row)), NULL, err);
}

const struct kk_apply_value kk_apply_rules = {want_rule, find_rules, remove_rule};
