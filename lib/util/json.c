// SPDX-License-Identifier: MIT
#include "util/json.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define DEFAULT_TEXT_MAX 1024

static const char *type_name(enum kk_json_type type)
{
	switch (type) {
	case KK_JSON_STRING:
		return "a text";
	case KK_JSON_INT:
		return "a whole number";
	case KK_JSON_BOOL:
		return "true or false";
	case KK_JSON_ANY:
		break;
	}
	return "a value";
}

static int wrong_type(const struct kk_json_field *f, const json_t *value, struct kk_err *err)
{
	KK_CLEANUP_FREE char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

	return kk_err_set(err, EINVAL, f->name, "%s: %.64s is not %s", f->name, text ? text : "?",
			  type_name(f->type));
}

static int read_string(const struct kk_json_field *f, const json_t *value, void *slot,
		       struct kk_err *err)
{
	size_t max = f->max ? (size_t)f->max : DEFAULT_TEXT_MAX;

	if (!json_is_string(value))
		return wrong_type(f, value, err);
	if (json_string_length(value) > max)
		return kk_err_set(err, EINVAL, f->name, "%s: a text of %zu bytes, %zu at most",
				  f->name, json_string_length(value), max);
	if (json_string_length(value) < (size_t)f->min)
		return kk_err_set(err, EINVAL, f->name, "%s: the text is empty or too short",
				  f->name);
	if (strlen(json_string_value(value)) != json_string_length(value))
		return kk_err_set(err, EINVAL, f->name, "%s: the text has a NUL in it", f->name);
	*(const char **)slot = json_string_value(value);
	return 0;
}

static int read_int(const struct kk_json_field *f, const json_t *value, void *slot,
		    struct kk_err *err)
{
	int64_t number;

	if (!json_is_integer(value))
		return wrong_type(f, value, err);
	number = json_integer_value(value);
	if (number < f->min || number > f->max)
		return kk_err_set(err, ERANGE, f->name,
				  "%s: %" PRId64 " is out of range (%" PRId64 " to %" PRId64 ")",
				  f->name, number, f->min, f->max);
	*(int64_t *)slot = number;
	return 0;
}

static int read_field(const struct kk_json_field *f, json_t *value, void *out, struct kk_err *err)
{
	void *slot = (char *)out + f->offset;

	switch (f->type) {
	case KK_JSON_STRING:
		return read_string(f, value, slot, err);
	case KK_JSON_INT:
		return read_int(f, value, slot, err);
	case KK_JSON_BOOL:
		if (!json_is_boolean(value))
			return wrong_type(f, value, err);
		*(bool *)slot = json_is_true(value);
		return 0;
	case KK_JSON_ANY:
		*(json_t **)slot = value;
		return 0;
	}
	return -EINVAL;
}

static int refuse_unknown(const json_t *obj, const struct kk_json_field *fields, size_t n_fields,
			  struct kk_err *err)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)obj, key, value) {
		bool known = false;

		for (size_t i = 0; i < n_fields && !known; i++)
			known = strcmp(fields[i].name, key) == 0;
		if (!known)
			return kk_err_set(err, EINVAL, key, "%.40s: there is no such field", key);
	}
	return 0;
}

int kk_json_read_lax(const json_t *obj, const struct kk_json_field *fields, size_t n_fields,
		     void *out, struct kk_err *err)
{
	if (!json_is_object(obj))
		return kk_err_set(err, EINVAL, NULL, "a JSON object is wanted here");
	for (size_t i = 0; i < n_fields; i++) {
		json_t *value = json_object_get(obj, fields[i].name);
		int r;

		if (json_is_null(value) && (fields[i].flags & KK_JSON_NULLABLE))
			value = NULL;
		if (!value && (fields[i].flags & KK_JSON_REQUIRED))
			return kk_err_set(err, EINVAL, fields[i].name, "%s: is missing",
					  fields[i].name);
		if (!value)
			continue;
		r = read_field(&fields[i], value, out, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int kk_json_read(const json_t *obj, const struct kk_json_field *fields, size_t n_fields, void *out,
		 struct kk_err *err)
{
	int r;

	if (!json_is_object(obj))
		return kk_err_set(err, EINVAL, NULL, "a JSON object is wanted here");
	r = refuse_unknown(obj, fields, n_fields, err);
	if (r < 0)
		return r;
	return kk_json_read_lax(obj, fields, n_fields, out, err);
}

json_t *kk_json_parse(const char *text, size_t len, struct kk_err *err)
{
	json_error_t jerr;
	json_t *obj = json_loadb(text, len, JSON_REJECT_DUPLICATES, &jerr);

	if (!obj)
		kk_err_set(err, EINVAL, NULL, "not JSON: %s at line %d, column %d", jerr.text,
			   jerr.line, jerr.column);
	return obj;
}

char *kk_json_text(const json_t *obj)
{
	return json_dumps(obj, JSON_COMPACT);
}
