// SPDX-License-Identifier: MIT
#include "core/names.h"

const char *kk_reason_name(enum kk_reason reason)
{
	static const char *const names[] = {
#define X(name, verdict, text) [KK_REASON_##name] = text,
		KK_REASONS(X)
#undef X
	};

	return reason < KK_REASON_MAX ? names[reason] : "?";
}

const char *kk_verdict_name(enum kk_verdict verdict)
{
	static const char *const names[] = {
#define X(name, text) [KK_##name] = text,
		KK_VERDICTS(X)
#undef X
	};

	return verdict < sizeof(names) / sizeof(names[0]) ? names[verdict] : "?";
}
