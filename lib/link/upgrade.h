/* SPDX-License-Identifier: MIT */
/* The client's half of the WebSocket opening handshake (RFC 6455 section 4.1), as texts. */
#ifndef KK_LINK_UPGRADE_H
#define KK_LINK_UPGRADE_H

#include <stddef.h>

#define KK_UPGRADE_NONCE_LEN 24 /* 16 random bytes in base64 */

/* Fresh random text for one handshake. Returns 0 or a negative errno. */
int kk_upgrade_nonce(char nonce[KK_UPGRADE_NONCE_LEN + 1]);
/*
 * The request to @host (HOST:PORT) for @path with bearer @key, in @out of @size bytes. Returns its length,
 * or -E2BIG.
 */
int kk_upgrade_request(const char *host, const char *path, const char *key, const char *nonce,
		       char *out, size_t size);
/*
 * Reads the header of the answer (to its empty line, NUL-terminated). Returns 101 if the line is now a
 * WebSocket, the status of another HTTP answer, or -EPROTO for what is neither.
 */
int kk_upgrade_answer(const char *header, const char *nonce);

#endif
