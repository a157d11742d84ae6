/* SPDX-License-Identifier: MIT */
/*
 * The file system that keeps maps alive: mounted where it is missing, and directories of pins in
 * it.
 */
#ifndef KK_BPF_BPFFS_H
#define KK_BPF_BPFFS_H

#include "util/err.h"

/*
 * Makes directory @path (with parents) in a bpffs; mounts one at /sys/fs/bpf if @path is below it.
 */
int kk_bpffs_mkdir(const char *path, struct kk_err *err);
/* Removes the pins in @path, and @path. Nothing there is no error. */
int kk_bpffs_remove(const char *path, struct kk_err *err);
/*
 * The same with every directory in @path whose name begins with @prefix, but for @keep (a path, or
 * NULL). What else is in @path is not ours.
 */
int kk_bpffs_remove_all(const char *path, const char *prefix, const char *keep, struct kk_err *err);

#endif
