/* SPDX-License-Identifier: MIT */
/* A caller of Control's REST API (libcurl): HTTPS to a server known by its pin, JSON both ways. */
#ifndef KK_HTTP_CLIENT_H
#define KK_HTTP_CLIENT_H

#include <jansson.h>

#include "util/err.h"

struct kk_http_server {
	const char *url; /* https://HOST:PORT */
	const char *pin; /* base64 SHA-256 of the SubjectPublicKeyInfo */
	const char *key; /* bearer key, or NULL */
};

/*
 * One request, 75 s at most (an answer may be held for 60). @path begins with '/'; @body may be NULL.
 * Returns the HTTP status with *@ret the answer's JSON (the caller's, NULL if the body was empty or not JSON), or a negative errno with
 * @err when no answer came (refused, timed out, -EBADE: the server's key is not the pinned one).
 */
int kk_http_call(const struct kk_http_server *server, const char *method, const char *path,
		 const json_t *body, json_t **ret, struct kk_err *err);

/*
 * GET of what is no JSON: *@ret of *@ret_len bytes is the caller's where 200 is returned; with any other status
 * *@ret_error is, the answer's JSON or NULL.
 */
int kk_http_download(const struct kk_http_server *server, const char *path, char **ret,
		     size_t *ret_len, json_t **ret_error, struct kk_err *err);

/* Turns an answer of status 400 and above into an error: its field and message. */
int kk_http_error(int status, const json_t *answer, struct kk_err *err);

#endif
