/* SPDX-License-Identifier: MIT */
/*
 * A network namespace of the test's own with an Ethernet device and a TUN device, and a data path
 * between them. Needs root; tests that use it fail without.
 */
#ifndef KK_TEST_DATAPATH_WORLD_H
#define KK_TEST_DATAPATH_WORLD_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/if_tun.h>

#include "kk_test.h"

#include "bpf/datapath.h"
#include "net/net.h"
#include "util/cleanup.h"

#define WORLD_PUBLIC "kkpub"
#define WORLD_TUNNEL "kktun"

struct world {
	int tun_fd;
	char pin_dir[64];
	struct kk_address address;
	struct kk_datapath_config config;
};

/* Fails the test with what @err says. */
#define assert_ok(r, err)                                                                          \
	do {                                                                                       \
		int r_ = (r);                                                                      \
		if (r_ < 0)                                                                        \
			fail_msg("%d: %s", r_, (err)->msg);                                        \
	} while (0)

static inline struct in_addr ip4(const char *text)
{
	struct in_addr a;

	assert_int_equal(inet_pton(AF_INET, text, &a), 1);
	return a;
}

static inline struct kk_address public_address(const char *text)
{
	struct kk_err err = {0};
	struct kk_address a;

	assert_ok(kk_parse_address("address", text, &a, &err), &err);
	return a;
}

static inline int world_tun(const char *ifname)
{
	struct ifreq req = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	assert_true(fd >= 0);
	strcpy(req.ifr_name, ifname);
	assert_int_equal(ioctl(fd, TUNSETIFF, &req), 0);
	return fd;
}

static inline void world_init(struct world *world)
{
	struct kk_err err = {0};

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_ok(kk_net_link_add(WORLD_PUBLIC, "veth", &err), &err);
	assert_ok(kk_net_link_set(WORLD_PUBLIC, true, 0, &err), &err);
	world->tun_fd = world_tun(WORLD_TUNNEL);
	assert_ok(kk_net_link_set(WORLD_TUNNEL, true, 0, &err), &err);
	snprintf(world->pin_dir, sizeof(world->pin_dir), "/sys/fs/bpf/kk-test-%d", (int)getpid());
	world->address = public_address("198.51.100.1");
	world->config = (struct kk_datapath_config){
		.pin_dir = world->pin_dir,
		.public_ifname = WORLD_PUBLIC,
		.tunnel_ifname = WORLD_TUNNEL,
		.addresses = &world->address,
		.n_addresses = 1,
		.pool = {.addr = ip4("10.0.0.0"), .len = 8},
		.host = 1,
	};
}

static inline void world_clean(struct world *world)
{
	struct kk_err err = {0};

	assert_ok(kk_datapath_remove(world->pin_dir, WORLD_PUBLIC, WORLD_TUNNEL, &err), &err);
	kk_close(world->tun_fd);
}

#endif
