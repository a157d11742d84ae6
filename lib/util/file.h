/* SPDX-License-Identifier: MIT */
/* Small files: read whole, replaced atomically. */
#ifndef KK_UTIL_FILE_H
#define KK_UTIL_FILE_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Reads the whole file, at most @max bytes (else -EFBIG), into a fresh NUL-terminated buffer that
 * the caller frees. @ret_len may be NULL. Returns 0 or a negative errno.
 */
int kk_file_read(const char *path, size_t max, char **ret, size_t *ret_len);
/* Writes a temporary file beside @path, syncs it and renames it over @path. */
int kk_file_write(const char *path, const void *data, size_t len, mode_t mode);
/* Makes @path and its parents; an existing directory is no error. */
int kk_mkdir_p(const char *path, mode_t mode);

#endif
