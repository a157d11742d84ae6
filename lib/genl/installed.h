/* SPDX-License-Identifier: MIT */
/* The module as a file and as a part of the running kernel. */
#ifndef KK_GENL_INSTALLED_H
#define KK_GENL_INSTALLED_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the kernel has it, without having it loaded. */
bool kk_module_is_loaded(void);
/* Where it is not there and would not load: why, in words ("the module kakuremichi is not installed for ..."). */
void kk_module_absence(char *ret, size_t size);
#endif
