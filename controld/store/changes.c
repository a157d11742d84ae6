// SPDX-License-Identifier: MIT
/* The change log: which objects each generation touched. */
#include "controld/store/sql.h"

#include <errno.h>
#include <stdlib.h>

/* The oldest generation from which the log leads to now. */
static int reaches_back_to(struct kk_store *store, int64_t *ret, struct kk_err *err)
{
	int64_t oldest;
	int r = kk_sql_number(store, &oldest, err, "SELECT ifnull(min(generation), 0) FROM changes",
			      "");

	if (r < 0)
		return r;
	*ret = oldest ? oldest - 1 : store->generation;
	return 0;
}

static int add_row(struct kk_store *store, const struct kk_change *row, struct kk_err *err)
{
	if (store->log.n == store->log.size) {
		size_t size = store->log.size ? store->log.size * 2 : 16;
		struct kk_change *bigger = reallocarray(store->log.rows, size, sizeof(*bigger));

		if (!bigger)
			return kk_err_set(err, ENOMEM, NULL, "out of memory");
		store->log.rows = bigger;
		store->log.size = size;
	}
	store->log.rows[store->log.n++] = *row;
	return 0;
}

static int read_log(struct kk_store *store, int64_t from, struct kk_err *err)
{
	static const char select[] = "SELECT generation, kind, op, id, agent, org FROM changes "
				     "WHERE generation > ? ORDER BY seq";
	sqlite3_stmt *stmt = kk_sql(store, err, select, "i", from);
	int r;

	while ((r = kk_sql_step(store, stmt, err)) > 0) {
		struct kk_change row = {
			.generation = sqlite3_column_int64(stmt, 0),
			.kind = (enum kk_kind)sqlite3_column_int(stmt, 1),
			.op = (enum kk_op)sqlite3_column_int(stmt, 2),
			.id = sqlite3_column_int64(stmt, 3),
			.agent = sqlite3_column_int64(stmt, 4),
			.org = sqlite3_column_int64(stmt, 5),
		};

		r = add_row(store, &row, err);
		if (r < 0) {
			kk_sql_done(stmt);
			return r;
		}
	}
	return r;
}

/*
 * Thousands of Agents are told of one generation one after the other, and each would read all of its changes. So
 * they are kept until somebody asks for others.
 */
static int load_log(struct kk_store *store, int64_t from, struct kk_err *err)
{
	int64_t oldest;
	int r;

	if (store->log.generation == store->generation && store->log.from == from)
		return 0;
	r = reaches_back_to(store, &oldest, err);
	if (r < 0)
		return r;
	if (from < oldest || from > store->generation)
		return -ESTALE;
	store->log.n = 0;
	store->log.generation = 0;
	r = read_log(store, from, err);
	if (r < 0)
		return r;
	store->log.generation = store->generation;
	store->log.from = from;
	return 0;
}

int kk_store_changes(struct kk_store *store, int64_t from,
		     int (*change)(const struct kk_change *change, void *userdata), void *userdata,
		     struct kk_err *err)
{
	int r = load_log(store, from, err);

	for (size_t i = 0; i < store->log.n && r == 0; i++)
		r = change(&store->log.rows[i], userdata);
	return r;
}
