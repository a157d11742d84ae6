// SPDX-License-Identifier: MIT
#include "controld/store/sql.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Agents as "1:home,2:work" and rules as "+10.0.0.0/8,-10.1.0.0/16", so that a service is one row. */
#define SELECT                                                                                     \
	"SELECT s.id, s.name, s.protocol, s.address, s.port, s.last_port, s.agent_port, "          \
	"s.target, s.proxy_protocol, s.limit_packets, s.limit_connections, s.drain_until, "        \
	"s.generation, s.closed, (SELECT group_concat(m.agent || ':' || a.name) FROM members m "   \
	"JOIN agents a ON a.id = m.agent WHERE m.service = s.id), "                                \
	"(SELECT max(a.plain) FROM members m JOIN agents a ON a.id = m.agent "                     \
	"WHERE m.service = s.id), "                                                                \
	"(SELECT group_concat(substr('-+', r.allow + 1, 1) || r.prefix) FROM rules r "             \
	"WHERE r.service = s.id AND r.given) FROM services s "

static int compare_members(const void *a, const void *b)
{
	const struct kk_member *x = a, *y = b;

	return (x->agent > y->agent) - (x->agent < y->agent);
}

static void read_members(const char *text, struct kk_service_row *row)
{
	while (text && *text && row->n_members < KK_MEMBERS_MAX) {
		struct kk_member *m = &row->members[row->n_members++];
		char *name;

		m->agent = strtoll(text, &name, 10);
		name++;
		text = name + strcspn(name, ",");
		snprintf(m->name, sizeof(m->name), "%.*s", (int)(text - name), name);
		text += *text == ',';
	}
	qsort(row->members, row->n_members, sizeof(row->members[0]), compare_members);
}

int kk_service_rule_compare(const void *a, const void *b)
{
	const struct kk_service_rule *x = a, *y = b;
	int order = kk_address_compare(&x->prefix.addr, &y->prefix.addr);

	return order ? order : (int)x->prefix.len - (int)y->prefix.len;
}

static void read_rules(const char *text, struct kk_service_row *row)
{
	while (text && *text && row->n_rules < KK_SERVICE_RULES_MAX) {
		struct kk_service_rule *rule = &row->rules[row->n_rules++];
		size_t len = strcspn(text, ",");
		char prefix[KK_PREFIX_TEXT];

		rule->allow = *text == '+';
		snprintf(prefix, sizeof(prefix), "%.*s", (int)len - 1, text + 1);
		kk_parse_prefix("prefix", prefix, &rule->prefix, NULL);
		text += len;
		text += *text == ',';
	}
	qsort(row->rules, row->n_rules, sizeof(row->rules[0]), kk_service_rule_compare);
}

static void read_row(sqlite3_stmt *stmt, struct kk_service_row *row)
{
	*row = (struct kk_service_row){
		.id = sqlite3_column_int64(stmt, 0),
		.protocol = (uint8_t)sqlite3_column_int(stmt, 2),
		.address = kk_sql_address(stmt, 3),
		.port = (uint16_t)sqlite3_column_int(stmt, 4),
		.last_port = (uint16_t)sqlite3_column_int(stmt, 5),
		.agent_port = (uint16_t)sqlite3_column_int(stmt, 6),
		.proxy_protocol = sqlite3_column_int(stmt, 8),
		.limit_packets = (uint32_t)sqlite3_column_int64(stmt, 9),
		.limit_connections = (uint32_t)sqlite3_column_int64(stmt, 10),
		.drain_until = sqlite3_column_int64(stmt, 11),
		.generation = sqlite3_column_int64(stmt, 12),
		.closed = sqlite3_column_int(stmt, 13),
	};
	kk_sql_text(stmt, 1, row->name, sizeof(row->name));
	kk_sql_text(stmt, 7, row->target, sizeof(row->target));
	read_members((const char *)sqlite3_column_text(stmt, 14), row);
	row->snat = sqlite3_column_int(stmt, 15);
	read_rules((const char *)sqlite3_column_text(stmt, 16), row);
}

int kk_store_service_get(struct kk_store *store, const char *name, struct kk_service_row *ret,
			 struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err, SELECT "WHERE s.org = ? AND s.name = ?", "it", store->org, name);

	return kk_sql_named(kk_sql_one(store, stmt, read_row, ret, err), "service", name, err);
}

int kk_store_service_get_id(struct kk_store *store, int64_t id, struct kk_service_row *ret,
			    struct kk_err *err)
{
	sqlite3_stmt *stmt = kk_sql(store, err, SELECT "WHERE s.id = ?", "i", id);

	return kk_sql_numbered(kk_sql_one(store, stmt, read_row, ret, err), "service", id, err);
}

int kk_store_service_list(struct kk_store *store, int64_t agent,
			  int (*row)(const struct kk_service_row *row, void *userdata),
			  void *userdata, struct kk_err *err)
{
	sqlite3_stmt *stmt =
		agent ? kk_sql(store, err,
			       SELECT "WHERE s.id IN (SELECT service FROM members WHERE agent = ?) "
				      "ORDER BY s.id",
			       "i", agent)
		      : kk_sql(store, err, SELECT "WHERE s.org = ? ORDER BY s.id", "i", store->org);
	struct kk_service_row one;

	return kk_sql_each(store, stmt, read_row, one, row, userdata, err);
}

int kk_store_service_count(struct kk_store *store, int64_t *ret, struct kk_err *err)
{
	return kk_sql_number(store, ret, err, "SELECT count(*) FROM services WHERE org = ?", "i",
			     store->org);
}

static int check_name(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err)
{
	sqlite3_stmt *same =
		kk_sql(store, err, "SELECT id FROM services WHERE org = ? AND name = ?", "it",
		       store->org, row->name);

	return kk_sql_free(store, same, "a service", row->name, err);
}

/* An address of its own must be some gateway's. */
static int check_address(struct kk_store *store, const struct kk_service_row *row,
			 struct kk_err *err)
{
	char address[KK_ADDRESS_TEXT];
	int64_t n;
	int r;

	if (!row->address.family)
		return 0;
	kk_address_text(&row->address, address);
	r = kk_sql_number(store, &n, err,
			  "SELECT count(*) FROM gateway_addresses WHERE org = ? AND address = ?",
			  "it", store->org, address);
	if (r == 0 && !n)
		return kk_err_set(err, EINVAL, "address", "address: no gateway has the address %s",
				  address);
	return r;
}

static bool same_ports(const struct kk_service_row *a, const struct kk_service_row *b)
{
	return a->protocol == b->protocol && a->port == b->port && a->last_port == b->last_port &&
	       kk_address_equal(&a->address, &b->address);
}

static bool same_members(const struct kk_service_row *a, const struct kk_service_row *b)
{
	size_t found = 0;

	for (size_t i = 0; i < a->n_members; i++)
		for (size_t j = 0; j < b->n_members; j++)
			found += strcmp(a->members[i].name, b->members[j].name) == 0;
	return found == a->n_members && found == b->n_members;
}

static bool same_rules(const struct kk_service_row *a, const struct kk_service_row *b)
{
	if (a->n_rules != b->n_rules)
		return false;
	for (size_t i = 0; i < a->n_rules; i++)
		if (a->rules[i].allow != b->rules[i].allow ||
		    !kk_prefix_equal(&a->rules[i].prefix, &b->rules[i].prefix))
			return false;
	return true;
}

/* Of a plain peer the target is where its ports are. */
static bool same_target(const struct kk_service_row *a, const struct kk_service_row *b)
{
	return strcmp(a->target, b->target) == 0 && a->proxy_protocol == b->proxy_protocol;
}

bool kk_service_row_moves(const struct kk_service_row *before, const struct kk_service_row *after)
{
	return !same_ports(before, after) || !same_members(before, after) ||
	       (before->snat && !same_target(before, after));
}

bool kk_service_row_same(const struct kk_service_row *a, const struct kk_service_row *b)
{
	return !kk_service_row_moves(a, b) && strcmp(a->name, b->name) == 0 &&
	       strcmp(a->target, b->target) == 0 && a->proxy_protocol == b->proxy_protocol &&
	       a->limit_packets == b->limit_packets &&
	       a->limit_connections == b->limit_connections && a->closed == b->closed &&
	       same_rules(a, b);
}

/*
 * What of @row is to be found out, and what stands in its way. What is as it was in @before, if there is one, was
 * settled then.
 */
static int settle(struct kk_store *store, struct kk_service_row *row,
		  const struct kk_service_row *before, struct kk_err *err)
{
	int r = 0;

	if (row->last_port < row->port)
		row->last_port = row->port;
	row->generation = kk_tx_generation(store);
	if (before && !kk_service_row_moves(before, row)) {
		memcpy(row->members, before->members, sizeof(row->members));
		row->agent_port = before->agent_port;
		row->snat = before->snat;
		return 0;
	}
	r = kk_members_find(store, row, err);
	if (r == 0)
		r = check_address(store, row, err);
	if (r == 0)
		r = kk_ports_check(store, row, err);
	if (r < 0)
		return r;
	return row->snat ? kk_plain_settle(store, row, err) : kk_ports_choose(store, row, err);
}

static int write_parts(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err)
{
	int r = kk_members_write(store, row, err);

	return r < 0 ? r : kk_rules_write(store, row, err);
}

/* With id 0 it gets one. */
static int insert(struct kk_store *store, struct kk_service_row *row, struct kk_err *err)
{
	static const char sql[] =
		"INSERT INTO services (id, org, name, protocol, address, port, last_port, agent_port, "
		"target, proxy_protocol, limit_packets, limit_connections, drain_until, generation, "
		"closed) VALUES (nullif(?, 0), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
	char address[KK_ADDRESS_TEXT];
	int r = kk_sql_run(store, err, sql, "iititiiitiiiiii", row->id, store->org, row->name,
			   (int64_t)row->protocol, kk_address_text(&row->address, address),
			   (int64_t)row->port, (int64_t)row->last_port, (int64_t)row->agent_port,
			   row->target, (int64_t)row->proxy_protocol, (int64_t)row->limit_packets,
			   (int64_t)row->limit_connections, row->drain_until, row->generation,
			   (int64_t)row->closed);

	if (r < 0)
		return r;
	row->id = sqlite3_last_insert_rowid(store->db);
	return write_parts(store, row, err);
}

/* An index is written anew for every column that is named, whether it changes or not. */
static int update(struct kk_store *store, const struct kk_service_row *row,
		  const struct kk_service_row *before, struct kk_err *err)
{
	static const char all[] =
		"UPDATE services SET address = ?, port = ?, last_port = ?, agent_port = ?, moving = 0, "
		"target = ?, proxy_protocol = ?, limit_packets = ?, limit_connections = ?, "
		"drain_until = ?, generation = ?, closed = ? WHERE id = ?";
	static const char rest[] =
		"UPDATE services SET target = ?, proxy_protocol = ?, limit_packets = ?, "
		"limit_connections = ?, drain_until = ?, generation = ?, closed = ? WHERE id = ?";
	char address[KK_ADDRESS_TEXT];
	int r;

	if (!kk_service_row_moves(before, row))
		r = kk_sql_run(store, err, rest, "tiiiiiii", row->target,
			       (int64_t)row->proxy_protocol, (int64_t)row->limit_packets,
			       (int64_t)row->limit_connections, row->drain_until, row->generation,
			       (int64_t)row->closed, row->id);
	else
		r = kk_sql_run(store, err, all, "tiiitiiiiiii",
			       kk_address_text(&row->address, address), (int64_t)row->port,
			       (int64_t)row->last_port, (int64_t)row->agent_port, row->target,
			       (int64_t)row->proxy_protocol, (int64_t)row->limit_packets,
			       (int64_t)row->limit_connections, row->drain_until, row->generation,
			       (int64_t)row->closed, row->id);
	if (r == 0 && kk_service_row_moves(before, row))
		r = kk_members_write(store, row, err);
	if (r == 0 && !same_rules(before, row))
		r = kk_rules_write(store, row, err);
	return r;
}

static int add(struct kk_store *store, struct kk_service_row *row, struct kk_err *err)
{
	int r;

	row->id = 0;
	row->agent_port = 0;
	r = check_name(store, row, err);
	if (r == 0)
		r = settle(store, row, NULL, err);
	if (r == 0)
		r = insert(store, row, err);
	if (r == 0 && row->closed)
		r = kk_rules_follow(store, row->id, err);
	return r < 0 ? r : kk_members_note(store, KK_ADD, NULL, row, err);
}

int kk_store_service_add(struct kk_store *store, struct kk_service_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	return kk_tx_end(store, add(store, row, err), err);
}

/* What lets somebody in is not to vanish by the way. */
static int check_unused(struct kk_store *store, const struct kk_service_row *row,
			struct kk_err *err)
{
	sqlite3_stmt *stmt = kk_sql(
		store, err, "SELECT 'rule', name FROM access_rules WHERE service = ? LIMIT 1", "i",
		row->id);

	return kk_sql_unused(store, stmt, "service", row->name, err);
}

static int replace(struct kk_store *store, const struct kk_service_row *before,
		   struct kk_service_row *row, struct kk_err *err)
{
	int r;

	row->id = before->id;
	/* Where the public ports are others, the Agent's are to be those again, if they are free. */
	row->agent_port = row->port == before->port && row->last_port == before->last_port
				  ? before->agent_port
				  : 0;
	store->check_access |= before->closed && !row->closed;
	r = row->drain_until && !before->drain_until ? check_unused(store, before, err) : 0;
	if (r == 0)
		r = settle(store, row, before, err);
	if (r == 0)
		r = update(store, row, before, err);
	if (r == 0 && (row->closed || before->closed))
		r = kk_rules_follow(store, row->id, err);
	return r < 0 ? r : kk_members_note(store, KK_SET, before, row, err);
}

int kk_store_service_replace(struct kk_store *store, const struct kk_service_row *before,
			     struct kk_service_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	return kk_tx_end(store, replace(store, before, row, err), err);
}

int kk_store_service_set(struct kk_store *store, struct kk_service_row *row, struct kk_err *err)
{
	struct kk_service_row before;
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	r = kk_store_service_get_id(store, row->id, &before, err);
	if (r == 0)
		r = replace(store, &before, row, err);
	return kk_tx_end(store, r, err);
}

int kk_store_service_release(struct kk_store *store, int64_t id, struct kk_err *err)
{
	int r = kk_sql_run(store, err, "UPDATE services SET moving = id WHERE id = ?", "i", id);

	if (r == 0)
		r = kk_sql_run(store, err, "UPDATE members SET moving = service WHERE service = ?",
			       "i", id);
	store->released = true;
	return r;
}

/* Members, rules and bans go with it; nodes know that. */
static int remove_row(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err)
{
	int r = kk_sql_run(store, err, "DELETE FROM services WHERE id = ?", "i", row->id);

	return r < 0 ? r : kk_members_note(store, KK_REMOVE, row, NULL, err);
}

static int remove_service(struct kk_store *store, const char *name, struct kk_err *err)
{
	struct kk_service_row row;
	int r = kk_store_service_get(store, name, &row, err);

	if (r == 0)
		r = check_unused(store, &row, err);
	return r < 0 ? r : remove_row(store, &row, err);
}

int kk_store_service_remove(struct kk_store *store, const char *name, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	return kk_tx_end(store, remove_service(store, name, err), err);
}

static int restore(struct kk_store *store, int64_t id, struct kk_service_row *before,
		   struct kk_err *err)
{
	struct kk_service_row now;
	int found = kk_store_service_get_id(store, id, &now, NULL), r;

	if (found < 0 && found != -ENOENT)
		return kk_err_set(err, EIO, NULL, "the database failed");
	if (!before)
		return found < 0 ? 0 : remove_row(store, &now, err);
	r = found < 0 ? check_name(store, before, err) : 0;
	if (r == 0)
		r = settle(store, before, found < 0 ? NULL : &now, err);
	if (r == 0)
		r = found < 0 ? insert(store, before, err) : update(store, before, &now, err);
	if (r == 0)
		r = kk_rules_follow(store, before->id, err);
	if (r < 0)
		return r;
	return kk_members_note(store, found < 0 ? KK_ADD : KK_SET, found < 0 ? NULL : &now, before,
			       err);
}

int kk_store_service_restore(struct kk_store *store, int64_t id, struct kk_service_row *before,
			     struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	return kk_tx_end(store, restore(store, id, before, err), err);
}

/* ---- what ends by itself ---- */

int kk_store_service_expire(struct kk_store *store, int64_t now, char ret_name[KK_NAME_MAX + 1],
			    struct kk_err *err)
{
	static const char due[] = "SELECT org FROM services WHERE drain_until > 0 "
				  "AND drain_until <= ? LIMIT 1";
	struct kk_service_row row = {0};
	int64_t org, before;
	int r = kk_sql_number(store, &org, err, due, "i", now);

	if (r < 0)
		return r;
	before = kk_store_set_org(store, org);
	r = kk_tx_begin(store, err);
	if (r == 0) {
		r = kk_sql_one(store,
			       kk_sql(store, err,
				      SELECT "WHERE s.org = ? AND s.drain_until > 0 "
					     "AND s.drain_until <= ? LIMIT 1",
				      "ii", org, now),
			       read_row, &row, err);
		if (r == 0)
			r = remove_row(store, &row, err);
		r = kk_tx_end(store, r, err);
	}
	kk_store_set_org(store, before);
	if (r == 0)
		strcpy(ret_name, row.name);
	return r;
}

int kk_store_next_expiry(struct kk_store *store, int64_t *ret, struct kk_err *err)
{
	return kk_sql_number(store, ret, err,
			     "SELECT ifnull(min(at), 0) FROM ("
			     "SELECT min(drain_until) AS at FROM services WHERE drain_until > 0 "
			     "UNION ALL "
			     "SELECT min(expires_at) FROM bans WHERE expires_at > 0)",
			     "");
}
