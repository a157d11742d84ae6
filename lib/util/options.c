// SPDX-License-Identifier: MIT
#include "util/options.h"

#include <errno.h>
#include <string.h>

#include "util/parse.h"

static const struct kk_option *find_long(const struct kk_option *options, size_t n,
					 const char *name, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(options[i].name) == len && strncmp(options[i].name, name, len) == 0)
			return &options[i];
	return NULL;
}

static const struct kk_option *find_letter(const struct kk_option *options, size_t n, char letter)
{
	for (size_t i = 0; i < n; i++)
		if (options[i].letter && options[i].letter == letter)
			return &options[i];
	return NULL;
}

static int append(const struct kk_option *o, const char *value, struct kk_option_list *list,
		  struct kk_err *err)
{
	if (list->n == KK_OPTION_LIST_MAX)
		return kk_err_set(err, EINVAL, o->name, "--%s can be given %d times at most",
				  o->name, KK_OPTION_LIST_MAX);
	list->items[list->n++] = value;
	return 0;
}

static int store(const struct kk_option *o, const char *value, void *out, struct kk_err *err)
{
	void *slot = (char *)out + o->offset;

	switch (o->type) {
	case KK_OPTION_FLAG:
		*(bool *)slot = true;
		return 0;
	case KK_OPTION_STRING:
		*(const char **)slot = value;
		return 0;
	case KK_OPTION_INT:
		return kk_parse_int(o->name, value, o->min, o->max, slot, err);
	case KK_OPTION_LIST:
		return append(o, value, slot, err);
	}
	return -EINVAL;
}

#define OPTIONS_MAX 64

/* Of two values the last would be taken in silence, and the first may have been meant. */
static int refuse_again(const struct kk_option *o, bool *seen, struct kk_err *err)
{
	if (*seen && o->once && (o->type == KK_OPTION_STRING || o->type == KK_OPTION_INT))
		return kk_err_set(err, EINVAL, o->name, "--%s is given twice", o->name);
	*seen = true;
	return 0;
}

/* One option that begins at argv[*i]; moves *i past its value. */
static int take(int argc, char **argv, int *i, const struct kk_option *options, size_t n_options,
		bool seen[OPTIONS_MAX], void *out, struct kk_err *err)
{
	const char *arg = argv[*i], *value = NULL;
	const struct kk_option *o;

	if (arg[1] == '-') {
		size_t len = strcspn(arg + 2, "=");

		o = find_long(options, n_options, arg + 2, len);
		if (arg[2 + len] == '=')
			value = arg + 2 + len + 1;
	} else {
		o = find_letter(options, n_options, arg[1]);
		if (arg[2])
			value = arg + 2;
	}
	if (!o)
		return kk_err_set(err, EINVAL, arg, "%s: there is no such option", arg);
	if (o->type == KK_OPTION_FLAG && value)
		return kk_err_set(err, EINVAL, o->name, "--%s takes no value", o->name);
	if (o->type != KK_OPTION_FLAG && !value) {
		if (*i + 1 >= argc)
			return kk_err_set(err, EINVAL, o->name, "--%s needs a value: %s", o->name,
					  o->value);
		value = argv[++*i];
	}
	if (refuse_again(o, &seen[o - options], err) < 0)
		return -EINVAL;
	return store(o, value, out, err);
}

int kk_options_parse(int argc, char **argv, const struct kk_option *options, size_t n_options,
		     void *out, struct kk_err *err)
{
	bool seen[OPTIONS_MAX] = {false};
	int left = 0;
	bool ended = false;

	if (n_options > OPTIONS_MAX)
		return kk_err_set(err, EINVAL, NULL, "%zu options are more than can be told apart",
				  n_options);

	for (int i = 1; i < argc; i++) {
		int r;

		if (!ended && strcmp(argv[i], "--") == 0) {
			ended = true;
			continue;
		}
		if (ended || argv[i][0] != '-' || !argv[i][1]) {
			argv[1 + left++] = argv[i];
			continue;
		}
		r = take(argc, argv, &i, options, n_options, seen, out, err);
		if (r < 0)
			return r;
	}
	return left;
}

void kk_options_help(FILE *f, const struct kk_option *options, size_t n_options)
{
	for (size_t i = 0; i < n_options; i++) {
		char head[64];

		snprintf(head, sizeof(head), "%c%c%s--%s%s%s", options[i].letter ? '-' : ' ',
			 options[i].letter ? options[i].letter : ' ',
			 options[i].letter ? ", " : "  ", options[i].name,
			 options[i].value ? " " : "", options[i].value ? options[i].value : "");
		fprintf(f, "  %-30s %s\n", head, options[i].help);
	}
}
