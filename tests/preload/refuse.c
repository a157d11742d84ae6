// SPDX-License-Identifier: MIT
/*
 * A kernel that refuses: preloaded into kkwg by tests/system/test_kkwg_refusals.py. KK_REFUSE names what is
 * refused, separated by commas; each name leaves the empty file KK_REFUSE_LOG.NAME once it was.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define UDP_SEGMENT_OPTION 103
#define UDP_GRO_OPTION	   104
#define USO		   0x60

static bool named(const char *what)
{
	const char *list = getenv("KK_REFUSE");
	size_t len = strlen(what);

	while (list && *list) {
		size_t n = strcspn(list, ",");

		if (n == len && strncmp(list, what, n) == 0)
			return true;
		list += n + (list[n] == ',');
	}
	return false;
}

/* Whether @what is to be refused; errno is @error then. */
static bool refuse(const char *what, int error)
{
	const char *log = getenv("KK_REFUSE_LOG");
	char path[512];
	int fd;

	if (!named(what))
		return false;
	snprintf(path, sizeof(path), "%s.%s", log ? log : "/dev/null", what);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	errno = error;
	return true;
}

/* Every third time, so that something gets through. */
static bool refuse_some(const char *what, int error)
{
	static unsigned int n;

	return named(what) && ++n % 3 == 0 && refuse(what, error);
}

int socket(int domain, int type, int protocol)
{
	int (*real)(int, int, int) = dlsym(RTLD_NEXT, "socket");

	if (domain == AF_INET6 && refuse("ipv6", EAFNOSUPPORT))
		return -1;
	return real(domain, type, protocol);
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	int (*real)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");

	if (level == IPPROTO_UDP && ((option == UDP_SEGMENT_OPTION && refuse("gso", ENOPROTOOPT)) ||
				     (option == UDP_GRO_OPTION && refuse("gro", ENOPROTOOPT))))
		return -1;
	if (level == SOL_SOCKET && (option == SO_RCVBUFFORCE || option == SO_SNDBUFFORCE) &&
	    refuse("buffers", EPERM))
		return -1;
	return real(fd, level, option, value, len);
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request == TUNSETIFF && ((struct ifreq *)arg)->ifr_flags & IFF_VNET_HDR &&
	    refuse("vnet", EINVAL))
		return -1;
	if (request == TUNSETOFFLOAD &&
	    (((unsigned long)arg & USO && refuse("uso", EINVAL)) ||
	     (arg && refuse("tso", EINVAL)) || refuse("offload", EINVAL)))
		return -1;
	return real(fd, request, arg);
}

static bool segments(const struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT_OPTION)
			return true;
	return false;
}

static bool refuse_send(const struct msghdr *m)
{
	if (refuse_some("enobufs", ENOBUFS) || refuse_some("eagain", EAGAIN))
		return true;
	return segments(m) && (refuse("gso-eio", EIO) || refuse("gso-einval", EINVAL) ||
			       refuse("gso-emsgsize", EMSGSIZE));
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");

	return refuse_send(m) ? -1 : real(fd, m, flags);
}

int sendmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags)
{
	int (*real)(int, struct mmsghdr *, unsigned int, int) = dlsym(RTLD_NEXT, "sendmmsg");
	unsigned int good = 0;

	while (good < n && !refuse_send(&m[good].msg_hdr))
		good++;
	if (n && !good)
		return -1;
	if (good > 1 && refuse("partial", 0))
		good = 1;
	return real(fd, m, good, flags);
}
