// SPDX-License-Identifier: MIT
/* kkctl sessions: asks the relay on this machine, not Control. */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "agentd/relay/control.h"
#include "ctl/api.h"
#include "ctl/print.h"
#include "util/cleanup.h"
#include "util/json.h"

#define SOCKET_DEFAULT "/run/kakuremichi/agent/relay.sock"
#define ANSWER_S       5

static void format_age(const json_t *obj, char *text, size_t size)
{
	ctl_format_ago(json_integer_value(json_object_get(obj, "started")), text, size);
}

static void format_rx(const json_t *obj, char *text, size_t size)
{
	ctl_format_bytes((uint64_t)json_integer_value(json_object_get(obj, "rx_bytes")), text,
			 size);
}

static void format_tx(const json_t *obj, char *text, size_t size)
{
	ctl_format_bytes((uint64_t)json_integer_value(json_object_get(obj, "tx_bytes")), text,
			 size);
}

static void format_state(const json_t *obj, char *text, size_t size)
{
	const char *error = ctl_text(obj, "error");

	snprintf(text, size, "%s%s%s", ctl_text(obj, "state"), *error ? ": " : "", error);
}

static const struct ctl_column columns[] = {
	{"SERVICE", "service", NULL}, {"GATEWAY", "gateway", NULL},  {"CLIENT", "client", NULL},
	{"TARGET", "target", NULL},   {"SINCE", NULL, format_age},   {"IN", NULL, format_rx},
	{"OUT", NULL, format_tx},     {"STATE", NULL, format_state},
};

/* The relay's socket, with a bound on how long it may take to answer. */
static int connect_relay(const char *path, int *ret)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = ANSWER_S};
	KK_CLEANUP_CLOSE int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret = kk_steal_fd(&fd);
	return 0;
}

static int ask_relay(const char *path, json_t **ret, struct kk_err *err)
{
	static const char request[] = "{\"op\":\"sessions\"}";
	static char answer[KK_RELAY_MESSAGE];
	KK_CLEANUP_CLOSE int fd = -1;
	ssize_t n;
	int r;

	r = connect_relay(path, &fd);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return kk_err_set(err, -r, "socket",
				  "no Agent's relay runs on this machine (%s: %s)", path,
				  strerror(-r));
	if (r < 0)
		return kk_err_set(err, -r, "socket", "%s: %s", path, strerror(-r));
	n = send(fd, request, strlen(request), MSG_NOSIGNAL);
	if (n >= 0)
		n = recv(fd, answer, sizeof(answer), 0);
	if (n <= 0)
		return kk_err_set(err, n ? errno : EPIPE, "socket", "%s: the relay does not answer",
				  path);
	*ret = kk_json_parse(answer, (size_t)n, err);
	return *ret ? 0 : -EINVAL;
}

static int run(struct ctl *ctl)
{
	const char *path = ctl->options.socket ? ctl->options.socket : SOCKET_DEFAULT;
	KK_CLEANUP_JSON json_t *answer = NULL;
	struct kk_err err = {0};

	if (ask_relay(path, &answer, &err) < 0)
		return ctl_fail(CTL_REFUSED, "%s", err.msg);
	if (!json_is_true(json_object_get(answer, "ok")))
		return ctl_fail(CTL_REFUSED, "the relay refuses: %s", ctl_text(answer, "error"));
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		ctl_print_list(json_object_get(answer, "sessions"), columns, ARRAY_SIZE(columns),
			       "Nobody is connected.");
	return CTL_DONE;
}

static const struct kk_option options[] = {
	CTL_OPTION("socket", "FILE", KK_OPTION_STRING, socket,
		   "the relay's socket (default " SOCKET_DEFAULT ")"),
};

static const struct ctl_command commands[] = {
	{NULL, NULL, "on an Agent's machine: who is connected, and from where",
	 CTL_OPTIONS(options), .run = run},
};

const struct ctl_noun ctl_sessions = {
	"sessions",
	"who is connected",
	commands,
	ARRAY_SIZE(commands),
};
