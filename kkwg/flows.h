/* SPDX-License-Identifier: MIT */
/*
 * Which peer a flow last came from, for who carries the flow on and wants to say by which way it came.
 * A request of its own on the control socket, beside get and set:
 *
 *	flow=1
 *	tcp=203.0.113.9:40000 10.1.0.100:2222		far end, near end; or udp=
 *	(empty line)
 *
 * is answered by one line for each, in their order, and errno:
 *
 *	public_key=HEX					nothing behind "=": not known
 *	errno=0
 *
 * A connection that has asked this once can ask nothing else any more: it gives no way to keys and settings,
 * so that its descriptor may be handed to a process without privileges.
 */
#ifndef KKWG_FLOWS_H
#define KKWG_FLOWS_H

#include <stdio.h>

#include "kkwg/engine.h"

#define FLOWS_MAX 256 /* lines of one request */

/* Writes the answer to one line; @line is overwritten. Returns 0, or -EPROTO or -EINVAL for a bad one. */
int flows_answer(const struct engine *e, char *line, FILE *f);

#endif
