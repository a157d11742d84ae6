// SPDX-License-Identifier: MIT
/* All that Control cannot do without, in one file: the database, and the key that nodes know it by. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "controld/rest/call.h"
#include "util/file.h"

#define FILE_MAX (64u << 10)

static int read_file(struct kk_call *call, const char *name, char **ret, size_t *ret_len)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/%s", call->control->state, name);
	r = kk_file_read(path, FILE_MAX, ret, ret_len);
	if (r < 0)
		return kk_err_set(&call->err, EIO, NULL, "cannot read %s: %s", path, strerror(-r));
	return 0;
}

int kk_backup_show(struct kk_call *call)
{
	KK_CLEANUP_FREE char *key = NULL, *cert = NULL;
	struct kk_store_file files[2] = {{.name = "tls.key"}, {.name = "tls.crt"}};
	size_t len = 0;
	void *data;
	int r = read_file(call, files[0].name, &key, &files[0].len);

	if (r == 0)
		r = read_file(call, files[1].name, &cert, &files[1].len);
	if (r < 0)
		return r;
	files[0].data = key;
	files[1].data = cert;
	r = kk_store_backup(call->control->store, files, ARRAY_SIZE(files), &data, &len,
			    &call->err);
	explicit_bzero(key, files[0].len);
	if (r < 0)
		return r;
	r = kk_call_raw(call, "application/vnd.sqlite3", data, len);
	kk_store_backup_free(data);
	return r;
}
