// SPDX-License-Identifier: MIT
/* The manual page knows what kkctl's tables know: every command, every option. From the tree's top. */
#include "tests/unit/kk_test.h"

#include <errno.h>

#include "ctl/commands.h"
#include "tests/unit/ctl/capture.h"
#include "util/cleanup.h"
#include "util/file.h"

static char page[65536];

/* The page without roff: no quotes, no "\-", no words in upper case, which are values. */
static int read_page(void **state)
{
	KK_CLEANUP_FREE char *text = NULL;
	size_t len, n = 0;
	int r = kk_file_read("doc/kkctl.1", sizeof(page) - 1, &text, &len);

	(void)state;
	if (r < 0) {
		fprintf(stderr, "doc/kkctl.1: %s (run from the top of the tree)\n", strerror(-r));
		return r;
	}
	for (size_t i = 0; i < len; i++)
		if (text[i] != '\\' && text[i] != '"')
			page[n++] = text[i];
	return 0;
}

static void want(const char *text)
{
	if (!strstr(page, text))
		fail_msg("doc/kkctl.1 does not have \"%s\"", text);
}

static void test_commands(void **state)
{
	static const struct ctl_noun *const nouns[] = {
		&ctl_gateway, &ctl_agent, &ctl_peer,   &ctl_service,  &ctl_deny,     &ctl_ban,
		&ctl_token,   &ctl_key,	  &ctl_status, &ctl_sessions, &ctl_datapath, &ctl_user,
		&ctl_org,     &ctl_login, &ctl_logout, &ctl_audit,    &ctl_apply,    &ctl_backup,
		&ctl_restore, &ctl_host,  &ctl_group,  &ctl_rule,     &ctl_export,
	};
	char line[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nouns); i++) {
		for (size_t j = 0; j < nouns[i]->n_commands; j++) {
			const struct ctl_command *c = &nouns[i]->commands[j];

			snprintf(line, sizeof(line), "%s%s%s", nouns[i]->name, c->verb ? " " : "",
				 c->verb ? c->verb : "");
			want(line);
			for (size_t k = 0; k < c->n_options; k++) {
				snprintf(line, sizeof(line), "--%s", c->options[k].name);
				want(line);
			}
		}
	}
}

/* The global options, as help prints them. */
static void test_options(void **state)
{
	char *at = captured;

	(void)state;
	CAPTURE(stdout, ctl_help(stdout, NULL, NULL));
	for (size_t n = 0; (at = strstr(at, "  --")) || n == 0; n++) {
		char option[32] = "";

		assert_non_null(at);
		at += 2;
		strncat(option, at, strcspn(at, " \n"));
		want(option);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests(tests, read_page, NULL);
}
