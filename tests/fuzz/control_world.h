/* SPDX-License-Identifier: MIT */
/*
 * Control without a network, for the fuzz targets: its store in memory with a little of everything in it, and what
 * lib/httpd would do, done by one request that the target makes up.
 */
#ifndef KK_FUZZ_CONTROL_WORLD_H
#define KK_FUZZ_CONTROL_WORLD_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "controld/control.h"
#include "controld/expiry.h"
#include "controld/rest/operations.h"
#include "controld/secret.h"
#include "util/log.h"

#define FUZZ_KEY "kka_fuzz"

/* The request that is handled, and what came of it. */
struct kk_httpd_request {
	char method[8], path[512];
	char *query; /* "a=1&b=2", cut at each & once it has been read; NULL: none */
	const char *body, *key;
	size_t body_len;
	unsigned int status; /* 0: not answered yet */
	char *answer;
	void *data;
};

/* A WebSocket whose peer has said @in and then waits. */
struct kk_httpd_upgrade {
	const uint8_t *in;
	size_t len;
	int fd;
};

/* ---- in place of lib/httpd ---- */

const char *kk_httpd_method(const struct kk_httpd_request *req)
{
	return req->method;
}

const char *kk_httpd_path(const struct kk_httpd_request *req)
{
	return req->path;
}

const char *kk_httpd_header(const struct kk_httpd_request *req, const char *name)
{
	return strcmp(name, "Authorization") == 0 ? req->key : NULL;
}

const char *kk_httpd_query(const struct kk_httpd_request *req, const char *name)
{
	static char value[512];
	size_t len = strlen(name);

	for (const char *at = req->query; at && *at; at += strcspn(at, "&"), at += *at == '&') {
		if (strncmp(at, name, len) != 0 || at[len] != '=')
			continue;
		snprintf(value, sizeof(value), "%.*s", (int)strcspn(at + len + 1, "&"),
			 at + len + 1);
		return value;
	}
	return NULL;
}

int kk_httpd_each_query(const struct kk_httpd_request *req,
			int (*each)(const char *name, void *userdata), void *userdata)
{
	for (const char *at = req->query; at && *at; at += strcspn(at, "&"), at += *at == '&') {
		char name[512];
		int r;

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, "=&"), at);
		r = each(name, userdata);
		if (r)
			return r;
	}
	return 0;
}

const char *kk_httpd_cookie(const struct kk_httpd_request *req, const char *name)
{
	(void)req;
	(void)name;
	return NULL;
}

const char *kk_httpd_body(const struct kk_httpd_request *req, size_t *ret_len)
{
	*ret_len = req->body_len;
	return req->body;
}

const char *kk_httpd_peer(const struct kk_httpd_request *req)
{
	(void)req;
	return "192.0.2.1";
}

void kk_httpd_set_data(struct kk_httpd_request *req, void *data)
{
	req->data = data;
}

void *kk_httpd_data(const struct kk_httpd_request *req)
{
	return req->data;
}

int kk_httpd_add_header(struct kk_httpd_request *req, const char *name, const char *value)
{
	/* A line end in a header would be another header. */
	if (strpbrk(name, "\r\n") || strpbrk(value, "\r\n"))
		abort();
	(void)req;
	return 0;
}

void kk_httpd_answer(struct kk_httpd_request *req, unsigned int status, const char *content_type,
		     const void *body, size_t len)
{
	(void)content_type;
	if (req->status)
		abort(); /* answered twice */
	req->status = status;
	req->answer = strndup(body, len);
}

int kk_httpd_upgrade(struct kk_httpd_request *req,
		     void (*opened)(struct kk_httpd_upgrade *connection, int fd, void *userdata),
		     void *userdata)
{
	(void)opened;
	(void)userdata;
	kk_httpd_answer(req, 400, "", "", 0);
	return -EINVAL;
}

int kk_httpd_set_tls(struct kk_httpd *httpd, const char *cert, const char *key, struct kk_err *err)
{
	(void)httpd;
	(void)cert;
	(void)key;
	(void)err;
	return 0;
}

ssize_t kk_httpd_upgrade_recv(struct kk_httpd_upgrade *connection, void *buf, size_t len)
{
	size_t n = connection->len < len ? connection->len : len;

	if (!n)
		return -EAGAIN;
	memcpy(buf, connection->in, n);
	connection->in += n;
	connection->len -= n;
	return (ssize_t)n;
}

ssize_t kk_httpd_upgrade_send(struct kk_httpd_upgrade *connection, const void *buf, size_t len)
{
	(void)connection;
	(void)buf;
	return (ssize_t)len;
}

void kk_httpd_upgrade_close(struct kk_httpd_upgrade *connection)
{
	if (!connection)
		return;
	close(connection->fd);
	connection->fd = -1;
}

/* ---- in place of controld/password.c, which takes its time on purpose ---- */

struct kk_password_job {
	void (*done)(const struct kk_password_result *result, void *userdata);
	void *userdata;
	struct kk_password_result result;
	bool waits;
};

static struct kk_password_job fuzz_job;

int kk_passwords_submit(struct kk_passwords *passwords, const char *password, const char *stored,
			void (*done)(const struct kk_password_result *result, void *userdata),
			void *userdata, struct kk_password_job **ret)
{
	(void)passwords;
	fuzz_job = (struct kk_password_job){.done = done, .userdata = userdata, .waits = true};
	if (stored)
		fuzz_job.result.ok = strcmp(stored, password) == 0;
	else
		snprintf(fuzz_job.result.text, sizeof(fuzz_job.result.text), "%.200s", password);
	*ret = &fuzz_job;
	return 0;
}

void kk_password_cancel(struct kk_password_job *job)
{
	if (job)
		job->waits = false;
}

int kk_password_acceptable(const char *password, struct kk_err *err)
{
	size_t len = strlen(password);

	return len < KK_PASSWORD_MIN || len > KK_PASSWORD_LONG
		       ? kk_err_set(err, EINVAL, "password",
				    "password: it is too short or too long")
		       : 0;
}

/* ---- Control ---- */

static void must(int r)
{
	if (r < 0)
		abort();
}

/* Everything that an answer has to be. */
static void check_answer(const struct kk_httpd_request *req)
{
	json_t *answer, *error;

	if (!req->status)
		abort();
	/* A backup is of files, and there are none. */
	if (req->status == 500 && strcmp(req->path, "/api/v1/backup") != 0)
		abort();
	if (req->status < 400)
		return;
	answer = json_loads(req->answer, 0, NULL);
	error = json_object_get(answer, "error");
	if (!json_string_length(json_object_get(error, "code")) ||
	    !json_string_length(json_object_get(error, "message")))
		abort();
	json_decref(answer);
}

/* "METHOD PATH?QUERY" in one line, the rest is the body. Returns the answer's status, 0 for what is no request. */
static unsigned int fuzz_ask(struct kk_control *control, const char *text, size_t len)
{
	struct kk_httpd_request req = {.key = "Bearer " FUZZ_KEY};
	const char *end = memchr(text, '\n', len);
	size_t line = end ? (size_t)(end - text) : len;
	char head[600], *query;

	snprintf(head, sizeof(head), "%.*s", line < 599 ? (int)line : 599, text);
	if (sscanf(head, "%7s %511[^\n]", req.method, req.path) != 2)
		return 0;
	query = strchr(req.path, '?');
	if (query)
		*query++ = '\0';
	req.query = query;
	req.body = end ? end + 1 : "";
	req.body_len = end ? len - line - 1 : 0;
	kk_attempts_init(&control->by_address, 20, 6, 1);
	kk_attempts_init(&control->by_account, 5, 30, 1);
	fuzz_job.waits = false;
	kk_rest_handle(&req, control);
	if (fuzz_job.waits)
		fuzz_job.done(&fuzz_job.result, fuzz_job.userdata);
	check_answer(&req);
	free(req.answer);
	return req.status;
}

static void fuzz_make_key(struct kk_control *control)
{
	struct kk_api_key_row row = {.name = "fuzz", .access = KK_OWNER};
	uint8_t hash[KK_HASH_LEN];

	must(kk_secret_hash(FUZZ_KEY, hash));
	must(kk_store_api_key_add(control->store, hash, &row, NULL));
}

static struct kk_control *fuzz_control(void)
{
	static const struct kk_prefix4 pool = {.addr.s_addr = 0x0000000a, .len = 8};
	static const char *const made[] = {
		"POST /api/v1/gateways\n{\"name\":\"gw1\",\"addresses\":[\"198.51.100.1\",\"2001:db8::1\"]}",
		"POST /api/v1/agents\n{\"name\":\"a\"}",
		"POST /api/v1/agents\n{\"name\":\"b\"}",
		"POST /api/v1/services?wait=0\n{\"name\":\"ssh\",\"agents\":[\"a\",\"b\"],\"protocol\":\"tcp\","
		"\"port\":22,\"target\":\"h:22\",\"allow\":[\"10.0.0.0/8\"],\"limit_packets\":5}",
		"POST /api/v1/services?wait=0\n{\"name\":\"game\",\"agent\":\"a\",\"protocol\":\"udp\",\"port\":100,"
		"\"last_port\":120,\"address\":\"198.51.100.1\",\"access\":\"rules\",\"target\":\"h:100-120\"}",
		"POST /api/v1/denials?wait=0\n{\"prefix\":\"192.0.2.0/24\"}",
		"POST /api/v1/bans?wait=0\n{\"address\":\"192.0.2.7\",\"service\":\"ssh\"}",
		"POST /api/v1/users\n{\"name\":\"ann\",\"role\":\"admin\",\"password\":\"0123456789\"}",
		"POST /api/v1/hosts?wait=0\n{\"name\":\"office\",\"prefixes\":[\"203.0.113.0/24\",\"2001:db8:9::/48\"]}",
		"POST /api/v1/hosts?wait=0\n{\"name\":\"spare\",\"prefixes\":[\"203.0.114.7\"]}",
		"POST /api/v1/groups?wait=0\n{\"name\":\"staff\",\"hosts\":[\"office\"]}",
		"POST /api/v1/rules?wait=0\n{\"name\":\"r1\",\"source\":\"staff\",\"destination\":\"game\"}",
		"POST /api/v1/organisations\n{\"name\":\"other\"}",
	};
	static char key[] = "a key", cert[] = "a certificate";
	static struct kk_control control;
	struct kk_err err = {0};

	if (control.store)
		return &control;
	kk_log_init("fuzz", LOG_EMERG);
	must(sd_event_default(&control.event));
	must(kk_store_open(":memory:", &pool, &control.store, &err));
	must(kk_push_new(control.event, control.store, &control.push));
	must(kk_expiry_start(&control, &err));
	LIST_INIT(&control.held);
	control.state = "/nonexistent";
	strcpy(control.url, "https://control.example:8443");
	strcpy(control.identity.pin, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
	/* A backup has them in it; nobody connects by them. */
	control.identity.key = key;
	control.identity.cert = cert;
	fuzz_make_key(&control);
	for (size_t i = 0; i < ARRAY_SIZE(made); i++)
		if (fuzz_ask(&control, made[i], strlen(made[i])) != 201)
			abort();
	return &control;
}

static void fuzz_control_clean(void)
{
	struct kk_control *control = fuzz_control();

	kk_expiry_stop(control);
	kk_push_free(control->push);
	kk_store_close(control->store);
	sd_event_unref(control->event);
}

#endif
