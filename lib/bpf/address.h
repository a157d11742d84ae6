/* SPDX-License-Identifier: MIT */
/* Addresses between user space's form and that of the tables, where IPv4 is ::ffff:a.b.c.d. */
#ifndef KK_BPF_ADDRESS_H
#define KK_BPF_ADDRESS_H

#include <string.h>

#include <kk/core/types.h>

#include "util/address.h"

static inline struct kk_in6 kk_in6_of(const struct kk_address *address)
{
	struct kk_in6 in6 = {.word = {0, 0, KK_BE32(0xffff), address->v4.s_addr}};

	if (address->family == AF_INET6)
		memcpy(&in6, address->bytes, sizeof(in6));
	return in6;
}

static inline struct kk_address kk_address_of(const struct kk_in6 *in6)
{
	struct kk_address address = {.family = AF_INET6};

	if (!in6->word[0] && !in6->word[1] && in6->word[2] == KK_BE32(0xffff))
		return (struct kk_address){.family = AF_INET, .v4.s_addr = in6->word[3]};
	memcpy(address.bytes, in6, sizeof(*in6));
	return address;
}

#endif
