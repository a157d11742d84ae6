// SPDX-License-Identifier: MIT
/* Join tokens: bound to one node, good for one join, until a time. */
#include "controld/store/sql.h"

#include <errno.h>

#define REMEMBERED_S (7 * 86400) /* after its end, to say what became of it */

int kk_store_token_add(struct kk_store *store, const uint8_t secret_hash[KK_HASH_LEN],
		       struct kk_token_row *row, struct kk_err *err)
{
	static const char gateway[] =
		"INSERT INTO join_tokens (gateway, secret_hash, expires_at) VALUES (?, ?, ?)";
	static const char agent[] =
		"INSERT INTO join_tokens (agent, secret_hash, expires_at) VALUES (?, ?, ?)";
	static const char find_gateway[] = "SELECT id FROM gateways WHERE name = ?";
	static const char find_agent[] = "SELECT id FROM agents WHERE name = ?";
	bool is_gateway = row->role == KK_GATEWAY;
	int64_t id;
	int r = kk_sql_number(store, &id, err, is_gateway ? find_gateway : find_agent, "t",
			      row->node);

	if (r == -ENOENT)
		return kk_err_set(err, EINVAL, "node", "node: there is no %s \"%s\"",
				  is_gateway ? "gateway" : "Agent", row->node);
	if (r == 0)
		r = kk_sql_run(store, err, is_gateway ? gateway : agent, "ibi", id, secret_hash,
			       row->expires_at);
	if (r < 0)
		return r;
	row->id = sqlite3_last_insert_rowid(store->db);
	return 0;
}

int kk_store_token_list(struct kk_store *store, int64_t now,
			int (*row)(const struct kk_token_row *row, void *userdata), void *userdata,
			struct kk_err *err)
{
	static const char select[] =
		"SELECT t.id, t.gateway IS NULL, ifnull(g.name, a.name), t.expires_at "
		"FROM join_tokens t LEFT JOIN gateways g ON g.id = t.gateway "
		"LEFT JOIN agents a ON a.id = t.agent "
		"WHERE NOT t.used AND t.expires_at > ? ORDER BY t.id";
	sqlite3_stmt *stmt = kk_sql(store, err, select, "i", now);
	int r;

	while ((r = kk_sql_step(store, stmt, err)) > 0) {
		struct kk_token_row one = {
			.id = sqlite3_column_int64(stmt, 0),
			.role = sqlite3_column_int(stmt, 1) ? KK_AGENT : KK_GATEWAY,
			.expires_at = sqlite3_column_int64(stmt, 3),
		};

		kk_sql_text(stmt, 2, one.node, sizeof(one.node));
		r = row(&one, userdata);
		if (r) {
			kk_sql_done(stmt);
			return r;
		}
	}
	return r;
}

int kk_store_token_remove(struct kk_store *store, int64_t id, struct kk_err *err)
{
	int r = kk_sql_run(store, err, "DELETE FROM join_tokens WHERE id = ?", "i", id);

	if (r == 0 && sqlite3_changes(store->db) == 0)
		return kk_err_set(err, ENOENT, NULL, "there is no join token %lld", (long long)id);
	return r;
}

struct token {
	int64_t id, gateway, agent, expires_at;
	bool used;
};

static int find(struct kk_store *store, const uint8_t secret_hash[KK_HASH_LEN], int64_t now,
		struct token *ret, struct kk_err *err)
{
	sqlite3_stmt *stmt = kk_sql(store, err,
				    "SELECT id, gateway, agent, expires_at, used FROM join_tokens "
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
		.used = sqlite3_column_int(stmt, 4),
	};
	kk_sql_done(stmt);
	if (ret->used)
		return kk_err_set(err, EACCES, "token", "token: it was used already");
	if (ret->expires_at <= now)
		return kk_err_set(err, EACCES, "token", "token: it has expired");
	return 0;
}

static int spend(struct kk_store *store, const uint8_t secret_hash[KK_HASH_LEN],
		 const uint8_t key_hash[KK_HASH_LEN], int64_t now, struct token *token,
		 struct kk_err *err)
{
	static const char gateway[] = "UPDATE gateways SET key_hash = ? WHERE id = ?";
	static const char agent[] = "UPDATE agents SET key_hash = ? WHERE id = ?";
	int r = find(store, secret_hash, now, token, err);

	if (r < 0)
		return r;
	r = kk_sql_run(store, err, "UPDATE join_tokens SET used = 1 WHERE id = ?", "i", token->id);
	if (r == 0)
		r = kk_sql_run(store, err, token->gateway ? gateway : agent, "bi", key_hash,
			       token->gateway ? token->gateway : token->agent);
	if (r == 0)
		r = kk_sql_run(store, err, "DELETE FROM join_tokens WHERE expires_at < ?", "i",
			       now - REMEMBERED_S);
	return r;
}

int kk_store_token_spend(struct kk_store *store, const uint8_t secret_hash[KK_HASH_LEN],
			 const uint8_t key_hash[KK_HASH_LEN], int64_t now, enum kk_kind *ret_role,
			 int64_t *ret_id, char ret_name[KK_NAME_MAX + 1], struct kk_err *err)
{
	struct token token = {0};
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	r = kk_tx_end(store, spend(store, secret_hash, key_hash, now, &token, err), err);
	if (r < 0)
		return r;
	return kk_store_node_find(store, key_hash, ret_role, ret_id, ret_name, err);
}
