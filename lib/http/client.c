// SPDX-License-Identifier: MIT
#include "http/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/pinned.h"
#include "util/cleanup.h"
#include "util/json.h"

#define CALL_MS 75000L
#define ANSWER_MAX                                                                                 \
	(1u << 30) /* bytes: every object of the largest system is less, and a backup of it */

struct answer {
	char *data;
	size_t len, size;
	int error; /* negative errno that made us break off */
};

/* libcurl's signature: @size is always 1. Anything but @n breaks the call off. */
static size_t take_answer(char *data, size_t size, size_t n, void *userdata)
{
	struct answer *a = userdata;

	(void)size;
	if (a->len + n > ANSWER_MAX) {
		a->error = -EMSGSIZE;
		return 0;
	}
	if (a->len + n > a->size) {
		size_t bigger = a->size ? a->size : 4096;
		char *moved;

		while (bigger < a->len + n)
			bigger *= 2;
		moved = realloc(a->data, bigger);
		if (!moved) {
			a->error = -ENOMEM;
			return 0;
		}
		a->data = moved;
		a->size = bigger;
	}
	memcpy(a->data + a->len, data, n);
	a->len += n;
	return n;
}

/* What is sent along; libcurl borrows all of it during the call. */
struct request {
	CURL *curl;
	struct curl_slist *headers;
	char *body;
};

static void request_clean(struct request *req)
{
	curl_easy_cleanup(req->curl);
	curl_slist_free_all(req->headers);
	free(req->body);
}

static int add_header(struct request *req, const char *line)
{
	struct curl_slist *longer = curl_slist_append(req->headers, line);

	if (!longer)
		return -ENOMEM;
	req->headers = longer;
	return 0;
}

static int set_request(struct request *req, const struct kk_http_server *server, const char *method,
		       const json_t *body)
{
	char bearer[256];
	int r = 0;

	/* No "Expect: 100-continue": it would cost a round trip. */
	r = add_header(req, "Expect:");
	if (r == 0 && server->key) {
		snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", server->key);
		r = add_header(req, bearer);
	}
	if (r == 0 && body) {
		r = add_header(req, "Content-Type: application/json");
		req->body = kk_json_text(body);
	}
	if (r < 0 || (body && !req->body))
		return -ENOMEM;
	curl_easy_setopt(req->curl, CURLOPT_HTTPHEADER, req->headers);
	curl_easy_setopt(req->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(req->curl, CURLOPT_TIMEOUT_MS, CALL_MS);
	if (req->body) {
		curl_easy_setopt(req->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(req->body));
		curl_easy_setopt(req->curl, CURLOPT_POSTFIELDS, req->body);
	} else if (strcmp(method, "POST") == 0) {
		curl_easy_setopt(req->curl, CURLOPT_POSTFIELDSIZE, 0L);
		curl_easy_setopt(req->curl, CURLOPT_POSTFIELDS, "");
	}
	return 0;
}

/* The status with @answer filled in, which is to be freed in any case; or a negative errno. */
static int perform(const struct kk_http_server *server, const char *method, const char *path,
		   const json_t *body, struct answer *answer, struct kk_err *err)
{
	KK_CLEANUP(request_clean) struct request req = {0};
	long status = 0;
	CURLcode code;
	int r;

	r = kk_pinned_new(server->url, path, server->pin, &req.curl, err);
	if (r < 0)
		return r;
	if (set_request(&req, server, method, body) < 0)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	curl_easy_setopt(req.curl, CURLOPT_WRITEFUNCTION, take_answer);
	curl_easy_setopt(req.curl, CURLOPT_WRITEDATA, answer);
	code = curl_easy_perform(req.curl);
	if (code == CURLE_OK)
		code = curl_easy_getinfo(req.curl, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_OK)
		return (int)status;
	if (answer->error)
		return kk_err_set(
			err, -answer->error, NULL, "the answer of Control at %s is %s", server->url,
			answer->error == -ENOMEM ? "too large for our memory" : "too large");
	return kk_pinned_error(code, server->url, err);
}

int kk_http_call(const struct kk_http_server *server, const char *method, const char *path,
		 const json_t *body, json_t **ret, struct kk_err *err)
{
	struct answer answer = {0};
	int r = perform(server, method, path, body, &answer, err);

	/* What is no JSON is no answer of the API: the caller has the status to go by. */
	if (r >= 0)
		*ret = answer.len ? kk_json_parse(answer.data, answer.len, NULL) : NULL;
	free(answer.data);
	return r;
}

int kk_http_download(const struct kk_http_server *server, const char *path, char **ret,
		     size_t *ret_len, json_t **ret_error, struct kk_err *err)
{
	struct answer answer = {0};
	int r = perform(server, "GET", path, NULL, &answer, err);

	if (r == 200) {
		*ret = answer.data;
		*ret_len = answer.len;
		return r;
	}
	if (r >= 0)
		*ret_error = answer.len ? kk_json_parse(answer.data, answer.len, NULL) : NULL;
	free(answer.data);
	return r;
}

int kk_http_error(int status, const json_t *answer, struct kk_err *err)
{
	const json_t *error = json_object_get(answer, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	const char *field = json_string_value(json_object_get(error, "field"));
	int code;

	switch (status) {
	case 401:
		code = EACCES;
		break;
	case 404:
		code = ENOENT;
		break;
	case 409:
		code = EEXIST;
		break;
	case 413:
		code = EMSGSIZE;
		break;
	default:
		code = status < 500 ? EINVAL : EIO;
	}
	if (!message)
		return kk_err_set(err, code, NULL,
				  "Control answered with HTTP status %d and no reason", status);
	return kk_err_set(err, code, field, "%s", message);
}
