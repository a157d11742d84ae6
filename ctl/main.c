// SPDX-License-Identifier: MIT
/* kkctl: the administrator's tool. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/commands.h"

/* What was printed has not arrived before it is written: a full disk is a failure. */
static int flush(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	return ctl_fail(CTL_REFUSED, "standard output: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct ctl ctl = {.options.wait = 10};
	const struct ctl_noun *noun = NULL;
	int r = ctl_parse(argc, argv, &ctl, &noun);

	if (r != CTL_DONE)
		return r;
	if (ctl.options.version)
		puts("kkctl " KK_VERSION);
	else if (ctl.options.help)
		ctl_help(stdout, noun, ctl.command);
	else
		r = ctl.command->run(&ctl);
	json_decref(ctl.admin);
	return flush(r);
}
