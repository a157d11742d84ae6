// SPDX-License-Identifier: MIT
#include "util/encode.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

void kk_base64(const void *data, size_t len, char *out)
{
	EVP_EncodeBlock((unsigned char *)out, data, (int)len);
}

void kk_base64url(const void *data, size_t len, char *out)
{
	size_t n;

	kk_base64(data, len, out);
	n = strcspn(out, "=");
	out[n] = '\0';
	for (size_t i = 0; i < n; i++) {
		if (out[i] == '+')
			out[i] = '-';
		else if (out[i] == '/')
			out[i] = '_';
	}
}

static int base64url_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	if (c == '_')
		return 63;
	return -EINVAL;
}

int kk_unbase64url(const char *text, void *out, size_t max)
{
	size_t len = strlen(text), n = 0;
	uint8_t *bytes = out;
	uint32_t acc = 0;
	int bits = 0;

	if (len % 4 == 1)
		return -EINVAL;
	if (len / 4 * 3 + (len % 4 ? len % 4 - 1 : 0) > max)
		return -E2BIG;
	for (size_t i = 0; i < len; i++) {
		int digit = base64url_digit(text[i]);

		if (digit < 0)
			return -EINVAL;
		acc = acc << 6 | (uint32_t)digit;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			bytes[n++] = (uint8_t)(acc >> bits);
		}
	}
	/* Left-over bits must be zero, or two texts would mean the same bytes. */
	if (acc & ((1u << bits) - 1))
		return -EINVAL;
	return (int)n;
}

int kk_key_parse(const char *text, uint8_t key[KK_KEY_LEN])
{
	char url[KK_KEY_BASE64_LEN + 1];
	uint8_t parsed[KK_KEY_LEN];

	if (strlen(text) != KK_KEY_BASE64_LEN || text[KK_KEY_BASE64_LEN - 1] != '=')
		return -EINVAL;
	for (int i = 0; i < KK_KEY_BASE64_LEN - 1; i++) {
		if (text[i] == '-' || text[i] == '_')
			return -EINVAL;
		url[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
	}
	url[KK_KEY_BASE64_LEN - 1] = '\0';
	if (kk_unbase64url(url, parsed, sizeof(parsed)) != KK_KEY_LEN)
		return -EINVAL;
	memcpy(key, parsed, KK_KEY_LEN);
	return 0;
}

void kk_key_format(const uint8_t key[KK_KEY_LEN], char out[KK_KEY_BASE64_LEN + 1])
{
	kk_base64(key, KK_KEY_LEN, out);
}

void kk_hex(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * len] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int kk_unhex(const char *text, void *out, size_t len)
{
	uint8_t *bytes = out;

	if (strlen(text) != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		int hi = hex_digit(text[2 * i]), lo = hex_digit(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		bytes[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}
