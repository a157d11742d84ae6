/* SPDX-License-Identifier: MIT */
#ifndef KK_CTL_PASSWORD_H
#define KK_CTL_PASSWORD_H

#define CTL_PASSWORD_MAX 300

/*
 * Asks for a password without showing it; where standard input is no terminal, its first line is it. What went
 * wrong was told to the user.
 */
int ctl_read_password(const char *prompt, char password[CTL_PASSWORD_MAX]);

#endif
