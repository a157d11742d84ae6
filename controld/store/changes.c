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

/* The Agent that hears of the change, 0: all do, -1: none. */
static int64_t reader(const struct kk_change *row)
{
	switch (row->kind) {
	case KK_GATEWAY:
		return 0;
	case KK_AGENT:
		return row->id;
	case KK_SERVICE:
		return row->agent ? row->agent : -1;
	default:
		return -1;
	}
}

/* Of one reader in the order of the log. */
static int by_reader(const void *a, const void *b)
{
	const struct kk_change *x = *(const struct kk_change *const *)a;
	const struct kk_change *y = *(const struct kk_change *const *)b;
	int64_t p = reader(x), q = reader(y);

	return p != q ? (p > q) - (p < q) : (x > y) - (x < y);
}

/* Each of thousands of Agents is to find its few changes without reading all. */
static int sort_log(struct kk_store *store, struct kk_err *err)
{
	free(store->log.sorted);
	store->log.n_sorted = 0;
	store->log.sorted = calloc(store->log.n + 1, sizeof(*store->log.sorted));
	if (!store->log.sorted)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < store->log.n; i++)
		if (reader(&store->log.rows[i]) >= 0)
			store->log.sorted[store->log.n_sorted++] = &store->log.rows[i];
	qsort(store->log.sorted, store->log.n_sorted, sizeof(*store->log.sorted), by_reader);
	return 0;
}

/*
 * Thousands of Agents are told of one generation one after the other, and each would read all of its changes. So
 * they are kept until somebody asks for older ones.
 */
static int load_log(struct kk_store *store, int64_t from, struct kk_err *err)
{
	int64_t oldest;
	int r;

	if (store->log.generation == store->generation && store->log.from <= from &&
	    from <= store->generation)
		return 0;
	r = reaches_back_to(store, &oldest, err);
	if (r < 0)
		return r;
	if (from < oldest || from > store->generation)
		return -ESTALE;
	store->log.n = 0;
	store->log.generation = 0;
	r = read_log(store, from, err);
	if (r == 0)
		r = sort_log(store, err);
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
		if (store->log.rows[i].generation > from)
			r = change(&store->log.rows[i], userdata);
	return r;
}

/* Where the changes of the reader begin. */
static size_t find_reader(const struct kk_store *store, int64_t id)
{
	size_t low = 0, high = store->log.n_sorted;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (reader(store->log.sorted[middle]) < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int each_of(const struct kk_store *store, int64_t from, int64_t id,
		   int (*change)(const struct kk_change *change, void *userdata), void *userdata)
{
	int r = 0;

	for (size_t i = find_reader(store, id);
	     r == 0 && i < store->log.n_sorted && reader(store->log.sorted[i]) == id; i++)
		if (store->log.sorted[i]->generation > from)
			r = change(store->log.sorted[i], userdata);
	return r;
}

int kk_store_agent_changes(struct kk_store *store, int64_t from, int64_t agent,
			   int (*change)(const struct kk_change *change, void *userdata),
			   void *userdata, struct kk_err *err)
{
	int r = load_log(store, from, err);

	if (r == 0)
		r = each_of(store, from, 0, change, userdata);
	return r == 0 ? each_of(store, from, agent, change, userdata) : r;
}
