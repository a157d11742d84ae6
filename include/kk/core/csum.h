/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The internet checksum, corrected for a change (RFC 1624 equation 3: HC' = ~(~HC + ~m + m')). */
#ifndef KK_CORE_CSUM_H
#define KK_CORE_CSUM_H

#include <kk/core/types.h>

/* One's complement sum of two 32-bit sums. Without a branch, for nobody can foretell carries. */
KK_INLINE __u32 kk_csum_add(__u32 a, __u32 b)
{
	__u64 sum = (__u64)a + b;

	return (__u32)sum + (__u32)(sum >> 32);
}

KK_INLINE __u16 kk_csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* Of a few 32-bit sums added up: carries are gathered first. */
KK_INLINE __u16 kk_csum_fold64(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/*
 * The checksum @check (as it is in the packet) after a field of it changed @from to @to, both as
 * they are in the packet. The 32-bit complements keep the sum from being all zero, so that the
 * result is never the second form of zero (0xffff), as with a checksum made afresh.
 */
KK_INLINE __be16 kk_csum_replace(__be16 check, __u32 from, __u32 to)
{
	return (KK_FORCE __be16)~kk_csum_fold64((__u64)~KK_RAW(check) + (__u32)~from + to);
}

/* The same for any fields, whose change added @diff to the sum: ~from and to of each, all added up. */
KK_INLINE __be16 kk_csum_apply(__be16 check, __u32 diff)
{
	return (KK_FORCE __be16)~kk_csum_fold64((__u64)~KK_RAW(check) + diff);
}

KK_INLINE __u32 kk_csum_diff(__u32 from, __u32 to)
{
	return kk_csum_add(~from, to);
}

KK_INLINE __u32 kk_csum_diff6(const struct kk_in6 *from, const struct kk_in6 *to)
{
	__u32 sum = 0;

	KK_UNROLL
	for (int i = 0; i < 4; i++)
		sum = kk_csum_add(sum, kk_csum_diff(KK_RAW(from->word[i]), KK_RAW(to->word[i])));
	return sum;
}

#endif
