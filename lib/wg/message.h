/* SPDX-License-Identifier: MIT */
/* Messages on the wire (paper sections 5.4.2 to 5.4.7). All integers are little endian. */
#ifndef WG_MESSAGE_H
#define WG_MESSAGE_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>

#include "wg/crypto.h"

enum wg_message_type {
	WG_MSG_INITIATION = 1,
	WG_MSG_RESPONSE = 2,
	WG_MSG_COOKIE = 3,
	WG_MSG_DATA = 4,
};

#define WG_TIMESTAMP_LEN 12 /* TAI64N, big endian, so that memcmp() orders it */

struct wg_macs {
	uint8_t mac1[WG_COOKIE_LEN];
	uint8_t mac2[WG_COOKIE_LEN];
};

struct wg_msg_initiation {
	uint32_t type; /* one byte of type and three of zero, read as one integer */
	uint32_t sender;
	uint8_t ephemeral[WG_KEY_LEN];
	uint8_t encrypted_static[WG_KEY_LEN + WG_TAG_LEN];
	uint8_t encrypted_timestamp[WG_TIMESTAMP_LEN + WG_TAG_LEN];
	struct wg_macs macs;
} __attribute__((packed));

struct wg_msg_response {
	uint32_t type;
	uint32_t sender;
	uint32_t receiver;
	uint8_t ephemeral[WG_KEY_LEN];
	uint8_t encrypted_nothing[WG_TAG_LEN];
	struct wg_macs macs;
} __attribute__((packed));

struct wg_msg_cookie {
	uint32_t type;
	uint32_t receiver;
	uint8_t nonce[WG_XNONCE_LEN];
	uint8_t encrypted_cookie[WG_COOKIE_LEN + WG_TAG_LEN];
} __attribute__((packed));

struct wg_msg_data {
	uint32_t type;
	uint32_t receiver;
	uint64_t counter;
	uint8_t text[]; /* the encrypted packet and its tag */
} __attribute__((packed));

#define WG_DATA_HEADER	 16
#define WG_DATA_OVERHEAD (WG_DATA_HEADER + WG_TAG_LEN)
#define WG_PADDING	 16
#define WG_HANDSHAKE_MAX sizeof(struct wg_msg_initiation)

_Static_assert(sizeof(struct wg_msg_initiation) == 148, "wire format");
_Static_assert(sizeof(struct wg_msg_response) == 92, "wire format");
_Static_assert(sizeof(struct wg_msg_cookie) == 64, "wire format");
_Static_assert(sizeof(struct wg_msg_data) == WG_DATA_HEADER, "wire format");

/* The type, or 0 where message and length do not fit together. @len is in bytes. */
static inline uint32_t wg_message_type(const void *msg, size_t len)
{
	uint32_t type;

	if (len < sizeof(type))
		return 0;
	__builtin_memcpy(&type, msg, sizeof(type));
	type = le32toh(type);
	switch (type) {
	case WG_MSG_DATA:
		return len >= WG_DATA_OVERHEAD ? type : 0;
	case WG_MSG_INITIATION:
		return len == sizeof(struct wg_msg_initiation) ? type : 0;
	case WG_MSG_RESPONSE:
		return len == sizeof(struct wg_msg_response) ? type : 0;
	case WG_MSG_COOKIE:
		return len == sizeof(struct wg_msg_cookie) ? type : 0;
	}
	return 0;
}

#endif
