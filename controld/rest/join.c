// SPDX-License-Identifier: MIT
/* How a node comes in: once with a token, from then on with its key. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controld/event.h"
#include "controld/rest/call.h"
#include "controld/secret.h"
#include "util/log.h"

struct fields {
	const char *secret, *version;
};

static const struct kk_json_field join_fields[] = {
	KK_JSON_FIELD("secret", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, secret, .min = 1,
		      .max = KK_SECRET_LEN - 1),
	KK_JSON_FIELD("version", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, version,
		      .max = 64),
};

int kk_join(struct kk_call *call)
{
	uint8_t secret_hash[KK_HASH_LEN], key_hash[KK_HASH_LEN];
	char name[KK_NAME_MAX + 1], key[KK_SECRET_LEN];
	struct kk_store *store = call->control->store;
	struct fields f = {0};
	enum kk_kind role;
	json_t *answer;
	int64_t id;
	int r = kk_json_read(call->body, join_fields, ARRAY_SIZE(join_fields), &f, &call->err);

	if (r < 0)
		return r;
	r = kk_secret_hash(f.secret, secret_hash);
	if (r == 0)
		r = kk_secret_make(KK_NODE_PREFIX, key, key_hash);
	if (r < 0)
		return kk_err_set(&call->err, -r, NULL, "no key could be made");
	r = kk_store_token_spend(store, secret_hash, key_hash, time(NULL), kk_httpd_peer(call->req),
				 &role, &id, name, &call->err);
	if (r < 0)
		return r;
	kk_event(LOG_INFO,
		 (const struct kk_event_field[]){{"event", "joined"},
						 {role == KK_GATEWAY ? "gateway" : "agent", name},
						 {"from", kk_call_from(call)}},
		 3, "%s %s has joined, version %s", role == KK_GATEWAY ? "gateway" : "Agent", name,
		 f.version);
	kk_push_drop(call->control->push, role, id, "joined anew with another key");
	answer = json_pack("{s:s, s:I, s:s, s:s, s:s}", "role",
			   role == KK_GATEWAY ? "gateway" : "agent", "id", (json_int_t)id, "name",
			   name, "key", key, "epoch", kk_store_epoch(store));
	explicit_bzero(key, sizeof(key));
	return kk_call_answer(call, 200, answer);
}

/* ---- the WebSocket ---- */

struct opening {
	struct kk_control *control;
	uint8_t key_hash[KK_HASH_LEN];
	char from[INET6_ADDRSTRLEN];
};

static void on_opened(struct kk_httpd_upgrade *connection, int fd, void *userdata)
{
	struct opening *o = userdata;
	char name[KK_NAME_MAX + 1];
	enum kk_kind role;
	int64_t id;

	/* The key may have been revoked between the request and now. */
	if (connection && o->control->push &&
	    kk_store_node_find(o->control->store, o->key_hash, &role, &id, name, NULL) == 0)
		kk_push_open(o->control->push, role, id, o->from, connection, fd);
	else if (connection)
		kk_httpd_upgrade_close(connection);
	free(o);
}

void kk_node_open(struct kk_control *control, struct kk_httpd_request *req,
		  const uint8_t key_hash[KK_HASH_LEN])
{
	struct opening *o = calloc(1, sizeof(*o));

	if (!o) {
		kk_rest_answer(req, 500, NULL);
		return;
	}
	o->control = control;
	memcpy(o->key_hash, key_hash, KK_HASH_LEN);
	snprintf(o->from, sizeof(o->from), "%s", kk_httpd_peer(req));
	if (kk_httpd_upgrade(req, on_opened, o) < 0)
		free(o);
}
