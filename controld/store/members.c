// SPDX-License-Identifier: MIT
/* The Agents behind a service. */
#include "controld/store/sql.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	const struct kk_member *x = a, *y = b;

	return (x->agent > y->agent) - (x->agent < y->agent);
}

static int find(struct kk_store *store, struct kk_member *m, struct kk_service_row *row,
		struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, "SELECT id, plain FROM agents WHERE org = ? AND name = ?", "it",
		       store->org, m->name);
	int r = kk_sql_step(store, stmt, err);
	bool is_plain;

	if (r < 0)
		return r;
	if (r == 0)
		return kk_err_set(err, EINVAL, "agent", "agent: there is no Agent \"%s\"", m->name);
	m->agent = sqlite3_column_int64(stmt, 0);
	is_plain = sqlite3_column_int(stmt, 1);
	kk_sql_done(stmt);
	row->snat |= is_plain;
	if (is_plain && row->n_members > 1)
		return kk_err_set(err, EINVAL, "agents",
				  "agents: the plain peer %s shares no service with others",
				  m->name);
	return 0;
}

int kk_members_find(struct kk_store *store, struct kk_service_row *row, struct kk_err *err)
{
	if (!row->n_members)
		return kk_err_set(err, EINVAL, "agent", "agent: a service needs one");
	/* An unknown Agent is a fault of the request, not of its path. */
	row->snat = false;
	for (size_t i = 0; i < row->n_members; i++) {
		int r = find(store, &row->members[i], row, err);

		if (r < 0)
			return r;
	}
	qsort(row->members, row->n_members, sizeof(row->members[0]), compare);
	for (size_t i = 1; i < row->n_members; i++)
		if (row->members[i].agent == row->members[i - 1].agent)
			return kk_err_set(err, EINVAL, "agent", "agent: %s is named twice",
					  row->members[i].name);
	return 0;
}

static bool has(const struct kk_service_row *row, int64_t agent)
{
	for (size_t i = 0; row && i < row->n_members; i++)
		if (row->members[i].agent == agent)
			return true;
	return false;
}

/* Touches only what differs, since each change is noted in the audit log. */
int kk_members_write(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err)
{
	static const char put[] =
		"INSERT INTO members (service, agent, org, protocol, port, last_port) "
		"VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (service, agent) DO UPDATE SET "
		"port = excluded.port, last_port = excluded.last_port, moving = 0";
	static const char list[] = "SELECT agent FROM members WHERE service = ?";
	static const char drop[] = "DELETE FROM members WHERE service = ? AND agent = ?";
	int64_t gone[KK_MEMBERS_MAX];
	sqlite3_stmt *stmt = kk_sql(store, err, list, "i", row->id);
	size_t n_gone = 0;
	int r;

	while ((r = kk_sql_step(store, stmt, err)) > 0)
		if (!has(row, sqlite3_column_int64(stmt, 0)) && n_gone < KK_MEMBERS_MAX)
			gone[n_gone++] = sqlite3_column_int64(stmt, 0);
	for (size_t i = 0; i < n_gone && r == 0; i++)
		r = kk_sql_run(store, err, drop, "ii", row->id, gone[i]);
	for (size_t i = 0; i < row->n_members && r == 0; i++)
		r = kk_sql_run(store, err, put, "iiiiii", row->id, row->members[i].agent,
			       store->org, (int64_t)row->protocol, (int64_t)row->agent_port,
			       (int64_t)(row->agent_port + row->last_port - row->port));
	return r;
}

int kk_members_note(struct kk_store *store, enum kk_op op, const struct kk_service_row *before,
		    const struct kk_service_row *after, struct kk_err *err)
{
	const int64_t id = after ? after->id : before->id;
	int r = kk_tx_change(store, KK_SERVICE, op, id, 0, err);

	for (size_t i = 0; after && i < after->n_members && r == 0; i++)
		r = kk_tx_change(store, KK_SERVICE,
				 has(before, after->members[i].agent) ? KK_SET : KK_ADD, id,
				 after->members[i].agent, err);
	for (size_t i = 0; before && i < before->n_members && r == 0; i++)
		if (!has(after, before->members[i].agent))
			r = kk_tx_change(store, KK_SERVICE, KK_REMOVE, id, before->members[i].agent,
					 err);
	return r;
}
