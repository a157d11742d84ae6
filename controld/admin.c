// SPDX-License-Identifier: MIT
#include "controld/admin.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "controld/secret.h"
#include "controld/store/accounts.h"
#include "util/file.h"
#include "util/json.h"
#include "util/log.h"

#define FILE_MAX (16u << 10)
#define NAME	 "admin"

/* The key in the file, "" if there is no file. */
static int read_key(const struct kk_control *control, const char *path, char key[KK_SECRET_LEN],
		    struct kk_err *err)
{
	KK_CLEANUP_FREE char *text = NULL;
	KK_CLEANUP_JSON json_t *obj = NULL;
	const char *value, *pin;
	size_t len;
	int r = kk_file_read(path, FILE_MAX, &text, &len);

	key[0] = '\0';
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return kk_err_set(err, -r, "state", "cannot read %s: %s", path, strerror(-r));
	obj = kk_json_parse(text, len, NULL);
	value = json_string_value(json_object_get(obj, "key"));
	if (!value || strlen(value) >= KK_SECRET_LEN)
		return kk_err_set(err, EINVAL, "state",
				  "%s is damaged; remove it to have another one made", path);
	strcpy(key, value);
	pin = json_string_value(json_object_get(obj, "pin"));
	if (pin && strcmp(pin, control->identity.pin) != 0)
		kk_warn("the TLS key is another than before: nodes that joined by the earlier one "
			"do not know Control until they join again");
	return 0;
}

static int write_file(const struct kk_control *control, const char *path, const char *key,
		      struct kk_err *err)
{
	KK_CLEANUP_JSON json_t *obj = json_pack("{s:s, s:s, s:s}", "url", control->url, "pin",
						control->identity.pin, "key", key);
	KK_CLEANUP_FREE char *text = obj ? json_dumps(obj, JSON_INDENT(2)) : NULL;
	int r = text ? kk_file_write(path, text, strlen(text), 0600) : -ENOMEM;

	if (r < 0)
		return kk_err_set(err, -r, "state", "cannot write %s: %s", path, strerror(-r));
	return 0;
}

int kk_admin_write(const struct kk_control *control, const char *dir, struct kk_err *err)
{
	char path[PATH_MAX], key[KK_SECRET_LEN];
	uint8_t hash[KK_HASH_LEN];
	struct kk_caller caller;
	int r;

	snprintf(path, sizeof(path), "%s/admin.json", dir);
	r = read_key(control, path, key, err);
	if (r < 0)
		return r;
	if (key[0]) {
		r = kk_secret_hash(key, hash);
		if (r == 0)
			r = kk_store_api_key_find(control->store, hash, time(NULL), &caller, NULL);
		if (r == -EACCES) {
			kk_warn("the key in %s has been removed; remove the file to have another "
				"one made",
				path);
			return 0;
		}
	} else {
		r = kk_secret_make(KK_API_PREFIX, key, hash);
		if (r == 0)
			r = kk_store_api_key_put(control->store, hash, NAME, err);
	}
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot make an API key: %s", strerror(-r));
	return write_file(control, path, key, err);
}
