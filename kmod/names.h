/* SPDX-License-Identifier: GPL-2.0 */
/* Reasons and verdicts as the core names them. */
#ifndef KK_KMOD_NAMES_H
#define KK_KMOD_NAMES_H

#include <kk/core/reasons.h>

static inline const char *kk_reason_name(enum kk_reason reason)
{
	switch (reason) {
#define X(name, verdict, text)                                                                     \
	case KK_REASON_##name:                                                                     \
		return text;
		KK_REASONS(X)
#undef X
	case KK_REASON_MAX:
		break;
	}
	return "";
}

static inline const char *kk_verdict_name(enum kk_verdict verdict)
{
	switch (verdict) {
#define X(name, text)                                                                              \
	case KK_##name:                                                                            \
		return text;
		KK_VERDICTS(X)
#undef X
	}
	return "";
}

#endif
