/* SPDX-License-Identifier: MIT */
/* SipHash-2-4 (Aumasson, Bernstein 2012): keyed hashes of tables whose keys strangers choose. */
#ifndef WG_SIPHASH_H
#define WG_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct wg_siphash_key {
	uint64_t k[2];
};

uint64_t wg_siphash(const struct wg_siphash_key *key, const void *data, size_t len);

#endif
