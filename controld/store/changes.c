// SPDX-License-Identifier: MIT
/* The change log: which objects each generation touched. */
#include "controld/store/sql.h"

#include <errno.h>

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

int kk_store_changes(struct kk_store *store, int64_t from,
		     int (*change)(const struct kk_change *change, void *userdata), void *userdata,
		     struct kk_err *err)
{
	static const char select[] = "SELECT generation, kind, op, id, agent, org FROM changes "
				     "WHERE generation > ? ORDER BY seq";
	sqlite3_stmt *stmt;
	int64_t oldest;
	int r;

	r = reaches_back_to(store, &oldest, err);
	if (r < 0)
		return r;
	if (from < oldest || from > store->generation)
		return -ESTALE;
	stmt = kk_sql(store, err, select, "i", from);
	while ((r = kk_sql_step(store, stmt, err)) > 0) {
		struct kk_change row = {
			.generation = sqlite3_column_int64(stmt, 0),
			.kind = (enum kk_kind)sqlite3_column_int(stmt, 1),
			.op = (enum kk_op)sqlite3_column_int(stmt, 2),
			.id = sqlite3_column_int64(stmt, 3),
			.agent = sqlite3_column_int64(stmt, 4),
			.org = sqlite3_column_int64(stmt, 5),
		};

		r = change(&row, userdata);
		if (r) {
			kk_sql_done(stmt);
			return r;
		}
	}
	return r;
}
