// SPDX-License-Identifier: MIT
#include "kkwg/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "util/cleanup.h"
#include "util/log.h"

/* Asks for as much offload as the kernel grants. */
static void offload(struct tun *t)
{
	const unsigned int tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;

	if (!t->vnet)
		return;
	if (ioctl(t->fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0) {
		t->tso = t->uso = true;
	} else if (ioctl(t->fd, TUNSETOFFLOAD, tso) == 0) {
		t->tso = true;
	} else {
		ioctl(t->fd, TUNSETOFFLOAD, 0);
	}
	kk_debug("TUN offloads: segmentation of TCP %s, of UDP %s", t->tso ? "yes" : "no",
		 t->uso ? "yes" : "no");
}

static int set_defaults(struct tun *t, bool fresh, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};

	memcpy(ifr.ifr_name, t->name, sizeof(ifr.ifr_name));
	if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &ifr) < 0)
		return kk_err_set(err, errno, "interface", "%s: %m", t->name);
	t->ifindex = (uint32_t)ifr.ifr_ifindex;
	if (!fresh)
		return 0;
	ifr.ifr_mtu = TUN_MTU;
	if (ioctl(fd, SIOCSIFMTU, &ifr) < 0)
		return kk_err_set(err, errno, "interface", "%s: cannot set the MTU: %m", t->name);
	ifr.ifr_qlen = TUN_QUEUE;
	if (ioctl(fd, SIOCSIFTXQLEN, &ifr) < 0)
		kk_debug("%s: the queue keeps its length: %m", t->name);
	return 0;
}

/* @queues: IFF_MULTI_QUEUE or 0. */
static int open_first(struct tun *t, const char *name, short queues, struct kk_err *err)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | queues};
	int size = sizeof(tun_header);
	bool fresh;

	memset(t, 0, sizeof(*t));
	t->fd = -1;
	if (!*name || strlen(name) >= IFNAMSIZ || strchr(name, '/'))
		return kk_err_set(err, EINVAL, "interface", "\"%s\" is no interface name", name);
	t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (t->fd < 0)
		return kk_err_set(err, errno, "interface", "/dev/net/tun: %m");
	fresh = if_nametoindex(name) == 0;
	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	t->vnet = ioctl(t->fd, TUNSETIFF, &ifr) == 0;
	if (!t->vnet) {
		ifr.ifr_flags = IFF_TUN | IFF_NO_PI | queues;
		if (ioctl(t->fd, TUNSETIFF, &ifr) < 0) {
			int r = errno == EINVAL && !fresh
					? kk_err_set(err, EINVAL, "interface",
						     "%s is there already, and is no TUN interface",
						     name)
					: kk_err_set(err, errno, "interface", "%s: %m", name);

			tun_close(t);
			return r;
		}
	}
	memcpy(t->name, ifr.ifr_name, IFNAMSIZ);
	if (t->vnet)
		ioctl(t->fd, TUNSETVNETHDRSZ, &size);
	offload(t);
	if (set_defaults(t, fresh, err) < 0) {
		tun_close(t);
		return -err->code;
	}
	return 0;
}

int tun_open(struct tun *t, const char *name, struct kk_err *err)
{
	int r = open_first(t, name, 0, err);

	/* It was there before us, made for more queues: one is enough. */
	if (r == -EINVAL && if_nametoindex(name))
		r = open_first(t, name, IFF_MULTI_QUEUE, err);
	return r;
}

/* One more queue of the interface of @first. */
static int open_queue(struct tun *t, const struct tun *first)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE};
	int r = 0;

	if (first->vnet)
		ifr.ifr_flags |= IFF_VNET_HDR;
	memcpy(ifr.ifr_name, first->name, sizeof(ifr.ifr_name));
	*t = *first;
	t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (t->fd < 0)
		return -errno;
	if (ioctl(t->fd, TUNSETIFF, &ifr) < 0) {
		r = -errno;
		tun_close(t);
	}
	return r;
}

int tun_open_queues(struct tun *t, unsigned int n, const char *name, unsigned int *ret_n,
		    struct kk_err *err)
{
	int r;

	*ret_n = 1;
	if (n == 1)
		return tun_open(t, name, err);
	r = open_first(t, name, IFF_MULTI_QUEUE, err);
	if (r == -EINVAL) {
		/* It was there before us. */
		r = tun_open(t, name, err);
		if (r == 0)
			kk_warn("%s has a single queue: there will be one worker, not %u", t->name,
				n);
		return r;
	}
	for (; r == 0 && *ret_n < n; ++*ret_n) {
		r = open_queue(&t[*ret_n], t);
		if (r < 0) {
			kk_warn("%s: queue %u: %s: there will be %u workers, not %u", t->name,
				*ret_n + 1, strerror(-r), *ret_n, n);
			return 0;
		}
	}
	return r;
}

void tun_close(struct tun *t)
{
	t->fd = kk_close(t->fd);
}

int tun_read(struct tun *t, tun_header *hdr, uint8_t *data, size_t max)
{
	/* Header and packet as one piece: a vector costs the kernel more than the copy of ten bytes. */
	size_t head = t->vnet ? sizeof(*hdr) : 0;
	ssize_t n = read(t->fd, data - head, max + head);

	if (n < 0)
		return -errno;
	memset(hdr, 0, sizeof(*hdr));
	memcpy(hdr, data - head, head);
	return n < (ssize_t)head ? 0 : (int)(n - (ssize_t)head);
}

int tun_write(struct tun *t, const tun_header *hdr, struct iovec *iov, int n)
{
	size_t head = t->vnet ? sizeof(*hdr) : 0;
	ssize_t r;

	iov->iov_base = (uint8_t *)iov->iov_base - head;
	iov->iov_len += head;
	memcpy(iov->iov_base, hdr, head);
	r = n == 1 ? write(t->fd, iov->iov_base, iov->iov_len) : writev(t->fd, iov, n);
	return r < 0 ? -errno : 0;
}

void tun_set_segments(const struct tun *t, uint32_t segments)
{
	KK_CLEANUP_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
		struct rtattr attr;
		uint32_t segments;
	} m = {
		.head = {.nlmsg_len = sizeof(m),
			 .nlmsg_type = RTM_SETLINK,
			 .nlmsg_flags = NLM_F_REQUEST},
		.info = {.ifi_index = (int)t->ifindex},
		.attr = {.rta_len = RTA_LENGTH(sizeof(uint32_t)), .rta_type = IFLA_GSO_MAX_SEGS},
		.segments = segments,
	};

	if (fd < 0 || send(fd, &m, sizeof(m), 0) < 0)
		kk_debug("%s: cannot bound super-packets: %m", t->name);
}

enum tun_state tun_state(const struct tun *t)
{
	struct pollfd p = {.fd = t->fd, .events = POLLOUT};

	if (poll(&p, 1, 0) < 0)
		return TUN_UP;
	if (p.revents & POLLERR)
		return TUN_GONE;
	return p.revents & POLLOUT ? TUN_UP : TUN_DOWN;
}
