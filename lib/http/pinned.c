// SPDX-License-Identifier: MIT
#include "http/pinned.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/encode.h"

#define CONNECT_MS 10000L

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void start_curl(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
	if (curl_ready == CURLE_OK)
		atexit(curl_global_cleanup);
}

static CURLcode set_options(CURL *curl, const char *url, const char *pin)
{
	CURLcode code = CURLE_OK;

#define SET(option, value)                                                                         \
	do {                                                                                       \
		if (code == CURLE_OK)                                                              \
			code = curl_easy_setopt(curl, option, (value));                            \
	} while (0)
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PROTOCOLS_STR, "https");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_NOPROXY, "*");
	SET(CURLOPT_USERAGENT, "kakuremichi/" KK_VERSION);
	/*
	 * The certificate is self-signed: the pin is the whole proof. curl checks it also where it
	 * is told not to check the chain of certificates.
	 */
	SET(CURLOPT_SSL_VERIFYPEER, 0L);
	SET(CURLOPT_SSL_VERIFYHOST, 0L);
	SET(CURLOPT_PINNEDPUBLICKEY, pin);
#undef SET
	return code;
}

int kk_pinned_new(const char *url, const char *path, const char *pin, CURL **ret,
		  struct kk_err *err)
{
	char whole[1024], pins[80];
	uint8_t digest[KK_KEY_LEN];
	CURLcode code;
	CURL *curl;

	/* Without a pin curl would take any server. */
	if (!pin || kk_key_parse(pin, digest) < 0)
		return kk_err_set(err, EINVAL, "pin", "pin: \"%.64s\" is not the SHA-256 of a key",
				  pin ? pin : "");
	if (!url || strncmp(url, "https://", 8) != 0)
		return kk_err_set(err, EINVAL, "url",
				  "url: \"%.200s\" does not begin with https://", url ? url : "");
	snprintf(pins, sizeof(pins), "sha256//%s", pin);
	if (snprintf(whole, sizeof(whole), "%s%s", url, path) >= (int)sizeof(whole))
		return kk_err_set(err, EINVAL, "url", "url: the address is too long");
	pthread_once(&curl_once, start_curl);
	curl = curl_ready == CURLE_OK ? curl_easy_init() : NULL;
	if (!curl)
		return kk_err_set(err, ENOMEM, NULL, "libcurl cannot start");
	code = set_options(curl, whole, pins);
	if (code != CURLE_OK) {
		curl_easy_cleanup(curl);
		return kk_err_set(err, EINVAL, "url", "url: \"%.200s\" cannot be called: %s", url,
				  curl_easy_strerror(code));
	}
	*ret = curl;
	return 0;
}

int kk_pinned_error(CURLcode code, const char *url, struct kk_err *err)
{
	switch (code) {
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		return kk_err_set(err, EBADE, NULL,
				  "Control at %s has another key than the pinned one: this is not "
				  "the Control that was joined, or its key was made anew",
				  url);
	case CURLE_COULDNT_RESOLVE_HOST:
		return kk_err_set(err, EHOSTUNREACH, NULL,
				  "Control at %s cannot be reached: the host name is unknown", url);
	case CURLE_COULDNT_CONNECT:
		return kk_err_set(err, ECONNREFUSED, NULL,
				  "Control at %s cannot be reached: nothing answers there", url);
	case CURLE_OPERATION_TIMEDOUT:
		return kk_err_set(err, ETIMEDOUT, NULL, "Control at %s does not answer in time",
				  url);
	case CURLE_SSL_CONNECT_ERROR:
		return kk_err_set(err, EPROTO, NULL,
				  "Control at %s cannot be reached: no TLS connection came about",
				  url);
	case CURLE_URL_MALFORMAT:
		return kk_err_set(err, EINVAL, "url", "url: \"%.200s\" is not https://HOST:PORT",
				  url);
	case CURLE_OUT_OF_MEMORY:
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		return kk_err_set(err, ECONNRESET, NULL, "Control at %s broke off the connection",
				  url);
	default:
		return kk_err_set(err, EIO, NULL, "Control at %s cannot be called: %s", url,
				  curl_easy_strerror(code));
	}
}
