// SPDX-License-Identifier: MIT
#include "agentd/relayctl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agentd/relay/control.h"
#include "agentd/spawn.h"
#include "util/cleanup.h"
#include "util/json.h"

#define PATIENCE_S    5 /* for an answer; the relay never waits for anything itself */
#define LISTENERS_MAX 524288
#define START_MS      5000
#define START_STEP_MS 10

_Static_assert(sizeof(((struct relayctl *)0)->path) == sizeof(((struct sockaddr_un *)0)->sun_path),
	       "what fits here fits a socket's address");

int relayctl_init(struct relayctl *ctl, const char *run_dir, struct kk_err *err)
{
	ctl->fd = -1;
	if ((size_t)snprintf(ctl->path, sizeof(ctl->path), "%s/relay.sock", run_dir) >=
	    sizeof(ctl->path))
		return kk_err_set(err, ENAMETOOLONG, "run-dir", "%s: the path is too long",
				  run_dir);
	return 0;
}

int relayctl_connect(struct relayctl *ctl, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path, ctl->path, sizeof(addr.sun_path));
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
	    connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return kk_err_set(err, errno, NULL, "cannot reach the relay at %s: %s", ctl->path,
				  strerror(errno));
	relayctl_close(ctl);
	ctl->fd = kk_steal_fd(&fd);
	return 0;
}

int relayctl_open(struct relayctl *ctl, const char *run_dir, struct kk_err *err)
{
	struct kk_err why = {0};
	int r = relayctl_connect(ctl, &why);

	if (r == -ENOENT || r == -ECONNREFUSED) {
		r = spawn_relay(ctl->path, run_dir, err);
		if (r < 0)
			return r;
		for (int ms = 0; ms < START_MS; ms += START_STEP_MS) {
			kk_err_reset(&why);
			r = relayctl_connect(ctl, &why);
			if (r == 0)
				return 0;
			poll(NULL, 0, START_STEP_MS);
		}
	}
	return r < 0 ? kk_err_set(err, -r, NULL, "%s", why.msg) : 0;
}

void relayctl_close(struct relayctl *ctl)
{
	ctl->fd = kk_close(ctl->fd);
}

#define FDS_MAX 250 /* with one message; the kernel takes 253 */

static int send_message(int to, const char *text, const int *fds, size_t n_fds)
{
	char control[CMSG_SPACE(FDS_MAX * sizeof(int))] = {0};
	struct iovec iov = {(void *)text, strlen(text)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	return sendmsg(to, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Takes @request over. The answer, when *@ret is wanted, is the caller's to decref. */
static int ask(struct relayctl *ctl, json_t *request, const int *fds, size_t n_fds, json_t **ret,
	       struct kk_err *err)
{
	KK_CLEANUP_FREE char *text = request ? kk_json_text(request) : NULL;
	KK_CLEANUP_FREE char *buf = malloc(KK_RELAY_MESSAGE);
	KK_CLEANUP_JSON json_t *answer = NULL;
	ssize_t n;
	int r;

	json_decref(request);
	if (!text || !buf)
		return kk_err_set(err, ENOMEM, NULL, "memory is short");
	r = send_message(ctl->fd, text, fds, n_fds);
	n = r < 0 ? r : recv(ctl->fd, buf, KK_RELAY_MESSAGE, 0);
	if (r == 0 && n <= 0)
		r = n < 0 ? -errno : -EPIPE;
	if (r < 0) {
		/*
		 * An answer that comes late would be taken for that to another question. The descriptor stays
		 * open, since the owner watches it: this is what the watch then hears.
		 */
		shutdown(ctl->fd, SHUT_RDWR);
		return kk_err_set(err, -r, NULL, "the relay does not answer: %s", strerror(-r));
	}
	answer = kk_json_parse(buf, (size_t)n, err);
	if (!answer)
		return -EBADMSG;
	if (!json_is_true(json_object_get(answer, "ok"))) {
		const char *why = json_string_value(json_object_get(answer, "error"));

		return kk_err_set(err, EREMOTEIO, NULL, "the relay refuses: %s",
				  why ? why : "it does not say why");
	}
	if (ret)
		*ret = KK_STEAL(answer);
	return 0;
}

static json_t *listen_message(const struct kk_service *service, size_t n)
{
	json_t *msg = json_pack("{s:s, s:I, s:s, s:s, s:i, s:s, s:b}", "op", "listen", "service",
				(json_int_t)service->id, "name", service->name, "protocol",
				service->protocol == IPPROTO_TCP ? "tcp" : "udp", "port",
				(int)service->port, "target", service->target, "proxy_protocol",
				(int)service->proxy_protocol);

	/* A relay that knows single sockets only is served as long as there are no others. */
	if (service->last_port > service->port)
		json_object_set_new(msg, "last_port", json_integer(service->last_port));
	if (service->shared)
		json_object_set_new(msg, "shared", json_true());
	if (n > 1)
		json_object_set_new(msg, "sockets", json_integer((json_int_t)n));
	return msg;
}

/* Sockets that are to be handed over together, and closed here then. */
struct bundle {
	int fds[FDS_MAX];
	size_t n;
};

static void bundle_clean(struct bundle *b)
{
	while (b->n)
		kk_close(b->fds[--b->n]);
}

static int hand_over(struct relayctl *ctl, const struct kk_service *service, size_t n, bool first,
		     struct bundle *b, struct kk_err *err)
{
	json_t *msg =
		first ? listen_message(service, n)
		      : json_pack("{s:s, s:I}", "op", "add", "service", (json_int_t)service->id);
	int r = ask(ctl, msg, b->fds, b->n, NULL, err);

	bundle_clean(b);
	return r;
}

int relayctl_listen(struct relayctl *ctl, const struct kk_service *service, size_t n,
		    int (*next)(size_t i, void *userdata, struct kk_err *err), void *userdata,
		    struct kk_err *err)
{
	KK_CLEANUP(bundle_clean) struct bundle b = {.n = 0};
	bool first = true;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		r = next(i, userdata, err);
		if (r < 0)
			break;
		b.fds[b.n++] = r;
		r = 0;
		if (b.n < FDS_MAX && i + 1 < n)
			continue;
		r = hand_over(ctl, service, n, first, &b, err);
		first = false;
	}
	if (r < 0 && !first && ctl->fd >= 0)
		relayctl_unlisten(ctl, service->id, NULL);
	return r;
}

int relayctl_gateways(struct relayctl *ctl, const struct kk_config *config, int fd,
		      struct kk_err *err)
{
	json_t *names = json_object();

	for (size_t i = 0; names && i < config->n_gateways; i++) {
		char key[2 * KK_KEY_LEN + 1];

		if (!config->gateways[i].has_key)
			continue;
		kk_hex(config->gateways[i].public_key, KK_KEY_LEN, key);
		json_object_set_new(names, key, json_string(config->gateways[i].name));
	}
	return ask(ctl, json_pack("{s:s, s:o}", "op", "gateways", "names", names), &fd, 1, NULL,
		   err);
}

int relayctl_set(struct relayctl *ctl, const struct kk_service *service, struct kk_err *err)
{
	json_t *msg = json_pack("{s:s, s:I, s:s, s:b}", "op", "set", "service",
				(json_int_t)service->id, "target", service->target,
				"proxy_protocol", (int)service->proxy_protocol);

	if (service->shared)
		json_object_set_new(msg, "shared", json_true());
	return ask(ctl, msg, NULL, 0, NULL, err);
}

int relayctl_unlisten(struct relayctl *ctl, int64_t service, struct kk_err *err)
{
	return ask(ctl, json_pack("{s:s, s:I}", "op", "unlisten", "service", (json_int_t)service),
		   NULL, 0, NULL, err);
}

struct row {
	int64_t service, port, last_port, agent_port, netns, sockets;
	const char *protocol, *target, *address, *error;
	bool proxy_protocol, shared;
	json_t *addresses;
};

#define FIELD(name, type, ...)                                                                     \
	KK_JSON_FIELD(#name, type, KK_JSON_REQUIRED, struct row, name, ##__VA_ARGS__)
static const struct kk_json_field row_fields[] = {
	FIELD(service, KK_JSON_INT, .min = 0, .max = INT64_MAX),
	FIELD(protocol, KK_JSON_STRING),
	FIELD(port, KK_JSON_INT, .min = 1, .max = 65535),
	FIELD(agent_port, KK_JSON_INT, .min = 1, .max = 65535),
	FIELD(target, KK_JSON_STRING),
	FIELD(proxy_protocol, KK_JSON_BOOL),
	FIELD(netns, KK_JSON_INT, .min = 0, .max = INT64_MAX),
	KK_JSON_FIELD("error", KK_JSON_STRING, 0, struct row, error),
	KK_JSON_FIELD("shared", KK_JSON_BOOL, 0, struct row, shared),
	KK_JSON_FIELD("last_port", KK_JSON_INT, 0, struct row, last_port, .min = 1, .max = 65535),
	KK_JSON_FIELD("sockets", KK_JSON_INT, 0, struct row, sockets, .min = 0, .max = 2 * 65535),
	/* Either the one, of a relay that knows single sockets only, or the other. */
	KK_JSON_FIELD("address", KK_JSON_STRING, 0, struct row, address),
	KK_JSON_FIELD("addresses", KK_JSON_ANY, 0, struct row, addresses),
};

static int read_addresses(const struct row *row, struct relay_listener *l, struct kk_err *err)
{
	const size_t n = row->address ? 1 : json_array_size(row->addresses);

	if (n > ARRAY_SIZE(l->addresses))
		return kk_err_set(err, EBADMSG, NULL, "the relay names %zu addresses", n);
	for (size_t i = 0; i < n; i++) {
		const char *text = row->address
					   ? row->address
					   : json_string_value(json_array_get(row->addresses, i));

		if (kk_parse_address("address", text ? text : "", &l->addresses[i], NULL) < 0)
			return kk_err_set(err, EBADMSG, NULL,
					  "the relay names the address \"%.40s\"",
					  text ? text : "");
	}
	l->n_addresses = n;
	return 0;
}

static int read_row(const json_t *obj, struct relay_listener *l, struct kk_err *err)
{
	struct row row = {.error = "", .sockets = 1};
	int r = kk_json_read_lax(obj, row_fields, ARRAY_SIZE(row_fields), &row, err);

	if (r < 0)
		return r;
	*l = (struct relay_listener){
		.service = row.service,
		.protocol = strcmp(row.protocol, "tcp") == 0 ? IPPROTO_TCP : IPPROTO_UDP,
		.port = (uint16_t)row.port,
		.last_port = (uint16_t)(row.last_port ? row.last_port : row.port),
		.n_sockets = (size_t)row.sockets,
		.agent_port = (uint16_t)row.agent_port,
		.netns_cookie = (uint64_t)row.netns,
		.proxy_protocol = row.proxy_protocol,
		.shared = row.shared,
	};
	r = read_addresses(&row, l, err);
	if (r < 0)
		return r;
	snprintf(l->target, sizeof(l->target), "%s", row.target);
	snprintf(l->error, sizeof(l->error), "%s", row.error);
	return 0;
}

/*
 * Adds the rows of one answer; returns 1 when there are more behind them. The relay meets strangers' bytes and has
 * no privileges, so it is not believed either: it must not keep us listening for ever.
 */
static int append(const json_t *answer, struct relay_listener **items, size_t *n,
		  struct kk_err *err)
{
	const json_t *rows = json_object_get(answer, "listeners");
	size_t more = json_array_size(rows);
	struct relay_listener *bigger = reallocarray(*items, *n + more + 1, sizeof(*bigger));

	if (!bigger)
		return kk_err_set(err, ENOMEM, NULL, "memory is short");
	*items = bigger;
	for (size_t i = 0; i < more; i++) {
		int r = read_row(json_array_get(rows, i), &bigger[*n], err);

		if (r < 0)
			return r;
		if (*n >= LISTENERS_MAX || (*n && bigger[*n].service <= bigger[*n - 1].service))
			return kk_err_set(err, EBADMSG, NULL,
					  "the relay's list is out of order or has no end");
		(*n)++;
	}
	return more && json_is_true(json_object_get(answer, "more"));
}

int relayctl_list(struct relayctl *ctl, struct relay_listener **ret, size_t *ret_n,
		  struct kk_err *err)
{
	KK_CLEANUP_FREE struct relay_listener *items = NULL;
	int64_t service = -1;
	size_t n = 0;
	int r;

	do {
		KK_CLEANUP_JSON json_t *answer = NULL;

		r = ask(ctl,
			json_pack("{s:s, s:I}", "op", "list", "after_service", (json_int_t)service),
			NULL, 0, &answer, err);
		if (r == 0)
			r = append(answer, &items, &n, err);
		if (r > 0)
			service = items[n - 1].service;
	} while (r > 0);
	if (r < 0)
		return r;
	*ret = KK_STEAL(items);
	*ret_n = n;
	return 0;
}

int relayctl_quit(struct relayctl *ctl, struct kk_err *err)
{
	struct pollfd p = {.fd = ctl->fd, .events = POLLIN};
	int r = ask(ctl, json_pack("{s:s}", "op", "quit"), NULL, 0, NULL, err);

	/* Its end of the line closes when it has. */
	if (r == 0 && poll(&p, 1, PATIENCE_S * 1000) <= 0)
		r = kk_err_set(err, ETIMEDOUT, NULL, "the relay does not end");
	relayctl_close(ctl);
	return r;
}
