// SPDX-License-Identifier: MIT
#include "ctl/commands.h"

#include <stdarg.h>
#include <string.h>

#include "ctl/print.h"
#include "util/cleanup.h"
#include "util/parse.h"

#define OPTIONS_MAX   24
#define COMMAND_WIDTH 22   /* columns of help */
#define MESSAGE_MAX   4608 /* the path of a file, and what is wrong with it */

static const struct ctl_noun *const nouns[] = {
	&ctl_gateway,  &ctl_agent,    &ctl_peer,   &ctl_service, &ctl_host,    &ctl_group,
	&ctl_rule,     &ctl_deny,     &ctl_ban,	   &ctl_token,	 &ctl_key,     &ctl_status,
	&ctl_sessions, &ctl_datapath, &ctl_user,   &ctl_org,	 &ctl_login,   &ctl_logout,
	&ctl_audit,    &ctl_apply,    &ctl_export, &ctl_backup,	 &ctl_restore,
};

static const struct kk_option global_options[] = {
	CTL_OPTION("config", "FILE", KK_OPTION_STRING, config,
		   "Control's admin.json (default $KKCTL_CONFIG, else "
		   "/var/lib/kakuremichi/control/admin.json)"),
	CTL_OPTION("json", NULL, KK_OPTION_FLAG, json, "print the API's objects"),
	CTL_OPTION("wait", "S", KK_OPTION_INT, wait,
		   "seconds to wait for the nodes, 0 to 60 (default 10)", .min = 0, .max = 60),
	KK_OPTION("help", 'h', NULL, KK_OPTION_FLAG, struct ctl_options, help, "print this help"),
	CTL_OPTION("version", NULL, KK_OPTION_FLAG, version, "print the version"),
};

/* ---- messages ---- */

/* One line, whatever was typed or came from elsewhere. */
static void complain(const char *fmt, va_list ap, const char *hint)
{
	char text[MESSAGE_MAX];

	vsnprintf(text, sizeof(text), fmt, ap);
	fputs("kkctl: ", stderr);
	ctl_fprint_text(stderr, text);
	fprintf(stderr, "%s\n", hint);
}

int ctl_fail(enum ctl_exit code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap, "");
	va_end(ap);
	return code;
}

static const struct ctl_noun *noun_of(const struct ctl_command *command)
{
	for (size_t i = 0; i < ARRAY_SIZE(nouns); i++)
		if (command >= nouns[i]->commands &&
		    command < nouns[i]->commands + nouns[i]->n_commands)
			return nouns[i];
	return NULL;
}

int ctl_usage(const struct ctl *ctl, const char *fmt, ...)
{
	const struct ctl_noun *noun = noun_of(ctl->command);
	char hint[96] = "; see kkctl --help";
	va_list ap;

	if (noun)
		snprintf(hint, sizeof(hint), "; see kkctl %s%s%s --help", noun->name,
			 ctl->command->verb ? " " : "",
			 ctl->command->verb ? ctl->command->verb : "");
	va_start(ap, fmt);
	complain(fmt, ap, hint);
	va_end(ap);
	return CTL_USAGE;
}

/* ---- parsing ---- */

static bool takes_value(const char *arg)
{
	if (arg[1] != '-' || strchr(arg, '='))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(global_options); i++)
		if (strcmp(global_options[i].name, arg + 2) == 0)
			return global_options[i].value != NULL;
	return false;
}

/*
 * The first @max words that are no options. Which options there are depends on the command, which these
 * words name: so far only the global ones are known, and only those may stand between the words.
 */
static size_t find_words(int argc, char **argv, const char **words, size_t max)
{
	size_t n = 0;

	for (int i = 1; i < argc && n < max; i++) {
		if (argv[i][0] != '-')
			words[n++] = argv[i];
		else if (takes_value(argv[i]))
			i++;
	}
	return n;
}

static const struct ctl_noun *find_noun(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(nouns); i++)
		if (strcmp(nouns[i]->name, name) == 0)
			return nouns[i];
	return NULL;
}

static const struct ctl_command *find_command(const struct ctl_noun *noun, const char *verb)
{
	for (size_t i = 0; i < noun->n_commands; i++) {
		const struct ctl_command *c = &noun->commands[i];

		if (!c->verb || (verb && strcmp(c->verb, verb) == 0))
			return c;
	}
	return NULL;
}

/* Reads the options of @command (may be NULL) and the global ones. Returns the words left or CTL_USAGE. */
static int parse_options(int argc, char **argv, struct ctl *ctl, int *ret_left)
{
	struct kk_option table[OPTIONS_MAX];
	size_t n = ctl->command ? ctl->command->n_options : 0;
	struct kk_err err = {0};
	int left;

	if (n)
		memcpy(table, ctl->command->options, n * sizeof(*table));
	memcpy(table + n, global_options, sizeof(global_options));
	left = kk_options_parse(argc, argv, table, n + ARRAY_SIZE(global_options), &ctl->options,
				&err);
	if (left >= 0) {
		*ret_left = left;
		return CTL_DONE;
	}
	/* About an option itself there is more to read, a bad value speaks for itself. */
	if (err.msg[0] == '-')
		return ctl_usage(ctl, "%s", err.msg);
	return ctl_fail(CTL_USAGE, "%s", err.msg);
}

/* The command's arguments: a name, but for those that check theirs themselves. */
static int take_arguments(struct ctl *ctl, char **words, int n)
{
	const char *argument = ctl->command->argument;
	int wanted = argument && !ctl->command->n_arguments ? 1 : ctl->command->n_arguments;
	bool optional = argument && argument[0] == '[';
	struct kk_err err = {0};

	if (n < wanted && !optional)
		return ctl_usage(ctl, "%s is missing", argument);
	if (n > wanted)
		return ctl_usage(ctl, "%.64s: there is nothing to do with it", words[wanted]);
	if (!argument || !n)
		return CTL_DONE;
	ctl->words = words;
	ctl->name = words[0];
	if (strcmp(argument, "NAME") == 0 && kk_parse_name("name", ctl->name, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	return CTL_DONE;
}

int ctl_parse(int argc, char **argv, struct ctl *ctl, const struct ctl_noun **ret_noun)
{
	const char *words[2] = {NULL, NULL};
	const struct ctl_noun *noun = NULL;
	size_t n = find_words(argc, argv, words, 2);
	int left, used, r;

	if (n)
		noun = find_noun(words[0]);
	if (n && !noun)
		return ctl_usage(ctl, "%.64s: there is no such command", words[0]);
	if (noun)
		ctl->command = find_command(noun, words[1]);
	if (noun && words[1] && !ctl->command)
		return ctl_fail(CTL_USAGE, "%.64s: %s has no such verb; see kkctl %s --help",
				words[1], noun->name, noun->name);
	r = parse_options(argc, argv, ctl, &left);
	if (r != CTL_DONE)
		return r;
	*ret_noun = noun;
	if (ctl->options.help || ctl->options.version)
		return CTL_DONE;
	if (!noun)
		return ctl_usage(ctl, "a command is missing");
	if (!ctl->command)
		return ctl_fail(CTL_USAGE, "%s: a verb is missing; see kkctl %s --help", noun->name,
				noun->name);
	used = ctl->command->verb ? 2 : 1;
	return take_arguments(ctl, argv + 1 + used, left - used);
}

/* ---- help ---- */

static void command_line(char *text, size_t size, const struct ctl_noun *noun,
			 const struct ctl_command *c)
{
	snprintf(text, size, "%s%s%s%s%s", noun->name, c->verb ? " " : "", c->verb ? c->verb : "",
		 c->argument ? " " : "", c->argument ? c->argument : "");
}

static void help_noun(FILE *f, const struct ctl_noun *noun)
{
	char line[64];

	for (size_t i = 0; i < noun->n_commands; i++) {
		command_line(line, sizeof(line), noun, &noun->commands[i]);
		/* A longer one has its help on the next line: two spaces part them, which completion looks for. */
		if (strlen(line) >= COMMAND_WIDTH)
			fprintf(f, "  %s\n%*s", line, COMMAND_WIDTH + 3, "");
		else
			fprintf(f, "  %-*s ", COMMAND_WIDTH, line);
		fprintf(f, "%s\n", noun->commands[i].help);
	}
}

static void help_command(FILE *f, const struct ctl_noun *noun, const struct ctl_command *c)
{
	char line[64];

	command_line(line, sizeof(line), noun, c);
	fprintf(f, "Usage: kkctl %s%s\n%s.\n", line, c->n_options ? " [OPTIONS]" : "", c->help);
	if (c->n_options)
		fputs("\nOptions:\n", f);
	kk_options_help(f, c->options, c->n_options);
}

void ctl_help(FILE *f, const struct ctl_noun *noun, const struct ctl_command *command)
{
	if (command) {
		help_command(f, noun, command);
	} else if (noun) {
		fprintf(f, "Usage: kkctl %s VERB ...\n\n%s: %s\n", noun->name, noun->name,
			noun->help);
		help_noun(f, noun);
	} else {
		fputs("Usage: kkctl [OPTIONS] NOUN VERB ...\n\nCommands:\n", f);
		for (size_t i = 0; i < ARRAY_SIZE(nouns); i++)
			help_noun(f, nouns[i]);
	}
	fputs("\nOptions of every command:\n", f);
	kk_options_help(f, global_options, ARRAY_SIZE(global_options));
	fputs("\nExit status: 0 done, 1 refused or failed, 2 wrong command line, 3 Control not reachable,\n"
	      "4 done but not acknowledged by every node concerned in time.\n",
	      f);
}
