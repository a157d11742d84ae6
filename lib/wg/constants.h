/* SPDX-License-Identifier: MIT */
/* Times and limits (paper section 6.1). All times are nanoseconds. */
#ifndef WG_CONSTANTS_H
#define WG_CONSTANTS_H

#include <stdint.h>

#define WG_MS  1000000ull
#define WG_SEC 1000000000ull

#define WG_REKEY_AFTER_MESSAGES	 (1ull << 60)
#define WG_REJECT_AFTER_MESSAGES (UINT64_MAX - (1ull << 13))
#define WG_REKEY_AFTER_TIME	 (120 * WG_SEC)
#define WG_REJECT_AFTER_TIME	 (180 * WG_SEC)
#define WG_REKEY_ATTEMPT_TIME	 (90 * WG_SEC)
#define WG_REKEY_TIMEOUT	 (5 * WG_SEC)
#define WG_REKEY_JITTER		 (334 * WG_MS) /* random part on top of REKEY_TIMEOUT */
#define WG_KEEPALIVE_TIMEOUT	 (10 * WG_SEC)
#define WG_REKEY_ATTEMPTS	 (WG_REKEY_ATTEMPT_TIME / WG_REKEY_TIMEOUT)

/*
 * Ours, of an eager device: how soon an unanswered initiation is followed by the next, twice as long each time. A round
 * trip that takes longer than all of these is met now and then with the usual patience.
 */
#define WG_EAGER_FIRST	  (250 * WG_MS)
#define WG_EAGER_LAST	  (1600 * WG_MS)
#define WG_EAGER_ATTEMPTS (WG_REKEY_ATTEMPT_TIME / WG_EAGER_LAST)
#define WG_EAGER_PATIENT  16 /* of that many, one, once WG_EAGER_ATTEMPTS have failed */

#define WG_COOKIE_LIFETIME (120 * WG_SEC)
#define WG_COOKIE_LATENCY  (5 * WG_SEC)

/* Handshakes: how many a second one peer, one source and all together may cost us. */
#define WG_INITIATION_GAP (WG_SEC / 50)
#define WG_SOURCE_RATE	  20 /* a second and source, while under load */
#define WG_SOURCE_BURST	  5
#define WG_LOAD_BURST	  64  /* initiations in a row that do not count as load */
#define WG_LOAD_RATE	  200 /* a second: above, cookies are asked for and work is capped at this */
#define WG_LOAD_TIME	  WG_SEC /* how long a burst counts as load */
#define WG_FLOOD_BURST                                                                             \
	256 /* initiations in a row, before any of them was looked at, that are no flood */
#define WG_FLOOD_RATE	2000  /* a second: above, sources are limited before anything is computed */
#define WG_LOOK_BURST	256   /* in a flood, macs that are checked in a row */
#define WG_LOOK_RATE	10000 /* and a second */
#define WG_COOKIE_RATE	1000  /* cookie replies a second, all together */
#define WG_COOKIE_BURST 100

#endif
