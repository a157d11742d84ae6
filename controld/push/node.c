// SPDX-License-Identifier: MIT
/* One node's line: what it says, and what it is sent. */
#include "controld/event.h"
#include "controld/push/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/json.h"
#include "util/log.h"

#define PROTOCOL 1
/* A gateway reports of every Agent, 65,024 at most with some 120 bytes each. */
#define GATEWAY_MESSAGE_MAX (16u << 20)
#define AGENT_MESSAGE_MAX   (1u << 20)
#define GATEWAY_REPORT_MAX  (16u << 20)
#define AGENT_REPORT_MAX    (64u << 10)
#define PORTS_MAX	    (256u << 10) /* of "ports_in_use", which goes into the database */
#define QUEUE_MAX	    (128u << 20) /* a snapshot may have 64 MiB */
#define PING_S		    15
#define IDLE_S		    40
#define CLOSE_PROTOCOL	    1002 /* RFC 6455 section 7.4.1 */
#define CLOSE_INVALID	    1007
#define CLOSE_POLICY	    1008
#define CLOSE_INTERNAL	    1011

static const char *role_name(const struct kk_node *node)
{
	return node->role == KK_GATEWAY ? "gateway" : "Agent";
}

/* What happened to the node. */
#define node_event(priority, node, what, fmt, ...)                                                 \
	kk_event(priority,                                                                         \
		 (const struct kk_event_field[]){                                                  \
			 {"event", what},                                                          \
			 {(node)->role == KK_GATEWAY ? "gateway" : "agent", (node)->name},         \
			 {"from", (node)->from}},                                                  \
		 3, "%s %s " fmt, role_name(node), (node)->name, ##__VA_ARGS__)

/* Ends the line, with the reason for the node and the log; the node will connect again. */
static void hang_up(struct kk_node *node, unsigned int status, const char *reason)
{
	node_event(LOG_WARNING, node, "disconnected", "is disconnected: %s", reason);
	kk_node_disconnect(node, status, reason);
	kk_pending_check(node->push);
}

/* ---- what it is sent ---- */

void kk_node_update(struct kk_node *node)
{
	KK_CLEANUP_FREE char *own = NULL;
	struct kk_push *push = node->push;
	struct kk_message message = {0};
	struct kk_err err = {0};
	int64_t generation = 0;
	const char *text;
	size_t len;
	int r;

	kk_node_enter(node);
	r = kk_shared_message(push, node, &message, &generation, &err);
	text = message.text;
	own = message.own;
	if (r < 0) {
		hang_up(node, CLOSE_INTERNAL, err.msg[0] ? err.msg : strerror(-r));
		return;
	}
	node->dirty = node->self = false;
	if (!text) {
		json_decref(node->refused); /* what it refused is no more */
		node->refused = NULL;
		return;
	}
	len = strlen(text);
	node->sent = generation;
	push->messages++;
	push->bytes += len;
	push->handled += len;
	r = kk_ws_send(node->ws, text, len);
	/* A line that cannot take it ends, and tells so by its @closed. */
	if (r == -ENOMEM)
		hang_up(node, CLOSE_INTERNAL, "out of memory");
}

/* ---- what it says ---- */

struct hello {
	int64_t protocol, model, generation;
	const char *version, *epoch, *public_key;
};

static const struct kk_json_field hello_fields[] = {
	KK_JSON_FIELD("protocol", KK_JSON_INT, KK_JSON_REQUIRED, struct hello, protocol, .min = 1,
		      .max = INT64_MAX),
	KK_JSON_FIELD("model", KK_JSON_INT, 0, struct hello, model, .min = 1, .max = INT64_MAX),
	KK_JSON_FIELD("version", KK_JSON_STRING, 0, struct hello, version, .max = 64),
	KK_JSON_FIELD("epoch", KK_JSON_STRING, KK_JSON_NULLABLE, struct hello, epoch, .max = 64),
	KK_JSON_FIELD("generation", KK_JSON_INT, KK_JSON_REQUIRED, struct hello, generation,
		      .min = 0, .max = INT64_MAX),
	KK_JSON_FIELD("public_key", KK_JSON_STRING, KK_JSON_REQUIRED, struct hello, public_key,
		      .max = KK_KEY_BASE64_LEN),
};

static const uint8_t no_key[KK_KEY_LEN];

static void on_hello(struct kk_node *node, const json_t *msg)
{
	struct kk_store *store = node->push->store;
	struct hello hello = {.model = 1};
	uint8_t key[KK_KEY_LEN];
	struct kk_err err = {0};

	if (kk_json_read_lax(msg, hello_fields, ARRAY_SIZE(hello_fields), &hello, &err) < 0) {
		hang_up(node, CLOSE_INVALID, err.msg);
		return;
	}
	if (hello.protocol != PROTOCOL) {
		hang_up(node, CLOSE_PROTOCOL, "only protocol 1 is spoken here");
		return;
	}
	/* WireGuard takes a key of zeros for none. */
	if (kk_key_parse(hello.public_key, key) < 0 || !memcmp(key, no_key, KK_KEY_LEN)) {
		hang_up(node, CLOSE_INVALID, "public_key: not a WireGuard key");
		return;
	}
	memcpy(node->public_key, key, KK_KEY_LEN);
	node->ready = false;
	node->acked = 0;
	node->model = hello.model < KK_MODEL ? (int)hello.model : KK_MODEL;
	if (hello.epoch && strcmp(hello.epoch, kk_store_epoch(store)) == 0 &&
	    hello.generation <= kk_store_generation(store))
		node->acked = hello.generation;
	node_event(LOG_INFO, node, "connected", "is connected, version %s, generation %lld",
		   hello.version ? hello.version : "?", (long long)node->acked);
	node->sent = 0;
	kk_node_greeted(node);
}

void kk_node_welcome(struct kk_node *node, int r, const struct kk_err *err)
{
	if (!node->ws)
		return; /* gone meanwhile */
	if (r < 0) {
		hang_up(node, CLOSE_POLICY, err->msg);
		return;
	}
	node->ready = true;
	kk_node_due(node);
}

static void on_ack(struct kk_node *node, const json_t *msg)
{
	int64_t generation = json_integer_value(json_object_get(msg, "generation"));

	if (!node->sent || generation != node->sent) {
		hang_up(node, CLOSE_PROTOCOL, "acknowledged what it was not sent");
		return;
	}
	node->acked = generation;
	node->sent = 0;
	json_decref(node->refused);
	node->refused = NULL;
	if (node->dirty)
		kk_node_due(node);
	kk_pending_check(node->push);
}

struct nack {
	int64_t generation;
	const char *field, *message;
};

static const struct kk_json_field nack_fields[] = {
	KK_JSON_FIELD("generation", KK_JSON_INT, KK_JSON_REQUIRED, struct nack, generation,
		      .min = 0, .max = INT64_MAX),
	KK_JSON_FIELD("field", KK_JSON_STRING, KK_JSON_NULLABLE, struct nack, field),
	KK_JSON_FIELD("message", KK_JSON_STRING, KK_JSON_NULLABLE, struct nack, message),
};

static void on_nack(struct kk_node *node, const json_t *msg)
{
	struct nack nack = {.field = "", .message = "no reason was given"};
	struct kk_err err = {0}, why = {0};

	if (kk_json_read_lax(msg, nack_fields, ARRAY_SIZE(nack_fields), &nack, &err) < 0) {
		hang_up(node, CLOSE_INVALID, err.msg);
		return;
	}
	if (!node->sent || nack.generation != node->sent) {
		hang_up(node, CLOSE_PROTOCOL, "rejected what it was not sent");
		return;
	}
	node_event(LOG_WARNING, node, "rejected", "rejects generation %lld: %s",
		   (long long)nack.generation, nack.message);
	node->sent = 0;
	json_decref(node->refused);
	node->refused = json_pack("{s:I, s:s, s:s}", "generation", (json_int_t)nack.generation,
				  "field", nack.field, "message", nack.message);
	kk_err_set(&why, EEXIST, nack.field, "%s %s refuses it: %s", role_name(node), node->name,
		   nack.message);
	kk_node_enter(node);
	kk_pending_undo(node->push, node, node->acked, nack.generation, &why);
	if (node->dirty)
		kk_node_due(node);
}

/* What it says of itself is kept until it says something else, so there is a bound to it. */
static void on_report(struct kk_node *node, const json_t *msg, const char *text, size_t len)
{
	size_t max = node->role == KK_GATEWAY ? GATEWAY_REPORT_MAX : AGENT_REPORT_MAX;
	json_t *ports = json_object_get(msg, "ports_in_use");
	KK_CLEANUP_FREE char *list = NULL;

	if (len > max) {
		kk_warn("%s %s: a report of %zu bytes is passed over, %zu are the most",
			role_name(node), node->name, len, max);
		return;
	}
	if (kk_report_keep(&node->report, text, len) < 0)
		kk_warn("%s %s: its report is not kept: out of memory", role_name(node),
			node->name);
	if (node->role != KK_GATEWAY || !json_is_array(ports))
		return;
	list = kk_json_text(ports);
	if (list && strlen(list) <= PORTS_MAX)
		kk_store_gateway_set_ports(node->push->store, node->id, list, NULL);
}

static void on_message(struct kk_ws *ws, const char *text, size_t len, void *userdata)
{
	struct kk_node *node = userdata;
	struct kk_err err = {0};
	KK_CLEANUP_JSON json_t *msg = kk_json_parse(text, len, &err);
	const char *type = json_string_value(json_object_get(msg, "type"));

	(void)ws;
	node->push->handled += len;
	if (!type)
		hang_up(node, CLOSE_INVALID, msg ? "a message without a type" : err.msg);
	else if (strcmp(type, "hello") == 0)
		on_hello(node, msg);
	else if (!node->ready && !node->greeting)
		hang_up(node, CLOSE_PROTOCOL, "hello comes first");
	else if (strcmp(type, "ack") == 0)
		on_ack(node, msg);
	else if (strcmp(type, "nack") == 0)
		on_nack(node, msg);
	else if (strcmp(type, "report") == 0)
		on_report(node, msg, text, len);
	else
		kk_debug("%s %s: a message of the unknown type %.32s is passed over",
			 role_name(node), node->name, type);
}

/* ---- its line ---- */

static ssize_t line_recv(void *buf, size_t len, void *userdata)
{
	struct kk_node *node = userdata;

	return kk_httpd_upgrade_recv(node->connection, buf, len);
}

static ssize_t line_send(const void *buf, size_t len, void *userdata)
{
	struct kk_node *node = userdata;

	return kk_httpd_upgrade_send(node->connection, buf, len);
}

static void on_closed(struct kk_ws *ws, const char *reason, void *userdata)
{
	struct kk_node *node = userdata;

	(void)ws;
	node_event(LOG_INFO, node, "disconnected", "is disconnected: %s", reason);
	kk_node_disconnect(node, 0, NULL);
	kk_pending_check(node->push);
}

int kk_node_connect(struct kk_node *node, struct kk_httpd_upgrade *connection, int fd)
{
	struct kk_ws_config config = {
		.server = true,
		.fd = fd,
		.poll = node->push->poll,
		.recv = line_recv,
		.send = line_send,
		.message_max = node->role == KK_GATEWAY ? GATEWAY_MESSAGE_MAX : AGENT_MESSAGE_MAX,
		.queue_max = QUEUE_MAX,
		.ping_s = PING_S,
		.idle_s = IDLE_S,
		.message = on_message,
		.closed = on_closed,
		.userdata = node,
	};
	int r;

	node->fd = fd;
	node->connection = connection;
	r = kk_ws_new(node->push->event, &config, &node->ws);
	if (r < 0)
		kk_node_disconnect(node, 0, NULL);
	return r;
}

void kk_node_disconnect(struct kk_node *node, unsigned int status, const char *reason)
{
	if (node->ws && reason)
		kk_ws_close(node->ws, status, reason);
	kk_ws_free(node->ws);
	kk_httpd_upgrade_close(node->connection);
	node->ws = NULL;
	node->connection = NULL;
	node->fd = -1;
	if (node->greeting)
		TAILQ_REMOVE(&node->push->greeting, node, greeting_link);
	node->greeting = node->ready = node->dirty = false;
	node->acked = node->sent = 0;
	json_decref(node->refused);
	node->refused = NULL;
}
