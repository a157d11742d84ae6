// SPDX-License-Identifier: MIT
/* What gateways and Agents have alike: a key of their own, a WireGuard key, a join token. */
#include "controld/store/sql.h"

#include <errno.h>
#include <string.h>

static int set_key(struct kk_store *store, enum kk_kind role, int64_t id,
		   const uint8_t public_key[KK_KEY_LEN], struct kk_err *err)
{
	static const char gateway[] =
		"UPDATE gateways SET public_key = ?, generation = ? WHERE id = ?";
	static const char agent[] = "UPDATE agents SET public_key = ?, generation = ? WHERE id = ?";
	int r = kk_sql_run(store, err, role == KK_GATEWAY ? gateway : agent, "bii", public_key,
			   kk_tx_generation(store), id);

	return r < 0 ? r : kk_tx_change(store, role, KK_SET, id, 0, err);
}

/* Whose WireGuard key it is, 0 for nobody's. */
static int key_owner(struct kk_store *store, enum kk_kind role,
		     const uint8_t public_key[KK_KEY_LEN], int64_t *ret, struct kk_err *err)
{
	static const char gateway[] = "SELECT id FROM gateways WHERE public_key = ?";
	static const char agent[] = "SELECT id FROM agents WHERE public_key = ?";
	int r = kk_sql_number(store, ret, err, role == KK_GATEWAY ? gateway : agent, "b",
			      public_key);

	if (r == -ENOENT)
		*ret = r = 0;
	return r;
}

int kk_store_node_set_key(struct kk_store *store, enum kk_kind role, int64_t id,
			  const uint8_t public_key[KK_KEY_LEN], struct kk_err *err)
{
	enum kk_kind other = role == KK_GATEWAY ? KK_AGENT : KK_GATEWAY;
	int64_t owner = 0, stranger = 0;
	int r = key_owner(store, role, public_key, &owner, err);

	if (r == 0)
		r = key_owner(store, other, public_key, &stranger, err);
	if (r < 0 || (owner == id && !stranger))
		return r;
	/* Two peers with one key: WireGuard would know only one of them. */
	if (owner || stranger)
		return kk_err_set(err, EEXIST, "public_key",
				  "public_key: another node has this key");
	r = kk_tx_begin(store, err);
	if (r < 0)
		return r;
	return kk_tx_end(store, set_key(store, role, id, public_key, err), err);
}

static int take_keys(struct kk_store *store, enum kk_kind role, const char *name, int64_t *ret_id,
		     struct kk_err *err)
{
	static const char gateway[] = "UPDATE gateways SET key_hash = NULL WHERE id = ?";
	static const char agent[] = "UPDATE agents SET key_hash = NULL WHERE id = ?";
	static const char gateway_tokens[] =
		"DELETE FROM join_tokens WHERE gateway = ? AND uses <> 0";
	static const char agent_tokens[] = "DELETE FROM join_tokens WHERE agent = ? AND uses <> 0";
	struct kk_gateway_row g;
	struct kk_agent_row a;
	int64_t id;
	int r;

	r = role == KK_GATEWAY ? kk_store_gateway_get(store, name, &g, err)
			       : kk_store_agent_get(store, name, &a, err);
	if (r < 0)
		return r;
	id = role == KK_GATEWAY ? g.id : a.id;
	r = kk_sql_run(store, err, role == KK_GATEWAY ? gateway : agent, "i", id);
	/* Whoever is locked out must not have the next key in the pocket. */
	if (r == 0)
		r = kk_sql_run(store, err, role == KK_GATEWAY ? gateway_tokens : agent_tokens, "i",
			       id);
	if (r < 0)
		return r;
	if (ret_id)
		*ret_id = id;
	return set_key(store, role, id, NULL, err);
}

int kk_store_node_revoke(struct kk_store *store, enum kk_kind role, const char *name,
			 int64_t *ret_id, struct kk_err *err)
{
	int r = kk_tx_begin(store, err);

	if (r < 0)
		return r;
	return kk_tx_end(store, take_keys(store, role, name, ret_id, err), err);
}

static int find_in(struct kk_store *store, sqlite3_stmt *stmt, int64_t *ret_id,
		   char ret_name[KK_NAME_MAX + 1], struct kk_err *err)
{
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	*ret_id = sqlite3_column_int64(stmt, 0);
	kk_sql_text(stmt, 1, ret_name, KK_NAME_MAX + 1);
	kk_sql_done(stmt);
	return 0;
}

int kk_store_node_find(struct kk_store *store, const uint8_t key_hash[KK_HASH_LEN],
		       enum kk_kind *ret_role, int64_t *ret_id, char ret_name[KK_NAME_MAX + 1],
		       struct kk_err *err)
{
	int r;

	*ret_role = KK_GATEWAY;
	r = find_in(store,
		    kk_sql(store, err, "SELECT id, name FROM gateways WHERE key_hash = ?", "b",
			   key_hash),
		    ret_id, ret_name, err);
	if (r != -ENOENT)
		return r;
	*ret_role = KK_AGENT;
	r = find_in(
		store,
		kk_sql(store, err, "SELECT id, name FROM agents WHERE key_hash = ?", "b", key_hash),
		ret_id, ret_name, err);
	if (r == -ENOENT)
		return kk_err_set(err, EACCES, NULL, "the key is unknown or revoked");
	return r;
}
