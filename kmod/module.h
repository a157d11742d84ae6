/* SPDX-License-Identifier: GPL-2.0 */
/* The module as a whole. */
#ifndef KK_KMOD_MODULE_H
#define KK_KMOD_MODULE_H

#include <linux/gfp.h>
#include <linux/workqueue.h>

/* Where memory that packets may still read is let go. */
extern struct workqueue_struct *kk_workqueue;

/*
 * What tables are made of: whoever asks for them is charged, and if memory is short the request ends with -ENOMEM, not
 * some process, and without a word in the log.
 */
#define KK_GFP (GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

#endif
