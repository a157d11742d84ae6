/* SPDX-License-Identifier: MIT */
/* Messages for the module's netlink family: well formed by its own description, then damaged in one of many ways. */
#ifndef KK_FUZZ_GENL_H
#define KK_FUZZ_GENL_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_tun.h>

#include <uapi/kakuremichi.h>

#include "genl/module.h"
#include "genl/wire.h"
#include "net/net.h"
#include "tests/vm/fuzz_policy.h"

#define FUZZ_PUBLIC "kkpub"
#define FUZZ_TUNNEL "kktun"
#define FUZZ_ROOM   (64 << 10)
#define FUZZ_DEPTH  12

struct fuzz {
	struct fuzz_grammar grammar;
	struct kk_genl genl;
	struct nl_sock *sk;
	uint64_t random;
	uint32_t sequence;
	uint8_t data[FUZZ_ROOM];
	size_t len;
	unsigned long sent, accepted, refused;
	unsigned long silent; /* refused as invalid without a word why, or the attribute */
	int silent_command, silent_error;
};

__attribute__((format(printf, 1, 2), noreturn)) static inline void fuzz_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "fuzz: ");
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static inline void fuzz_seed(struct fuzz *fuzz, uint64_t seed)
{
	fuzz->random = seed * 0x9e3779b97f4a7c15 + 1;
}

static inline uint64_t fuzz_random(struct fuzz *fuzz)
{
	fuzz->random ^= fuzz->random << 13;
	fuzz->random ^= fuzz->random >> 7;
	fuzz->random ^= fuzz->random << 17;
	return fuzz->random * 0x2545f4914f6cdd1d >> 16;
}

static inline uint32_t fuzz_below(struct fuzz *fuzz, uint32_t n)
{
	return (uint32_t)(fuzz_random(fuzz) % n);
}

/* A network namespace of its own becomes a gateway's. */
static inline void fuzz_world(void)
{
	struct ifreq req = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = FUZZ_TUNNEL};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), on = 1;
	struct kk_err err = {0};

	if (kk_net_link_add(FUZZ_PUBLIC, "veth", &err) < 0 ||
	    kk_net_link_set(FUZZ_PUBLIC, true, 0, &err) < 0)
		fuzz_die("%s: %s", FUZZ_PUBLIC, err.msg);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &req) < 0 || ioctl(fd, TUNSETPERSIST, on) < 0)
		fuzz_die("%s cannot be made", FUZZ_TUNNEL);
	if (kk_net_link_set(FUZZ_TUNNEL, true, 0, &err) < 0)
		fuzz_die("%s: %s", FUZZ_TUNNEL, err.msg);
	close(fd);
}

static inline void fuzz_settings(struct kk_module_settings *ret)
{
	*ret = (struct kk_module_settings){
		.core = {.address4 = {inet_addr("198.51.100.1")},
			 .pool = inet_addr("10.0.0.0"),
			 .pool_mask = inet_addr("255.0.0.0"),
			 .host = htonl(1),
			 .mtu = 1420},
		.public_ifindex = if_nametoindex(FUZZ_PUBLIC),
		.tunnel_ifindex = if_nametoindex(FUZZ_TUNNEL),
	};
	inet_pton(AF_INET6, "2001:db8::1", &ret->core.address6[0]);
	inet_pton(AF_INET6, "fd00:1::", &ret->core.pool6);
}

static inline struct kk_listener fuzz_listener(uint16_t port, uint32_t service)
{
	return (struct kk_listener){
		.address = {.family = AF_INET, .v4.s_addr = inet_addr("198.51.100.1")},
		.protocol = IPPROTO_TCP,
		.port = port,
		.agent_address.s_addr = inet_addr("10.1.0.100"),
		.agent_port = port,
		.service = service};
}

/* One message after another on a socket that stays for a while. */
void fuzz_open(struct fuzz *fuzz);
void fuzz_once(struct fuzz *fuzz);
void fuzz_close(struct fuzz *fuzz);

#endif
