// SPDX-License-Identifier: MIT
#include "util/err.h"

#include <stdarg.h>
#include <stdio.h>

int kk_err_set(struct kk_err *err, int code, const char *field, const char *fmt, ...)
{
	va_list ap;

	if (!err || err->code)
		return -code;

	err->code = code;
	snprintf(err->field, sizeof(err->field), "%s", field ? field : "");
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	return -code;
}

void kk_err_reset(struct kk_err *err)
{
	*err = (struct kk_err){0};
}
