// SPDX-License-Identifier: MIT
/* All that Control cannot do without, in one file: the database, and the key that nodes know it by. */
#include <string.h>

#include "controld/rest/call.h"

int kk_backup_show(struct kk_call *call)
{
	const struct kk_tls_identity *identity = &call->control->identity;
	const struct kk_store_file files[] = {
		{"tls.key", identity->key, strlen(identity->key)},
		{"tls.crt", identity->cert, strlen(identity->cert)},
	};
	size_t len = 0;
	void *data;
	int r = kk_store_backup(call->control->store, files, ARRAY_SIZE(files), &data, &len,
				&call->err);

	if (r < 0)
		return r;
	r = kk_call_raw(call, "application/vnd.sqlite3", data, len);
	kk_store_backup_free(data);
	return r;
}
