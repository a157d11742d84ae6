// SPDX-License-Identifier: MIT
#include "agentd/relay/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "util/encode.h"
#include "util/json.h"
#include "util/parse.h"

#define ID_MAX INT64_C(0x7fffffffffffffff)

struct request {
	const char *op, *name, *protocol, *target;
	int64_t service, port, last_port, sockets;
	bool proxy_protocol, shared;
	json_t *names;
};

#define FIELD(name, type, flags, ...)                                                              \
	KK_JSON_FIELD(#name, type, flags, struct request, name, ##__VA_ARGS__)
#define OP	FIELD(op, KK_JSON_STRING, KK_JSON_REQUIRED, .max = 16)
#define SERVICE FIELD(service, KK_JSON_INT, KK_JSON_REQUIRED, .min = 0, .max = ID_MAX)
#define TARGET	FIELD(target, KK_JSON_STRING, KK_JSON_REQUIRED, .min = 1, .max = KK_TARGET_MAX - 1)
#define PROXY	FIELD(proxy_protocol, KK_JSON_BOOL, 0)
#define SHARED	FIELD(shared, KK_JSON_BOOL, 0)

static const struct kk_json_field listen_fields[] = {
	OP,
	SERVICE,
	TARGET,
	PROXY,
	SHARED,
	FIELD(name, KK_JSON_STRING, KK_JSON_REQUIRED, .min = 1, .max = KK_NAME_MAX),
	FIELD(protocol, KK_JSON_STRING, KK_JSON_REQUIRED, .max = 8),
	FIELD(port, KK_JSON_INT, KK_JSON_REQUIRED, .min = 1, .max = 65535),
	FIELD(last_port, KK_JSON_INT, 0, .min = 1, .max = 65535),
	FIELD(sockets, KK_JSON_INT, 0, .min = 1, .max = 2 * 65535),
};
static const struct kk_json_field add_fields[] = {OP, SERVICE};
static const struct kk_json_field set_fields[] = {OP, SERVICE, TARGET, PROXY, SHARED};
static const struct kk_json_field unlisten_fields[] = {OP, SERVICE};
static const struct kk_json_field gateways_fields[] = {OP,
						       FIELD(names, KK_JSON_ANY, KK_JSON_REQUIRED)};
static const struct kk_json_field list_fields[] = {
	OP,
	KK_JSON_FIELD("after_service", KK_JSON_INT, 0, struct request, service, .min = -1,
		      .max = ID_MAX),
};
static const struct kk_json_field plain_fields[] = {OP};

/* Operations fill @answer and return 0, or a negative errno with @err. */
struct operation {
	const char *name;
	bool trusted;
	const struct kk_json_field *fields;
	size_t n_fields;
	int (*run)(struct relay *relay, const struct request *r, struct request_fds *fds,
		   json_t *answer, struct kk_err *err);
};

static int protocol_of(const char *text, uint8_t *ret, struct kk_err *err)
{
	if (strcmp(text, "tcp") == 0)
		*ret = IPPROTO_TCP;
	else if (strcmp(text, "udp") == 0)
		*ret = IPPROTO_UDP;
	else
		return kk_err_set(err, EINVAL, "protocol",
				  "protocol: \"%s\" is neither tcp nor udp", text);
	return 0;
}

/* All of the message's sockets, or none: then they are the caller's again. */
static int add_ports(struct listener *l, struct request_fds *fds, struct kk_err *err)
{
	if (!fds->n)
		return kk_err_set(err, EINVAL, "socket", "a socket must come with the message");
	for (size_t i = 0; i < fds->n; i++) {
		int r = listener_add_port(l, fds->fd[i], err);

		if (r < 0) {
			/* Those before are the listener's, and closed with it. */
			memmove(fds->fd, fds->fd + i, (fds->n - i) * sizeof(fds->fd[0]));
			fds->n -= i;
			return r;
		}
	}
	fds->n = 0;
	return 0;
}

static int make_listener(struct relay *relay, const struct request *q, uint8_t protocol,
			 struct target *target, struct listener **ret, struct kk_err *err)
{
	uint16_t last = (uint16_t)(q->last_port ? q->last_port : q->port);
	struct listener *l;
	int r;

	if (last < q->port)
		return kk_err_set(err, EINVAL, "last_port", "last_port: is below port");
	r = listener_new(relay, protocol, (uint16_t)q->port, last,
			 q->sockets ? (size_t)q->sockets : 1, &l, err);
	if (r < 0)
		return r;
	l->service = q->service;
	l->target = target_get(target);
	l->proxy_protocol = q->proxy_protocol;
	snprintf(l->name, sizeof(l->name), "%s", q->name);
	*ret = l;
	return 0;
}

static int op_listen(struct relay *relay, const struct request *q, struct request_fds *fds,
		     json_t *answer, struct kk_err *err)
{
	struct target *target;
	struct listener *l = NULL;
	uint8_t protocol = 0;
	int r = protocol_of(q->protocol, &protocol, err);

	(void)answer;
	if (r == 0)
		r = kk_parse_name("name", q->name, err);
	if (r == 0)
		r = target_new(&relay->loop, relay->resolver, q->target, &target, err);
	if (r < 0)
		return r;
	r = make_listener(relay, q, protocol, target, &l, err);
	target_put(target);
	if (r < 0)
		return r;
	r = listeners_add(&relay->listeners, l, err);
	if (r < 0) {
		listener_put(l);
		return r;
	}
	r = add_ports(l, fds, err);
	if (r < 0)
		listeners_del(&relay->listeners, l);
	else
		watch_set(l, q->shared);
	return r;
}

static int op_add(struct relay *relay, const struct request *q, struct request_fds *fds,
		  json_t *answer, struct kk_err *err)
{
	struct listener *l = listeners_find(&relay->listeners, q->service);

	(void)answer;
	if (!l)
		return kk_err_set(err, ENOENT, "service", "service %" PRId64 " is not served here",
				  q->service);
	return add_ports(l, fds, err);
}

static int op_set(struct relay *relay, const struct request *q, struct request_fds *fds,
		  json_t *answer, struct kk_err *err)
{
	struct listener *l = listeners_find(&relay->listeners, q->service);
	struct target *target;
	int r;

	(void)fds;
	(void)answer;
	if (!l)
		return kk_err_set(err, ENOENT, "service", "service %" PRId64 " is not served here",
				  q->service);
	r = target_new(&relay->loop, relay->resolver, q->target, &target, err);
	if (r < 0)
		return r;
	watch_stop(l);
	target_put(l->target);
	l->target = target;
	watch_set(l, q->shared);
	l->proxy_protocol = q->proxy_protocol;
	if (!l->watch.down)
		l->error[0] = '\0';
	return 0;
}

static int op_unlisten(struct relay *relay, const struct request *q, struct request_fds *fds,
		       json_t *answer, struct kk_err *err)
{
	struct listener *l = listeners_find(&relay->listeners, q->service);

	(void)fds;
	(void)answer;
	if (!l)
		return kk_err_set(err, ENOENT, "service", "service %" PRId64 " is not served here",
				  q->service);
	listeners_del(&relay->listeners, l);
	return 0;
}

/* @key: a gateway's, in hex. */
static int check_name(const char *key, const json_t *name, struct kk_err *err)
{
	uint8_t binary[KK_KEY_LEN];

	if (kk_unhex(key, binary, sizeof(binary)) < 0)
		return kk_err_set(err, EINVAL, "names", "names: \"%.80s\" is not a key in hex",
				  key);
	if (!json_is_string(name))
		return kk_err_set(err, EINVAL, "names", "names: a name is a text");
	return kk_parse_name("names", json_string_value(name), err);
}

static int op_gateways(struct relay *relay, const struct request *q, struct request_fds *fds,
		       json_t *answer, struct kk_err *err)
{
	const char *key;
	json_t *name;
	int r = 0;

	(void)answer;
	if (fds->n != 1)
		return kk_err_set(err, EINVAL, "socket", "a socket must come with the message");
	if (!json_is_object(q->names))
		return kk_err_set(err, EINVAL, "names", "names: is not an object");
	json_object_foreach(q->names, key, name) {
		r = check_name(key, name, err);
		if (r < 0)
			return r;
	}
	r = origins_set(&relay->origins, fds->fd[0], q->names, err);
	if (r == 0)
		fds->n = 0;
	return r;
}

/* Of the namespace that the socket is in; 0 where the kernel does not tell. */
static json_int_t netns_of(const struct listener *l)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (!l->n_ports ||
	    getsockopt(l->ports[0].fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
		return 0;
	return (json_int_t)cookie;
}

/* Of the first port, one of each family that it is served on. */
static json_t *addresses_of(const struct listener *l)
{
	json_t *list = json_array();
	char text[KK_ADDRESS_TEXT];

	for (size_t i = 0; list && i < l->n_ports; i++) {
		const struct kk_address address = kk_sockaddr_address(&l->ports[i].bound);

		if (l->ports[i].number == l->port)
			json_array_append_new(list, json_string(kk_address_text(&address, text)));
	}
	return list;
}

static json_t *describe(const struct listener *l)
{
	const char *error = l->target->n_addrs ? l->error : l->target->error;
	const int agent_port = l->n_ports ? kk_sockaddr_port(&l->ports[0].bound) : 0;
	json_t *obj;

	obj = json_pack("{s:I, s:s, s:s, s:i, s:i, s:i, s:o, s:I, s:I, s:s, s:b, s:b}", "service",
			(json_int_t)l->service, "name", l->name, "protocol",
			l->protocol == IPPROTO_TCP ? "tcp" : "udp", "port", (int)l->port,
			"last_port", (int)l->last_port, "agent_port", agent_port, "addresses",
			addresses_of(l), "sockets", (json_int_t)l->n_ports, "netns", netns_of(l),
			"target", l->target->text, "proxy_protocol", (int)l->proxy_protocol,
			"shared", (int)l->watch.on);
	if (obj && error[0])
		json_object_set_new(obj, "error", json_string(error));
	return obj;
}

/* As many as a message holds; "more" says that there are others behind the last. */
static int op_list(struct relay *relay, const struct request *q, struct request_fds *fds,
		   json_t *answer, struct kk_err *err)
{
	const size_t overhead = 416 + 2 * KK_NAME_MAX + sizeof(((struct listener *)0)->error);
	const struct listeners *ls = &relay->listeners;
	size_t i = listeners_after(ls, q->service), room = KK_RELAY_MESSAGE - overhead;
	json_t *list = json_array();

	(void)fds;
	if (!list)
		return kk_err_set(err, ENOMEM, NULL, "memory is short");
	for (; i < ls->n; i++) {
		size_t size = overhead + strlen(ls->items[i]->target->text);

		if (size > room)
			break;
		room -= size;
		json_array_append_new(list, describe(ls->items[i]));
	}
	json_object_set_new(answer, "listeners", list);
	if (i < ls->n)
		json_object_set_new(answer, "more", json_true());
	return 0;
}

static int op_sessions(struct relay *relay, const struct request *q, struct request_fds *fds,
		       json_t *answer, struct kk_err *err)
{
	json_t *list = sessions_json(&relay->sessions);

	(void)q;
	(void)fds;
	if (!list)
		return kk_err_set(err, ENOMEM, NULL, "memory is short");
	json_object_set_new(answer, "sessions", list);
	json_object_set_new(answer, "open", json_integer(relay->sessions.n_open));
	json_object_set_new(answer, "udp_dropped", json_integer((json_int_t)relay->udp.dropped));
	return 0;
}

static int op_quit(struct relay *relay, const struct request *q, struct request_fds *fds,
		   json_t *answer, struct kk_err *err)
{
	(void)q;
	(void)fds;
	(void)answer;
	(void)err;
	relay->loop.quit = true;
	return 0;
}

#define OPERATION(name, trusted, fields)                                                           \
	{                                                                                          \
#name, trusted, fields, ARRAY_SIZE(fields), op_##name                              \
	}
static const struct operation operations[] = {
	OPERATION(listen, true, listen_fields),	    OPERATION(set, true, set_fields),
	OPERATION(unlisten, true, unlisten_fields), OPERATION(list, false, list_fields),
	OPERATION(sessions, false, plain_fields),   OPERATION(gateways, true, gateways_fields),
	OPERATION(quit, true, plain_fields),	    OPERATION(add, true, add_fields),
};

static const struct operation *find_operation(const json_t *msg, struct kk_err *err)
{
	const char *op = json_string_value(json_object_get(msg, "op"));

	for (size_t i = 0; op && i < ARRAY_SIZE(operations); i++)
		if (strcmp(operations[i].name, op) == 0)
			return &operations[i];
	kk_err_set(err, EINVAL, "op", "op: %.40s is not an operation", op ? op : "what is given");
	return NULL;
}

static int run(struct relay *relay, const char *text, size_t len, struct request_fds *fds,
	       bool trusted, json_t *answer, struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *msg = kk_json_parse(text, len, err);
	struct request q = {.service = -1};
	const struct operation *op = msg ? find_operation(msg, err) : NULL;
	int r;

	if (!op)
		return -EINVAL;
	r = kk_json_read(msg, op->fields, op->n_fields, &q, err);
	if (r < 0)
		return r;
	if (op->trusted && !trusted)
		return kk_err_set(err, EPERM, "op", "%s is for root and the owner of the relay",
				  q.op);
	return op->run(relay, &q, fds, answer, err);
}

json_t *request_run(struct relay *relay, const char *text, size_t len, struct request_fds *fds,
		    bool trusted)
{
	json_t *answer = json_object();
	struct kk_err err = {0};
	int r;

	if (!answer)
		return NULL;
	r = run(relay, text, len, fds, trusted, answer, &err);
	json_object_set_new(answer, "ok", json_boolean(r == 0));
	if (r < 0)
		json_object_set_new(answer, "error",
				    json_string(err.code ? err.msg : strerror(-r)));
	return answer;
}
