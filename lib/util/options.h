/* SPDX-License-Identifier: MIT */
/* Command-line options as a table: parsing and help text come from the same rows. */
#ifndef KK_UTIL_OPTIONS_H
#define KK_UTIL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "util/err.h"

enum kk_option_type {
	KK_OPTION_FLAG,	  /* bool, takes no value */
	KK_OPTION_STRING, /* const char *, points into argv */
	KK_OPTION_INT,	  /* int64_t, @min to @max */
	KK_OPTION_LIST, /* struct kk_option_list: the only kind that may be given more than once */
};

#define KK_OPTION_LIST_MAX 64

struct kk_option_list {
	const char *items[KK_OPTION_LIST_MAX]; /* point into argv */
	size_t n;
};

struct kk_option {
	const char *name;  /* long form without the dashes */
	char letter;	   /* short form, or 0 */
	const char *value; /* how help names the value: "FILE"; NULL for a flag */
	enum kk_option_type type;
	size_t offset; /* into the struct that is filled */
	int64_t min, max;
	bool once; /* a second time is refused, else the last counts */
	const char *help;
};

#define KK_OPTION(name_, letter_, value_, type_, struct_, member_, help_, ...)                     \
	{                                                                                          \
		.name = (name_), .letter = (letter_), .value = (value_), .type = (type_),          \
		.offset = offsetof(struct_, member_), .help = (help_), ##__VA_ARGS__               \
	}

/*
 * Takes options out of argv[1..] into @out, in any place, both as --name=value and --name value;
 * "--" ends them. What is left over stays in argv[1..]. Returns how many are left, or -EINVAL /
 * -ERANGE with @err filled in.
 */
int kk_options_parse(int argc, char **argv, const struct kk_option *options, size_t n_options,
		     void *out, struct kk_err *err);

/* One line an option, aligned. */
void kk_options_help(FILE *f, const struct kk_option *options, size_t n_options);

#endif
