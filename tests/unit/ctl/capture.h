/* SPDX-License-Identifier: MIT */
/* What kkctl's code prints, caught in memory. A test includes this once. */
#ifndef KK_CTL_CAPTURE_H
#define KK_CTL_CAPTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char captured[16384];

/* Runs @statement with @stream (stdout or stderr) going to captured[]. */
#define CAPTURE(stream, statement)                                                                 \
	do {                                                                                       \
		FILE *real_ = stream;                                                              \
		memset(captured, 0, sizeof(captured));                                             \
		stream = fmemopen(captured, sizeof(captured) - 1, "w");                            \
		statement;                                                                         \
		fclose(stream);                                                                    \
		stream = real_;                                                                    \
	} while (0)

#endif
