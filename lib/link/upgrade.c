// SPDX-License-Identifier: MIT
#include "link/upgrade.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "util/encode.h"

#define GUID	   "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 section 1.3 */
#define SHA1_LEN   20
#define ACCEPT_LEN KK_BASE64_LEN(SHA1_LEN)

int kk_upgrade_nonce(char nonce[KK_UPGRADE_NONCE_LEN + 1])
{
	unsigned char bytes[16];

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return -EIO;
	kk_base64(bytes, sizeof(bytes), nonce);
	return 0;
}

int kk_upgrade_request(const char *host, const char *path, const char *key, const char *nonce,
		       char *out, size_t size)
{
	int len = snprintf(out, size,
			   "GET %s HTTP/1.1\r\n"
			   "Host: %s\r\n"
			   "Upgrade: websocket\r\n"
			   "Connection: Upgrade\r\n"
			   "Sec-WebSocket-Version: 13\r\n"
			   "Sec-WebSocket-Key: %s\r\n"
			   "Authorization: Bearer %s\r\n"
			   "User-Agent: kakuremichi/" KK_VERSION "\r\n\r\n",
			   path, host, nonce, key);

	return len < 0 || (size_t)len >= size ? -E2BIG : len;
}

static int expected_accept(const char *nonce, char accept[ACCEPT_LEN + 1])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char text[KK_UPGRADE_NONCE_LEN + sizeof(GUID)];
	unsigned int len;

	snprintf(text, sizeof(text), "%s" GUID, nonce);
	if (EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL) != 1)
		return -EIO;
	kk_base64(digest, SHA1_LEN, accept);
	return 0;
}

/* Copies the value of the header field @name, without blanks around it. */
static bool find_field(const char *header, const char *name, char *value, size_t size)
{
	size_t name_len = strlen(name), len;

	for (const char *line = strstr(header, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
			continue;
		line += name_len + 1;
		line += strspn(line, " \t");
		len = strcspn(line, "\r\n");
		while (len && (line[len - 1] == ' ' || line[len - 1] == '\t'))
			len--;
		if (len >= size)
			return false;
		memcpy(value, line, len);
		value[len] = '\0';
		return true;
	}
	return false;
}

/* Whether the comma-separated @list has @token, in any case. */
static bool has_token(const char *list, const char *token)
{
	while (*list) {
		size_t len;

		list += strspn(list, ", \t");
		len = strcspn(list, ", \t");
		if (len == strlen(token) && strncasecmp(list, token, len) == 0)
			return true;
		list += len;
	}
	return false;
}

static int status_of(const char *header)
{
	const char *digits = header + strlen("HTTP/1.1 ");
	int status;

	if (strncmp(header, "HTTP/1.1 ", strlen("HTTP/1.1 ")) != 0 ||
	    strspn(digits, "0123456789") != 3)
		return -EPROTO;
	status = atoi(digits);
	return status >= 100 ? status : -EPROTO;
}

int kk_upgrade_answer(const char *header, const char *nonce)
{
	char value[128], accept[ACCEPT_LEN + 1];
	int status = status_of(header);

	if (status != 101)
		return status;
	if (!find_field(header, "Upgrade", value, sizeof(value)) ||
	    strcasecmp(value, "websocket") != 0)
		return -EPROTO;
	if (!find_field(header, "Connection", value, sizeof(value)) || !has_token(value, "upgrade"))
		return -EPROTO;
	if (expected_accept(nonce, accept) < 0)
		return -EPROTO;
	if (!find_field(header, "Sec-WebSocket-Accept", value, sizeof(value)) ||
	    strcmp(value, accept) != 0)
		return -EPROTO;
	return status;
}
