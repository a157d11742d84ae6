/* SPDX-License-Identifier: MIT */
/* Scope-bound release of resources, as in systemd's src/basic. */
#ifndef KK_UTIL_CLEANUP_H
#define KK_UTIL_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define KK_CLEANUP(fn)	 __attribute__((cleanup(fn)))
#define KK_CLEANUP_FREE	 KK_CLEANUP(kk_freep)
#define KK_CLEANUP_CLOSE KK_CLEANUP(kk_closep)
#define ARRAY_SIZE(a)	 (sizeof(a) / sizeof((a)[0]))

static inline void kk_freep(void *p)
{
	free(*(void **)p);
}

/* Closes @fd if it is one, keeps errno, and returns -1 to store in its place. */
static inline int kk_close(int fd)
{
	if (fd >= 0) {
		int saved = errno;

		close(fd);
		errno = saved;
	}
	return -1;
}

static inline void kk_closep(int *fd)
{
	*fd = kk_close(*fd);
}

/* Hands the descriptor over: the caller's variable no longer closes it. */
static inline int kk_steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

/* Hands the pointer over: the caller's variable no longer frees it. */
#define KK_STEAL(p)                                                                                \
	({                                                                                         \
		__typeof__(p) stolen_ = (p);                                                       \
		(p) = NULL;                                                                        \
		stolen_;                                                                           \
	})

#endif
