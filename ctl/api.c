// SPDX-License-Identifier: MIT
#include "ctl/api.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/file.h"
#include "util/json.h"

#define ADMIN_FILE_DEFAULT "/var/lib/kakuremichi/control/admin.json"
#define ADMIN_FILE_MAX	   8192
#define NAMES_SHOWN	   4

static const struct kk_json_field admin_fields[] = {
	KK_JSON_FIELD("url", KK_JSON_STRING, KK_JSON_REQUIRED, struct kk_http_server, url,
		      .max = 255),
	KK_JSON_FIELD("pin", KK_JSON_STRING, KK_JSON_REQUIRED, struct kk_http_server, pin,
		      .max = 63),
	KK_JSON_FIELD("key", KK_JSON_STRING, KK_JSON_REQUIRED, struct kk_http_server, key,
		      .max = 127),
};

/* Where Control is and our key, from the file that it wrote at its first start. */
static int load_server(struct ctl *ctl)
{
	const char *path = ctl->options.config;
	KK_CLEANUP_FREE char *text = NULL;
	struct kk_err err = {0};
	size_t len;
	int r;

	if (ctl->admin)
		return CTL_DONE;
	if (!path)
		path = getenv("KKCTL_CONFIG");
	if (!path || !*path)
		path = ADMIN_FILE_DEFAULT;
	r = kk_file_read(path, ADMIN_FILE_MAX, &text, &len);
	if (r < 0)
		return ctl_fail(CTL_REFUSED,
				"%s: %s (Control's admin.json is wanted: --config FILE or "
				"$KKCTL_CONFIG)",
				path, strerror(-r));
	ctl->admin = kk_json_parse(text, len, &err);
	if (!ctl->admin || kk_json_read_lax(ctl->admin, admin_fields, ARRAY_SIZE(admin_fields),
					    &ctl->server, &err) < 0)
		return ctl_fail(CTL_REFUSED, "%s: is no admin.json of Control: %s", path, err.msg);
	return CTL_DONE;
}

/* Everything but what is our own fault means that Control was not reached. */
static int call_failed(int r, const struct kk_err *err)
{
	bool ours = r == -EINVAL || r == -ENOMEM || r == -EMSGSIZE;

	return ctl_fail(ours ? CTL_REFUSED : CTL_UNREACHABLE, "%s", err->msg);
}

/*
 * Control's sentence as kkctl's own are: without the full stop, and with the field in front unless it begins
 * with it already.
 */
static int refused(int status, const json_t *answer)
{
	struct kk_err err = {0};
	size_t len;

	kk_http_error(status, answer, &err);
	len = strlen(err.msg);
	if (len && err.msg[len - 1] == '.')
		err.msg[len - 1] = '\0';
	len = strlen(err.field);
	if (!len || strncmp(err.msg, err.field, len) == 0)
		return ctl_fail(CTL_REFUSED, "%s", err.msg);
	return ctl_fail(CTL_REFUSED, "%s: %s", err.field, err.msg);
}

int ctl_call(struct ctl *ctl, json_t **ret, json_t *body, const char *method, const char *path, ...)
{
	KK_CLEANUP_JSON json_t *owned = body, *answer = NULL;
	struct kk_err err = {0};
	char whole[512];
	va_list ap;
	int r;

	r = load_server(ctl);
	if (r != CTL_DONE)
		return r;
	va_start(ap, path);
	vsnprintf(whole, sizeof(whole), path, ap);
	va_end(ap);
	r = kk_http_call(&ctl->server, method, whole, owned, &answer, &err);
	if (r < 0)
		return call_failed(r, &err);
	if (r >= 400)
		return refused(r, answer);
	if (r == 204 && !answer)
		answer = json_object();
	if (!json_is_object(answer))
		return ctl_fail(CTL_REFUSED, "what answers at %s is not Control", ctl->server.url);
	*ret = KK_STEAL(answer);
	return CTL_DONE;
}

int ctl_download(struct ctl *ctl, const char *path, char **ret, size_t *ret_len)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	struct kk_err err = {0};
	int r = load_server(ctl);

	if (r != CTL_DONE)
		return r;
	r = kk_http_download(&ctl->server, path, ret, ret_len, &answer, &err);
	if (r < 0)
		return call_failed(r, &err);
	return r == 200 ? CTL_DONE : refused(r, answer);
}

/* Appends " (@what a, b and 3 more)" for a list of names that is not empty. */
static size_t add_names(char *text, size_t size, size_t at, const json_t *names, const char *what)
{
	size_t n = json_array_size(names);

	if (!n || at >= size)
		return at;
	at += (size_t)snprintf(text + at, size - at, " (%s:", what);
	for (size_t i = 0; i < n && i < NAMES_SHOWN && at < size; i++) {
		const char *name = json_string_value(json_array_get(names, i));

		at += (size_t)snprintf(text + at, size - at, "%s %s", i ? "," : "",
				       name ? name : "?");
	}
	if (n > NAMES_SHOWN && at < size)
		at += (size_t)snprintf(text + at, size - at, " and %zu more", n - NAMES_SHOWN);
	if (at < size)
		at += (size_t)snprintf(text + at, size - at, ")");
	return at;
}

int ctl_applied(const struct ctl *ctl, const json_t *answer, char *text, size_t size)
{
	const json_t *applied = json_object_get(answer, "applied");
	json_int_t all = json_integer_value(json_object_get(applied, "gateways"));
	json_int_t done = json_integer_value(json_object_get(applied, "acknowledged"));
	json_int_t agents = json_integer_value(json_object_get(applied, "agents"));
	json_int_t served = json_integer_value(json_object_get(applied, "agents_acknowledged"));
	size_t at;

	at = (size_t)snprintf(text, size, "applied on %lld/%lld gateways", done, all);
	if (agents && at < size)
		at += (size_t)snprintf(text + at, size - at, " and %lld/%lld agents", served,
				       agents);
	at = add_names(text, size, at, json_object_get(applied, "waiting"), "still waiting for");
	at = add_names(text, size, at, json_object_get(applied, "refused"), "refused by");
	at = add_names(text, size, at, json_object_get(applied, "too_old"), "too old for it");
	add_names(text, size, at, json_object_get(applied, "disconnected"), "not connected");
	return done + served < all + agents && ctl->options.wait > 0 ? CTL_WAITING : CTL_DONE;
}

int ctl_change(struct ctl *ctl, json_t *body, const char *method, const char *path,
	       const char *what)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	char applied[256];
	int r = ctl_call(ctl, &answer, body, method, "%s?wait=%lld", path,
			 (long long)ctl->options.wait);

	if (r != CTL_DONE)
		return r;
	r = ctl_applied(ctl, answer, applied, sizeof(applied));
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		printf("%s, %s\n", what, applied);
	return r;
}

int ctl_list(struct ctl *ctl, const char *path, const struct ctl_column *columns, size_t n_columns,
	     const char *none)
{
	KK_CLEANUP_JSON json_t *answer = NULL;
	int r = ctl_call(ctl, &answer, NULL, "GET", "%s", path);

	if (r != CTL_DONE)
		return r;
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		ctl_print_list(json_object_get(answer, "items"), columns, n_columns, none);
	return CTL_DONE;
}

json_int_t ctl_find_id(const json_t *items, const char *key, const char *value, const char *second,
		       const char *second_value)
{
	const json_t *item;
	size_t i;

	json_array_foreach((json_t *)items, i, item)
		if (strcmp(ctl_text(item, key), value) == 0 &&
		    (!second || strcmp(ctl_text(item, second), second_value) == 0))
			return json_integer_value(json_object_get(item, "id"));
	return 0;
}

int ctl_duration(const char *field, const char *text, int64_t max_s, int64_t *ret)
{
	static const struct {
		const char *unit;
		int64_t seconds;
	} units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
	size_t digits = strspn(text, "0123456789");

	for (size_t i = 0; digits && digits < 11 && i < ARRAY_SIZE(units); i++) {
		int64_t seconds = strtoll(text, NULL, 10) * units[i].seconds;

		if (strcmp(text + digits, units[i].unit) != 0)
			continue;
		if (seconds < 1 || seconds > max_s)
			return ctl_fail(CTL_USAGE, "%s: %.40s is not 1 s to %lld s", field, text,
					(long long)max_s);
		*ret = seconds;
		return CTL_DONE;
	}
	return ctl_fail(CTL_USAGE, "%s: \"%.40s\" is not a time (as 90, 90s, 15m, 1h, 7d)", field,
			text);
}

const char *ctl_text(const json_t *obj, const char *key)
{
	const char *text = json_string_value(json_object_get(obj, key));

	return text ? text : "";
}
