// SPDX-License-Identifier: MIT
#include "kk_test.h"

#include <errno.h>
#include <stdlib.h>

#include "util/cleanup.h"
#include "util/options.h"

struct opts {
	bool verbose, force;
	const char *state;
	int64_t port;
};

static const struct kk_option options[] = {
	KK_OPTION("verbose", 'v', NULL, KK_OPTION_FLAG, struct opts, verbose, "say more"),
	KK_OPTION("force", 0, NULL, KK_OPTION_FLAG, struct opts, force, "even so"),
	KK_OPTION("state", 's', "DIR", KK_OPTION_STRING, struct opts, state, "where to keep it"),
	KK_OPTION("port", 'p', "P", KK_OPTION_INT, struct opts, port, "which port", .min = 1,
		  .max = 65535),
};

/* @line split at blanks, behind the program's name. */
static int run(const char *line, struct opts *opts, char *left, size_t left_size,
	       struct kk_err *err)
{
	char text[256], *argv[32] = {"prog"};
	int argc = 1, r;

	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	r = kk_options_parse(argc, argv, options, ARRAY_SIZE(options), opts, err);
	left[0] = '\0';
	for (int i = 1; i <= r; i++) {
		strncat(left, argv[i], left_size - strlen(left) - 1);
		strncat(left, i < r ? " " : "", left_size - strlen(left) - 1);
	}
	/* The values point into @text, which ends here. */
	if (opts->state)
		opts->state = strcmp(opts->state, "/a") == 0 ? "/a" : "another";
	return r;
}

static void good(const char *line, const char *want_left, struct opts want)
{
	struct kk_err err = {0};
	struct opts opts = {0};
	char left[256];

	if (run(line, &opts, left, sizeof(left), &err) < 0)
		fail_msg("\"%s\": %s", line, err.msg);
	assert_string_equal(left, want_left);
	assert_int_equal(opts.verbose, want.verbose);
	assert_int_equal(opts.force, want.force);
	assert_int_equal(opts.port, want.port);
	if (want.state)
		assert_string_equal(opts.state, want.state);
	else
		assert_null(opts.state);
}

static void test_good(void **state)
{
	(void)state;
	good("", "", (struct opts){0});
	good("join token", "join token", (struct opts){0});
	good("-v join --force token", "join token", (struct opts){.verbose = true, .force = true});
	good("--state /a run", "run", (struct opts){.state = "/a"});
	good("run --state=/a", "run", (struct opts){.state = "/a"});
	good("run -s /a", "run", (struct opts){.state = "/a"});
	good("run -s/a", "run", (struct opts){.state = "/a"});
	good("--port=22 --port 23", "", (struct opts){.port = 23});
	good("-p65535", "", (struct opts){.port = 65535});
	good("--state --verbose", "", (struct opts){.state = "another"});
	good("-v -- --force -x", "--force -x", (struct opts){.verbose = true});
	good("- -v", "-", (struct opts){.verbose = true});
}

static void refuse(const char *line, int code, const char *field, const char *part)
{
	struct kk_err err = {0};
	struct opts opts = {0};
	char left[256];

	if (run(line, &opts, left, sizeof(left), &err) != -code)
		fail_msg("\"%s\" was taken, or another error: %s", line, err.msg);
	assert_err(&err, field, part);
}

static void test_bad(void **state)
{
	(void)state;
	refuse("--stat /a", EINVAL, "--stat", "--stat: there is no such option");
	refuse("--states=/a", EINVAL, "--states=/a", "there is no such option");
	refuse("-x", EINVAL, "-x", "there is no such option");
	refuse("--=1", EINVAL, "--=1", "there is no such option");
	refuse("--State /a", EINVAL, "--State", "there is no such option");
	refuse("run --state", EINVAL, "state", "--state needs a value: DIR");
	refuse("-s", EINVAL, "state", "needs a value");
	refuse("--force=yes", EINVAL, "force", "--force takes no value");
	refuse("-vx", EINVAL, "verbose", "--verbose takes no value");
	refuse("--port x", EINVAL, "port", "\"x\" is not a whole number");
	refuse("--port=", EINVAL, "port", "\"\" is not a whole number");
	refuse("--port 0", ERANGE, "port", "0 is out of range (1 to 65535)");
	refuse("--port -1", ERANGE, "port", "-1 is out of range");
	refuse("-p70000", ERANGE, "port", "70000 is out of range");
}

static void test_more_than_once(void **state)
{
	struct {
		const char *once;
		struct kk_option_list list;
	} out = {0};
	static const struct kk_option table[] = {
		{.name = "once", .value = "A", .type = KK_OPTION_STRING, .once = true},
		{.name = "list",
		 .value = "A",
		 .type = KK_OPTION_LIST,
		 .offset = sizeof(const char *),
		 .once = true},
	};
	char *good[] = {"prog", "--list", "1", "--once=a", "--list=2"};
	char *bad[] = {"prog", "--once=a", "--once", "b"};
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(kk_options_parse(5, good, table, 2, &out, &err), 0);
	assert_int_equal(out.list.n, 2);
	assert_string_equal(out.list.items[1], "2");
	assert_int_equal(kk_options_parse(4, bad, table, 2, &out, &err), -EINVAL);
	assert_err(&err, "once", "--once is given twice");
}

static void test_help(void **state)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	kk_options_help(f, options, ARRAY_SIZE(options));
	fclose(f);
	assert_string_equal(text, "  -v, --verbose                  say more\n"
				  "      --force                    even so\n"
				  "  -s, --state DIR                where to keep it\n"
				  "  -p, --port P                   which port\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_more_than_once),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
