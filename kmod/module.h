/* SPDX-License-Identifier: GPL-2.0 */
/* The module as a whole. */
#ifndef KK_KMOD_MODULE_H
#define KK_KMOD_MODULE_H

#include <linux/workqueue.h>

/* Where memory that packets may still read is let go. */
extern struct workqueue_struct *kk_workqueue;

#endif
