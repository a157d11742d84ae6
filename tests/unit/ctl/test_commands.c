// SPDX-License-Identifier: MIT
/* kkctl's command line: what is understood, and what is refused with which sentence. */
#include "tests/unit/kk_test.h"

#include "ctl/commands.h"
#include "tests/unit/ctl/capture.h"
#include "util/cleanup.h"

static char words[512];

/* @line split at blanks, behind the program's name; what it yields points into words[]. */
static int parse(const char *line, struct ctl *ctl, const struct ctl_noun **noun)
{
	char *argv[32] = {"kkctl"};
	int argc = 1, r;

	snprintf(words, sizeof(words), "%s", line);
	for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	*ctl = (struct ctl){.options.wait = 10};
	*noun = NULL;
	CAPTURE(stderr, r = ctl_parse(argc, argv, ctl, noun));
	return r;
}

static void good(const char *line, const char *noun_name, const char *verb, const char *name)
{
	const struct ctl_noun *noun;
	struct ctl ctl;

	if (parse(line, &ctl, &noun) != CTL_DONE)
		fail_msg("\"%s\": %s", line, captured);
	assert_string_equal(captured, "");
	assert_string_equal(noun->name, noun_name);
	if (verb)
		assert_string_equal(ctl.command->verb, verb);
	else
		assert_null(ctl.command->verb);
	if (name)
		assert_string_equal(ctl.name, name);
	else
		assert_null(ctl.name);
}

static void test_good(void **state)
{
	const struct ctl_noun *noun;
	struct ctl ctl;

	(void)state;
	good("gateway list", "gateway", "list", NULL);
	good("gateway add gw1 --address 192.0.2.1", "gateway", "add", "gw1");
	good("gateway add --address 192.0.2.1 gw1", "gateway", "add", "gw1");
	good("--json --config /a gateway --wait 3 show gw1", "gateway", "show", "gw1");
	good("--config=/a agent rm home", "agent", "rm", "home");
	good("token rm 7", "token", "rm", "7");
	good("key add laptop", "key", "add", "laptop");
	good("status", "status", NULL, NULL);
	good("sessions --socket /a", "sessions", NULL, NULL);

	assert_int_equal(parse("service add ssh --agent home --tcp 2222 --target 22 "
			       "--proxy-protocol --wait 0 --json",
			       &ctl, &noun),
			 CTL_DONE);
	assert_int_equal(ctl.options.agents.n, 1);
	assert_string_equal(ctl.options.agents.items[0], "home");
	assert_string_equal(ctl.options.tcp, "2222");
	assert_null(ctl.options.udp);
	assert_string_equal(ctl.options.target, "22");
	assert_true(ctl.options.proxy_protocol);
	assert_true(ctl.options.json);
	assert_int_equal(ctl.options.wait, 0);
	assert_int_equal(parse("service set ssh --proxy-protocol off", &ctl, &noun), CTL_DONE);
	assert_string_equal(ctl.options.proxy_switch, "off");
	assert_false(ctl.options.proxy_protocol);
}

/* One line, "kkctl: @message", and the exit status of a wrong command line. */
static void refuse(const char *line, const char *message)
{
	const struct ctl_noun *noun;
	char wanted[512];
	struct ctl ctl;

	snprintf(wanted, sizeof(wanted), "kkctl: %s\n", message);
	assert_int_equal(parse(line, &ctl, &noun), CTL_USAGE);
	assert_string_equal(captured, wanted);
}

static void test_bad(void **state)
{
	(void)state;
	refuse("", "a command is missing; see kkctl --help");
	refuse("--json", "a command is missing; see kkctl --help");
	refuse("gatway list", "gatway: there is no such command; see kkctl --help");
	refuse("gateway", "gateway: a verb is missing; see kkctl gateway --help");
	refuse("gateway lst", "lst: gateway has no such verb; see kkctl gateway --help");
	refuse("gateway add", "NAME is missing; see kkctl gateway add --help");
	refuse("token rm", "ID is missing; see kkctl token rm --help");
	refuse("gateway list gw1",
	       "gw1: there is nothing to do with it; see kkctl gateway list --help");
	refuse("agent rm a b", "b: there is nothing to do with it; see kkctl agent rm --help");
	refuse("status now", "now: there is nothing to do with it; see kkctl status --help");
	refuse("gateway add GW1",
	       "name: \"GW1\" is not a name (1 to 32 of a-z, 0-9 and '-', not at an end)");
	refuse("agent show ../x",
	       "name: \"../x\" is not a name (1 to 32 of a-z, 0-9 and '-', not at an end)");
	refuse("agent add a --address 192.0.2.1",
	       "--address: there is no such option; see kkctl agent add --help");
	refuse("gateway list --wg-port 7",
	       "--wg-port: there is no such option; see kkctl gateway list --help");
	refuse("-j status", "-j: there is no such option; see kkctl status --help");
	refuse("status --json=yes", "--json takes no value; see kkctl status --help");
	refuse("status --config", "--config needs a value: FILE; see kkctl status --help");
	refuse("status --wait 61", "wait: 61 is out of range (0 to 60)");
	refuse("status --wait soon", "wait: \"soon\" is not a whole number");
	refuse("gateway add gw1 --wg-port 70000", "wg-port: 70000 is out of range (1 to 65535)");
	refuse("token add --agent a --expires 59", "expires: 59 is out of range (60 to 2592000)");
	refuse("service set s --proxy-protocol",
	       "--proxy-protocol needs a value: on|off; see kkctl service set --help");
}

/* What only the commands themselves can see; they refuse it before they look for Control. */
static void refuse_run(const char *line, const char *message)
{
	const struct ctl_noun *noun;
	char wanted[512];
	struct ctl ctl;
	int r;

	if (parse(line, &ctl, &noun) != CTL_DONE)
		fail_msg("\"%s\": %s", line, captured);
	CAPTURE(stderr, r = ctl.command->run(&ctl));
	snprintf(wanted, sizeof(wanted), "kkctl: %s\n", message);
	assert_string_equal(captured, wanted);
	assert_int_equal(r, CTL_USAGE);
}

static void test_bad_values(void **state)
{
	(void)state;
	refuse_run("gateway add gw1", "--address is missing; see kkctl gateway add --help");
	refuse_run("gateway add gw1 --address gw.example",
		   "address: \"gw.example\" is not an IP address");
#define ADD "service add ssh --agent home "
	refuse_run("service add ssh", "--agent is missing; see kkctl service add --help");
	refuse_run(ADD, "either --tcp PORT or --udp PORT is wanted; see kkctl service add --help");
	refuse_run(ADD "--tcp 1 --udp 1 --target 1",
		   "either --tcp PORT or --udp PORT is wanted; see kkctl service add --help");
	refuse_run(ADD "--tcp 22", "--target is missing; see kkctl service add --help");
	refuse_run(ADD "--tcp 70000 --target 22", "port: 70000 is out of range (1 to 65535)");
	refuse_run(ADD "--udp 0 --target 22", "port: 0 is out of range (1 to 65535)");
	refuse_run(ADD "--tcp ssh --target 22", "port: \"ssh\" is not a whole number");
	refuse_run(ADD "--tcp 22 --target nas", "target: \"nas\" is not HOST:PORT or PORT");
	refuse_run(ADD "--tcp 22 --target nas:0", "target: 0 is out of range (1 to 65535)");
	refuse_run("service add s --agent A --tcp 1 --target 1",
		   "agent: \"A\" is not a name (1 to 32 of a-z, 0-9 and '-', not at an end)");
	refuse_run("service set ssh", "there is nothing to change; see kkctl service set --help");
	refuse_run("service set ssh --port 65536", "port: 65536 is out of range (1 to 65535)");
	refuse_run("service set ssh --proxy-protocol yes",
		   "proxy-protocol: \"yes\" is neither on nor off");
	refuse_run("token add", "either --gateway NAME, --agent NAME or --prefix NAME is wanted; "
				"see kkctl token add --help");
	refuse_run(
		"token add --gateway a --agent b",
		"either --gateway NAME, --agent NAME or --prefix NAME is wanted; see kkctl token add --help");
	refuse_run("token rm x", "id: \"x\" is not a whole number");
}

/* Help comes from the tables: every command and every option that parsing knows is in it. */
static void test_help(void **state)
{
	const struct ctl_noun *noun;
	struct ctl ctl;

	(void)state;
	CAPTURE(stdout, ctl_help(stdout, NULL, NULL));
	assert_non_null(strstr(captured, "gateway add NAME"));
	assert_non_null(strstr(captured, "token rm ID"));
	assert_non_null(strstr(captured, "  status   "));
	assert_non_null(strstr(captured, "--config FILE"));
	assert_int_equal(parse("service add --help", &ctl, &noun), CTL_DONE);
	assert_true(ctl.options.help);
	CAPTURE(stdout, ctl_help(stdout, noun, ctl.command));
	assert_non_null(strstr(captured, "Usage: kkctl service add NAME [OPTIONS]"));
	for (size_t i = 0; i < ctl.command->n_options; i++)
		assert_non_null(strstr(captured, ctl.command->options[i].help));
	assert_int_equal(parse("agent -h", &ctl, &noun), CTL_DONE);
	assert_null(ctl.command);
	CAPTURE(stdout, ctl_help(stdout, noun, NULL));
	assert_non_null(strstr(captured, "agent revoke NAME"));
	assert_null(strstr(captured, "gateway add"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
