/* SPDX-License-Identifier: MIT */
/* A copy of the module's tables in plain memory, for the core in user space: what forwarding looks up, without the edge. */
#ifndef KK_PLANE_SNAPSHOT_H
#define KK_PLANE_SNAPSHOT_H

#include "core/user.h"
#include "genl/module.h"

/* *@ret is freed with kk_user_free(). Services have slots of the copy's own. */
int kk_module_snapshot(const struct kk_module *module, struct kk_user **ret, struct kk_err *err);

#endif
