/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Sources that nobody on the internet has. */
#ifndef KK_CORE_MARTIAN_H
#define KK_CORE_MARTIAN_H

#include <kk/core/types.h>

/*
 * No unicast address of the internet: this network, loopback, link-local (there clouds serve a
 * machine's secrets), multicast and beyond (RFC 6890). The stack would have refused them, but it
 * does not see them.
 */
KK_INLINE int kk_is_martian4(__be32 address)
{
	__u32 a = KK_HOST32(address);

	return a >> 24 == 0 || a >> 24 == 127 || a >> 16 == 0xa9fe || a >= 0xe0000000;
}

/* Of ::/64, where the unspecified, loopback and IPv4 in IPv6 are; link-local, multicast (RFC 4291). */
KK_INLINE int kk_is_martian6(const struct kk_in6 *address)
{
	__u32 a = KK_HOST32(address->word[0]);

	return (a == 0 && address->word[1] == 0) || a >> 22 == 0xfe80 >> 6 || a >> 24 == 0xff;
}

#endif
