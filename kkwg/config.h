/* SPDX-License-Identifier: MIT */
/*
 * The text of get and set requests. A set request is read whole and checked whole before anything of
 * it is applied.
 */
#ifndef KKWG_CONFIG_H
#define KKWG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kkwg/engine.h"

/* What a set request asks for. Zeroed memory asks for nothing. */
struct config_change;

struct config_change *config_change_new(void); /* NULL when out of memory */
void config_change_free(struct config_change *c);
/*
 * Takes one line "key=value" without its newline; @line is overwritten. Returns 0, -EPROTO for a line
 * that is none, -EINVAL for a key or value that is wrong, -ENOMEM.
 */
int config_change_line(struct config_change *c, char *line);
/* Applies all of it, or nothing. Returns 0 or -errno: -EADDRINUSE for the port. */
int config_change_apply(struct config_change *c, struct engine *e);

/* ADDRESS:PORT or [ADDRESS%SCOPE]:PORT; @text is overwritten. Returns 0 or -EINVAL. */
int config_parse_endpoint(char *text, struct wg_endpoint *ret);

/* Writes the answer to a get request, without its errno line. */
void config_print(const struct engine *e, FILE *f);

#endif
