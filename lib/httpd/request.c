// SPDX-License-Identifier: MIT
/* One request: its body as it comes in, the handler, the answer now or later. */
#include "httpd/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "util/cleanup.h"

/* What is read and thrown away of a body that is too long, before the connection is closed. */
#define DISCARD_MAX (256u << 10)
/* An answer that does not move for so long is given up; a busy loop may take its time. */
#define ANSWER_TIME_S 120u

static void free_request(struct kk_httpd_request *req)
{
	struct kk_httpd_header_entry *header;

	while ((header = SLIST_FIRST(&req->headers))) {
		SLIST_REMOVE_HEAD(&req->headers, link);
		free(header->name);
		free(header->value);
		free(header);
	}
	LIST_REMOVE(req, link);
	sd_event_source_disable_unref(req->watch);
	if (req->response)
		MHD_destroy_response(req->response);
	free(req->method);
	free(req->path);
	free(req->body);
	free(req);
}

static struct kk_httpd_request *new_request(struct kk_httpd *httpd, struct MHD_Connection *mhd,
					    const char *method, const char *url)
{
	struct kk_httpd_request *req = calloc(1, sizeof(*req));
	const struct sockaddr_in *peer;

	if (!req)
		return NULL;
	LIST_INSERT_HEAD(&httpd->requests, req, link);
	req->httpd = httpd;
	req->mhd = mhd;
	req->connection =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	req->method = strdup(method);
	req->path = strdup(url);
	peer = (const struct sockaddr_in *)MHD_get_connection_info(
		       mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)
		       ->client_addr;
	inet_ntop(AF_INET, &peer->sin_addr, req->peer, sizeof(req->peer));
	if (!req->connection || !req->method || !req->path) {
		free_request(req);
		return NULL;
	}
	req->body_max = httpd->config.body_max;
	if (httpd->config.body_limit)
		req->body_max = httpd->config.body_limit(req, httpd->config.userdata);
	return req;
}

/* Whether the request says itself that its body is too long. */
static bool announced_too_long(const struct kk_httpd_request *req)
{
	const char *text = MHD_lookup_connection_value(req->mhd, MHD_HEADER_KIND,
						       MHD_HTTP_HEADER_CONTENT_LENGTH);

	return text && strtoull(text, NULL, 10) > req->body_max;
}

/* Keeps what fits; what is too long is counted only, so that it can be answered at its end. */
static enum MHD_Result take_body(struct kk_httpd_request *req, const char *data, size_t len)
{
	size_t max = req->body_max;

	req->body_seen += len;
	if (req->body_seen > max)
		return req->body_seen > max + DISCARD_MAX ? MHD_NO : MHD_YES;
	if (req->body_len + len > req->body_size) {
		size_t size = (req->body_len + len) * 2 + 1024;
		char *bigger = realloc(req->body, size + 1);

		if (!bigger)
			return MHD_NO;
		req->body = bigger;
		req->body_size = size;
	}
	memcpy(req->body + req->body_len, data, len);
	req->body_len += len;
	req->body[req->body_len] = '\0';
	return MHD_YES;
}

static int on_watch(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	(void)source;
	(void)fd;
	(void)revents;
	kk_httpd_request_gone(userdata);
	return 0;
}

/* The handler kept the request. libmicrohttpd does not look at its connection meanwhile, so we do. */
static enum MHD_Result keep(struct kk_httpd_request *req)
{
	req->state = KEPT;
	req->suspended = true;
	kk_httpd_clear_deadline(req->connection);
	MHD_suspend_connection(req->mhd);
	if (sd_event_add_io(req->httpd->event, &req->watch, req->connection->fd, EPOLLRDHUP,
			    on_watch, req) < 0)
		kk_httpd_request_gone(req);
	return MHD_YES;
}

static enum MHD_Result queue_answer(struct kk_httpd_request *req)
{
	enum MHD_Result r = MHD_queue_response(req->mhd, req->status, req->response);

	MHD_destroy_response(req->response);
	req->response = NULL;
	/* A long answer may take its time, as long as it moves; the deadline of the next request comes behind it. */
	kk_httpd_clear_deadline(req->connection);
	req->patient = !req->upgrade;
	if (req->patient)
		MHD_set_connection_option(req->mhd, MHD_CONNECTION_OPTION_TIMEOUT, ANSWER_TIME_S);
	return r;
}

static enum MHD_Result handle(struct kk_httpd_request *req)
{
	req->state = HANDLING;
	if (req->body_seen > req->body_max)
		kk_httpd_refuse(req, MHD_HTTP_CONTENT_TOO_LARGE);
	else
		req->httpd->config.handle(req, req->httpd->config.userdata);
	if (req->state == HANDLING)
		return keep(req);
	return req->state == ANSWERED ? queue_answer(req) : MHD_NO;
}

enum MHD_Result kk_httpd_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
				    const char *method, const char *version, const char *data,
				    size_t *data_len, void **slot)
{
	struct kk_httpd_request *req = *slot;
	unsigned int status = 0;
	enum MHD_Result r;

	(void)version;
	if (!req) {
		req = *slot = new_request(cls, mhd, method, url);
		if (!req)
			return MHD_NO;
		if (!kk_httpd_guest_may(req->connection->guest))
			status = MHD_HTTP_TOO_MANY_REQUESTS;
		else if (announced_too_long(req))
			status = MHD_HTTP_CONTENT_TOO_LARGE;
		if (!status)
			return MHD_YES;
		req->state = HANDLING;
		kk_httpd_refuse(req, status);
		return req->state == ANSWERED ? queue_answer(req) : MHD_NO;
	}
	if (*data_len) {
		r = take_body(req, data, *data_len);
		*data_len = 0;
		return r;
	}
	switch (req->state) {
	case READING:
		return handle(req);
	case ANSWERED:
		return req->response ? queue_answer(req) : MHD_YES;
	default:
		return MHD_NO;
	}
}

void kk_httpd_on_completed(void *cls, struct MHD_Connection *mhd, void **slot,
			   enum MHD_RequestTerminationCode code)
{
	struct kk_httpd_request *req = *slot;

	(void)cls;
	if (!req)
		return;
	/* The next request on this connection has to come in time, too. */
	if (req->patient && code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		MHD_set_connection_option(mhd, MHD_CONNECTION_OPTION_TIMEOUT, KK_HTTPD_IDLE_TIME_S);
	kk_httpd_set_deadline(req->connection);
	if (req->upgrade)
		kk_httpd_upgrade_failed(req->upgrade);
	*slot = NULL;
	free_request(req);
}

static void resume(struct kk_httpd_request *req)
{
	req->watch = sd_event_source_disable_unref(req->watch);
	if (!req->suspended)
		return;
	req->suspended = false;
	MHD_resume_connection(req->mhd);
	kk_httpd_kick(req->httpd);
}

void kk_httpd_request_gone(struct kk_httpd_request *req)
{
	req->state = GONE;
	if (req->httpd->config.gone)
		req->httpd->config.gone(req, req->httpd->config.userdata);
	resume(req);
}

void kk_httpd_respond(struct kk_httpd_request *req, unsigned int status,
		      struct MHD_Response *response)
{
	struct kk_httpd_header_entry *header;

	if (!response) {
		/* No memory for an answer: the connection is closed instead. */
		req->state = GONE;
		resume(req);
		return;
	}
	SLIST_FOREACH(header, &req->headers, link)
	MHD_add_response_header(response, header->name, header->value);
	req->status = status;
	req->response = response;
	req->state = ANSWERED;
	resume(req);
}

void kk_httpd_refuse(struct kk_httpd_request *req, unsigned int status)
{
	if (req->httpd->config.refuse)
		req->httpd->config.refuse(req, status, req->httpd->config.userdata);
	else
		kk_httpd_answer(req, status, "text/plain", "refused\n", 8);
}

int kk_httpd_add_header(struct kk_httpd_request *req, const char *name, const char *value)
{
	struct kk_httpd_header_entry *header = calloc(1, sizeof(*header));

	if (!header)
		return -ENOMEM;
	header->name = strdup(name);
	header->value = strdup(value);
	if (!header->name || !header->value) {
		free(header->name);
		free(header->value);
		free(header);
		return -ENOMEM;
	}
	SLIST_INSERT_HEAD(&req->headers, header, link);
	return 0;
}

void kk_httpd_answer(struct kk_httpd_request *req, unsigned int status, const char *content_type,
		     const void *body, size_t len)
{
	struct MHD_Response *response;

	if (kk_httpd_add_header(req, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) < 0) {
		kk_httpd_respond(req, status, NULL);
		return;
	}
	response = MHD_create_response_from_buffer(len, (void *)body, MHD_RESPMEM_MUST_COPY);
	kk_httpd_respond(req, status, response);
}

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
	return MHD_lookup_connection_value(req->mhd, MHD_HEADER_KIND, name);
}

const char *kk_httpd_query(const struct kk_httpd_request *req, const char *name)
{
	return MHD_lookup_connection_value(req->mhd, MHD_GET_ARGUMENT_KIND, name);
}

struct each {
	int (*each)(const char *name, void *userdata);
	void *userdata;
	int r;
};

static enum MHD_Result on_value(void *cls, enum MHD_ValueKind kind, const char *name,
				const char *value)
{
	struct each *e = cls;

	(void)kind;
	(void)value;
	e->r = e->each(name, e->userdata);
	return e->r ? MHD_NO : MHD_YES;
}

int kk_httpd_each_query(const struct kk_httpd_request *req,
			int (*each)(const char *name, void *userdata), void *userdata)
{
	struct each e = {each, userdata, 0};

	MHD_get_connection_values(req->mhd, MHD_GET_ARGUMENT_KIND, on_value, &e);
	return e.r;
}

const char *kk_httpd_cookie(const struct kk_httpd_request *req, const char *name)
{
	return MHD_lookup_connection_value(req->mhd, MHD_COOKIE_KIND, name);
}

const char *kk_httpd_body(const struct kk_httpd_request *req, size_t *ret_len)
{
	*ret_len = req->body_len;
	return req->body ? req->body : "";
}

const char *kk_httpd_peer(const struct kk_httpd_request *req)
{
	return req->peer;
}

void kk_httpd_set_data(struct kk_httpd_request *req, void *data)
{
	req->data = data;
}

void *kk_httpd_data(const struct kk_httpd_request *req)
{
	return req->data;
}
