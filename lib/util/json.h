/* SPDX-License-Identifier: MIT */
/*
 * JSON objects read into structs by a table of fields. What the table does not allow is refused with
 * the field's name: a wrong type, a missing or an unknown field, a number or text out of range.
 */
#ifndef KK_UTIL_JSON_H
#define KK_UTIL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "util/cleanup.h"
#include "util/err.h"

enum kk_json_type {
	KK_JSON_STRING, /* const char *, borrowed from the object */
	KK_JSON_INT,	/* int64_t, @min to @max */
	KK_JSON_BOOL,	/* bool */
	KK_JSON_ANY,	/* json_t *, borrowed */
};

enum kk_json_flags {
	KK_JSON_REQUIRED = 1 << 0,
	KK_JSON_NULLABLE = 1 << 1, /* null is the same as absent */
};

struct kk_json_field {
	const char *name;
	enum kk_json_type type;
	unsigned int flags;
	size_t offset;	  /* into the struct that is filled */
	int64_t min, max; /* of a number; of a text's length in bytes (max 0: 1024) */
};

#define KK_JSON_FIELD(name_, type_, flags_, struct_, member_, ...)                                 \
	{                                                                                          \
		.name = (name_), .type = (type_), .flags = (flags_),                               \
		.offset = offsetof(struct_, member_), ##__VA_ARGS__                                \
	}

/*
 * Fills @out for every field that is there; others keep the value that the caller put in before.
 * Borrowed values live as long as @obj. Returns 0 or -EINVAL / -ERANGE with @err filled in; @out may
 * then be partly filled and is not to be used.
 */
int kk_json_read(const json_t *obj, const struct kk_json_field *fields, size_t n_fields, void *out,
		 struct kk_err *err);

/* As above for messages from a newer peer: fields that the table does not know are passed over. */
int kk_json_read_lax(const json_t *obj, const struct kk_json_field *fields, size_t n_fields,
		     void *out, struct kk_err *err);

/* Parses @len bytes of text; rejects duplicate keys. NULL with @err filled in; else decref it. */
json_t *kk_json_parse(const char *text, size_t len, struct kk_err *err);

static inline void kk_json_decrefp(json_t **p)
{
	json_decref(*p);
}

/* A fresh compact text of @obj, freed with free(); NULL only when memory is short. */
char *kk_json_text(const json_t *obj);

#define KK_CLEANUP_JSON KK_CLEANUP(kk_json_decrefp)

#endif
