/* SPDX-License-Identifier: MIT */
/* From a command line to a command: the table of nouns, parsing and help. */
#ifndef KK_CTL_COMMANDS_H
#define KK_CTL_COMMANDS_H

#include <stdio.h>

#include "ctl/ctl.h"

/*
 * Takes the command line apart: options and argument into @ctl, *@ret_noun and ctl->command what they name,
 * NULL where only help or the version was asked for. Returns CTL_DONE, or CTL_USAGE when it has told the
 * user what is wrong.
 */
int ctl_parse(int argc, char **argv, struct ctl *ctl, const struct ctl_noun **ret_noun);

/* Help on a command, on a noun (@command NULL), or on all (@noun NULL too). */
void ctl_help(FILE *f, const struct ctl_noun *noun, const struct ctl_command *command);

#endif
