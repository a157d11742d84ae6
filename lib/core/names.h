/* SPDX-License-Identifier: MIT */
/* Names of the core's reasons and verdicts, as metrics and people see them. */
#ifndef KK_CORE_NAMES_H
#define KK_CORE_NAMES_H

#include <kk/core/reasons.h>

/* All are static; an unknown number gives "?". */
const char *kk_reason_name(enum kk_reason reason);
const char *kk_verdict_name(enum kk_verdict verdict);

#endif
