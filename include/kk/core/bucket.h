/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Token buckets as the generic cell rate algorithm has them (ITU-T I.371, virtual scheduling): all that
 * is kept of a bucket is when it will be full again. A token costs no division, and there is nothing to
 * refill.
 */
#ifndef KK_CORE_BUCKET_H
#define KK_CORE_BUCKET_H

#include <kk/core/types.h>

/*
 * Takes a token out of a bucket that gets one in @interval ns and holds as many as come in @slack ns, and
 * one. @full is when the bucket is full again, 0 at first; @now is never before an earlier @now by more
 * than the skew of CPUs. Returns 0 if there is no token. CPUs that take at the same instant may take the
 * same token: no lock is worth that. A bucket that was emptied under a slower rate is no emptier than empty.
 */
KK_INLINE int kk_bucket_take(__u64 *full, __u64 now, __u64 interval, __u64 slack)
{
	__u64 at = *(volatile __u64 *)full;

	if ((__s64)(at - now) < 0)
		at = now;
	if (at - now > slack) {
		if (at - now > slack + interval)
			*(volatile __u64 *)full = now + slack + interval;
		return 0;
	}
	*(volatile __u64 *)full = at + interval;
	return 1;
}

#endif
