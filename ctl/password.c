// SPDX-License-Identifier: MIT
#include "ctl/password.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "ctl/ctl.h"

int ctl_read_password(const char *prompt, char password[CTL_PASSWORD_MAX])
{
	struct termios shown, hidden;
	bool terminal = tcgetattr(STDIN_FILENO, &shown) == 0;
	bool got;

	if (terminal) {
		fputs(prompt, stderr);
		hidden = shown;
		hidden.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
	}
	got = fgets(password, CTL_PASSWORD_MAX, stdin) != NULL;
	if (terminal) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
		fputc('\n', stderr);
	}
	if (got)
		password[strcspn(password, "\n")] = '\0';
	if (!got || !password[0])
		return ctl_fail(CTL_USAGE, "a password is wanted on standard input");
	return CTL_DONE;
}
