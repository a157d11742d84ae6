/* SPDX-License-Identifier: MIT */
/* Text forms of binary values: base64 (RFC 4648 section 4), base64url (section 5, unpadded), hex. */
#ifndef KK_UTIL_ENCODE_H
#define KK_UTIL_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#define KK_KEY_LEN	  32 /* a WireGuard key, bytes */
#define KK_KEY_BASE64_LEN 44 /* without the final NUL */
#define KK_BASE64_LEN(n)  (((n) + 2) / 3 * 4)

/* Writes KK_BASE64_LEN(@len) characters and a NUL to @out. */
void kk_base64(const void *data, size_t len, char *out);
/* As above with '-' and '_' and no padding; @out needs KK_BASE64_LEN(@len) + 1 bytes. */
void kk_base64url(const void *data, size_t len, char *out);
/* Decodes @text into @out of @max bytes. Returns the length, -EINVAL for a bad text, -E2BIG. */
int kk_unbase64url(const char *text, void *out, size_t max);

/* A WireGuard key in the form that wg(8) prints. Returns 0 or -EINVAL; @key untouched on failure. */
int kk_key_parse(const char *text, uint8_t key[KK_KEY_LEN]);
void kk_key_format(const uint8_t key[KK_KEY_LEN], char out[KK_KEY_BASE64_LEN + 1]);

/* Lower-case hex; @out needs 2 * @len + 1 bytes. */
void kk_hex(const void *data, size_t len, char *out);
/* Exactly @len bytes from 2 * @len digits. Returns 0 or -EINVAL. */
int kk_unhex(const char *text, void *out, size_t len);

#endif
