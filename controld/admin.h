/* SPDX-License-Identifier: MIT */
/* The file from which kkctl knows Control: {"url","pin","key"}, for who may read Control's state. */
#ifndef KK_CONTROLD_ADMIN_H
#define KK_CONTROLD_ADMIN_H

#include "controld/control.h"

/*
 * Keeps @dir/admin.json true. Where there is none it is made, with a fresh API key named "admin" in place of
 * an earlier one. A file whose key has been removed through the API is left as it is.
 */
int kk_admin_write(const struct kk_control *control, const char *dir, struct kk_err *err);

#endif
