/* SPDX-License-Identifier: MIT */
#ifndef KKWG_SLICE_H
#define KKWG_SLICE_H

/*
 * Asks the scheduler for short turns for the calling thread: it gets the processor as soon as a packet comes, and gives
 * it up as soon as somebody wakes up for what was delivered. Without that both may wait for milliseconds where all
 * processors are busy. Linux before 6.12 takes no notice. Returns 0 or -errno; nothing depends on it.
 */
int slice_shorten(void);

#endif
