// SPDX-License-Identifier: MIT
/*
 * Join tokens, until a time: bound to one node and good for one join, or for any number of Agents that are made
 * when they join.
 */
#include "controld/store/sql.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REMEMBERED_S (7 * 86400) /* after its end, to say what became of it */

/* The node that the token is for; -EINVAL if there is none. */
static int find_node(struct kk_store *store, const struct kk_token_row *row, int64_t *ret,
		     struct kk_err *err)
{
	static const char gateway[] = "SELECT id FROM gateways WHERE org = ? AND name = ?";
	static const char agent[] =
		"SELECT id FROM agents WHERE org = ? AND name = ? AND plain = 0";
	bool is_gateway = row->role == KK_GATEWAY;
	int r = kk_sql_number(store, ret, err, is_gateway ? gateway : agent, "it", store->org,
			      row->node);

	if (r == -ENOENT)
		return kk_err_set(err, EINVAL, "node", "node: there is no %s \"%s\"",
				  is_gateway ? "gateway" : "Agent", row->node);
	return r;
}

static int add(struct kk_store *store, const uint8_t secret_hash[KK_HASH_LEN],
	       struct kk_token_row *row, struct kk_err *err)
{
	static const char insert[] =
		"INSERT INTO join_tokens (org, gateway, agent, prefix, uses, secret_hash, "
		"expires_at) VALUES (?, nullif(?, 0), nullif(?, 0), ?, ?, ?, ?)";
	int64_t id = 0;
	int r = row->prefix[0] ? 0 : find_node(store, row, &id, err);

	if (r == 0)
		r = kk_sql_run(
			store, err, insert, "iiitibi", store->org, row->role == KK_GATEWAY ? id : 0,
			row->role == KK_AGENT ? id : 0, row->prefix[0] ? row->prefix : NULL,
			row->prefix[0] ? row->uses : (int64_t)1, secret_hash, row->expires_at);
	if (r < 0)
		return r;
	row->id = sqlite3_last_insert_rowid(store->db);
	return 0;
}

int kk_store_token_add(struct kk_store *store, const uint8_t secret_hash[KK_HASH_LEN],
		       struct kk_token_row *row, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, add(store, secret_hash, row, err), err);
}

static void read_row(sqlite3_stmt *stmt, struct kk_token_row *row)
{
	row->id = sqlite3_column_int64(stmt, 0);
	row->role = sqlite3_column_int(stmt, 1) ? KK_AGENT : KK_GATEWAY;
	kk_sql_text(stmt, 2, row->node, sizeof(row->node));
	row->expires_at = sqlite3_column_int64(stmt, 3);
	kk_sql_text(stmt, 4, row->prefix, sizeof(row->prefix));
	row->uses = sqlite3_column_int64(stmt, 5);
}

int kk_store_token_list(struct kk_store *store, int64_t now,
			int (*row)(const struct kk_token_row *row, void *userdata), void *userdata,
			struct kk_err *err)
{
	static const char select[] =
		"SELECT t.id, t.gateway IS NULL, ifnull(g.name, a.name), t.expires_at, t.prefix, "
		"t.uses FROM join_tokens t LEFT JOIN gateways g ON g.id = t.gateway "
		"LEFT JOIN agents a ON a.id = t.agent "
		"WHERE t.org = ? AND t.uses <> 0 AND t.expires_at > ? ORDER BY t.id";
	sqlite3_stmt *stmt = kk_sql(store, err, select, "ii", store->org, now);
	struct kk_token_row one;

	return kk_sql_each(store, stmt, read_row, one, row, userdata, err);
}

static int remove_token(struct kk_store *store, int64_t id, struct kk_err *err)
{
	int r = kk_sql_run(store, err, "DELETE FROM join_tokens WHERE org = ? AND id = ?", "ii",
			   store->org, id);

	if (r == 0 && sqlite3_changes(store->db) == 0)
		return kk_err_set(err, ENOENT, NULL, "there is no join token %lld", (long long)id);
	return r;
}

int kk_store_token_remove(struct kk_store *store, int64_t id, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	return r < 0 ? r : kk_tx_end(store, remove_token(store, id, err), err);
}

struct token {
	int64_t id, org, gateway, agent, expires_at, uses;
	char prefix[KK_NAME_MAX + 1];
};

static int find(struct kk_store *store, const uint8_t secret_hash[KK_HASH_LEN], int64_t now,
		struct token *ret, struct kk_err *err)
{
	sqlite3_stmt *stmt =
		kk_sql(store, err,
		       "SELECT id, gateway, agent, expires_at, uses, org, prefix FROM join_tokens "
		       "WHERE secret_hash = ?",
		       "b", secret_hash);
	int r = kk_sql_step(store, stmt, err);

	if (r < 0)
		return r;
	if (r == 0)
		return kk_err_set(err, EACCES, "token", "token: it is unknown, or was removed");
	*ret = (struct token){
		.id = sqlite3_column_int64(stmt, 0),
		.gateway = sqlite3_column_int64(stmt, 1),
		.agent = sqlite3_column_int64(stmt, 2),
		.expires_at = sqlite3_column_int64(stmt, 3),
		.uses = sqlite3_column_int64(stmt, 4),
		.org = sqlite3_column_int64(stmt, 5),
	};
	kk_sql_text(stmt, 6, ret->prefix, sizeof(ret->prefix));
	kk_sql_done(stmt);
	if (!ret->uses)
		return kk_err_set(err, EACCES, "token", "token: it was used already");
	if (ret->expires_at <= now)
		return kk_err_set(err, EACCES, "token", "token: it has expired");
	return 0;
}

/* Makes the Agent that joins, PREFIX-N with the token's own count where that is free. */
static int make_agent(struct kk_store *store, struct token *token, struct kk_err *err)
{
	static const char count[] = "SELECT count(*) FROM agents WHERE org = ?1 AND name LIKE ?2";
	struct kk_agent_row row = {0};
	char pattern[KK_NAME_MAX + 4];
	int64_t n = 0;
	int r;

	snprintf(pattern, sizeof(pattern), "%s-%%", token->prefix);
	r = kk_sql_number(store, &n, err, count, "it", store->org, pattern);
	if (r < 0)
		return r;
	do {
		int64_t other;

		if (snprintf(row.name, sizeof(row.name), "%.*s-%lld", KK_PREFIX_MAX, token->prefix,
			     (long long)++n) >= (int)sizeof(row.name))
			return kk_err_set(err, ENOSPC, NULL, "no name is left for another Agent");
		/* A peer may have the name as well. */
		r = kk_sql_number(store, &other, NULL,
				  "SELECT id FROM agents WHERE org = ? AND name = ?", "it",
				  store->org, row.name);
	} while (r == 0);
	if (r == -ENOENT)
		r = kk_store_agent_add(store, &row, err);
	token->agent = row.id;
	return r;
}

static int spend(struct kk_store *store, const uint8_t secret_hash[KK_HASH_LEN],
		 const uint8_t key_hash[KK_HASH_LEN], int64_t now, const char *from,
		 struct token *token, struct kk_err *err)
{
	static const char gateway[] = "UPDATE gateways SET key_hash = ? WHERE id = ?";
	static const char agent[] = "UPDATE agents SET key_hash = ? WHERE id = ?";
	char who[48];
	int r = find(store, secret_hash, now, token, err);

	if (r < 0)
		return r;
	snprintf(who, sizeof(who), "join token %lld", (long long)token->id);
	kk_store_enter(store, token->org, who, from);
	if (token->prefix[0])
		r = make_agent(store, token, err);
	if (r == 0 && token->uses > 0)
		r = kk_sql_run(store, err, "UPDATE join_tokens SET uses = uses - 1 WHERE id = ?",
			       "i", token->id);
	if (r == 0)
		r = kk_sql_run(store, err, token->gateway ? gateway : agent, "bi", key_hash,
			       token->gateway ? token->gateway : token->agent);
	if (r == 0)
		r = kk_sql_run(store, err, "DELETE FROM join_tokens WHERE expires_at < ?", "i",
			       now - REMEMBERED_S);
	return r;
}

int kk_store_token_spend(struct kk_store *store, const uint8_t secret_hash[KK_HASH_LEN],
			 const uint8_t key_hash[KK_HASH_LEN], int64_t now, const char *from,
			 enum kk_kind *ret_role, int64_t *ret_id, char ret_name[KK_NAME_MAX + 1],
			 struct kk_err *err)
{
	struct token token = {0};
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	r = kk_tx_end(store, spend(store, secret_hash, key_hash, now, from, &token, err), err);
	if (r < 0)
		return r;
	return kk_store_node_find(store, key_hash, ret_role, ret_id, ret_name, err);
}
