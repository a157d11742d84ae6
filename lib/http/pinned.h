/* SPDX-License-Identifier: MIT */
/* What every connection to Control has in common: TLS to a server that is known by its pin alone. */
#ifndef KK_HTTP_PINNED_H
#define KK_HTTP_PINNED_H

#include <curl/curl.h>

#include "util/err.h"

/*
 * A fresh handle for @url (of Control, for messages) with @path behind it, that speaks only TLS and only to
 * the server whose key has @pin (base64 SHA-256), whatever its certificate says. The caller ends it with
 * curl_easy_cleanup. -EINVAL: @url or @pin is none.
 */
int kk_pinned_new(const char *url, const char *path, const char *pin, CURL **ret,
		  struct kk_err *err);

/* Turns what curl says into one sentence that names @url. Returns the negative errno. */
int kk_pinned_error(CURLcode code, const char *url, struct kk_err *err);

#endif
