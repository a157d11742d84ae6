// SPDX-License-Identifier: MIT
/* The program that chooses the queue, run by the kernel on packets made here. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <linux/bpf.h>

#include "../kk_test.h"

#include "kkwg/steer.h"

static struct steer steer;

static int setup(void **state)
{
	(void)state;
	return steer_open(&steer);
}

static int teardown(void **state)
{
	(void)state;
	steer_close(&steer);
	return 0;
}

static const uint8_t filler[64];

/* What the program says to a packet of @len bytes. */
static uint32_t choice(const uint8_t *packet, size_t len)
{
	/* The kernel's test takes an Ethernet header off first. */
	uint8_t frame[14 + 64] = {[12] = 0x88, [13] = 0xb5};
	union bpf_attr a = {0};

	assert_true(len <= 64);
	memcpy(frame + 14, packet, len);
	a.test.prog_fd = (uint32_t)steer.program;
	a.test.data_in = (uint64_t)(uintptr_t)frame;
	a.test.data_size_in = (uint32_t)(14 + len);
	assert_int_equal(syscall(SYS_bpf, BPF_PROG_TEST_RUN, &a, sizeof(a)), 0);
	return a.test.retval;
}

static uint32_t choice4(uint8_t src, uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	uint8_t p[28] = {0x45, [15] = src, [16] = a, [17] = b, [18] = c, [19] = d};

	return choice(p, sizeof(p));
}

static uint32_t choice6(uint8_t src, uint8_t net, uint8_t host)
{
	uint8_t p[48] = {0x60, [23] = src, [24] = 0xfd, [25] = net, [39] = host};

	return choice(p, sizeof(p));
}

static void longest_prefix(void **state)
{
	const uint8_t ten[4] = {10}, one[4] = {10, 1}, host[4] = {10, 1, 2, 3};

	(void)state;
	steer_set(&steer, ten, 4, 8, 3);
	steer_set(&steer, one, 4, 16, 5);
	steer_set(&steer, host, 4, 32, 7);
	for (uint8_t src = 0; src < 20; src++) {
		assert_int_equal(choice4(src, 10, 9, 9, 9), 3);
		assert_int_equal(choice4(src, 10, 1, 9, 9), 5);
		assert_int_equal(choice4(src, 10, 1, 2, 3), 7);
	}
	steer_set(&steer, one, 4, 16, 1);
	assert_int_equal(choice4(0, 10, 1, 9, 9), 1);
	steer_del(&steer, one, 4, 16);
	assert_int_equal(choice4(0, 10, 1, 9, 9), 3);
	/* What is not there is no mistake. */
	steer_del(&steer, one, 4, 16);
	assert_false(steer.refused);
	steer_del(&steer, ten, 4, 8);
	steer_del(&steer, host, 4, 32);
}

static void ip6(void **state)
{
	const uint8_t net[16] = {0xfd, 1}, host[16] = {0xfd, 1, [15] = 9}, all[16] = {0};

	(void)state;
	steer_set(&steer, net, 16, 16, 2);
	steer_set(&steer, host, 16, 128, 4);
	steer_set(&steer, all, 16, 0, 6);
	for (uint8_t src = 0; src < 20; src++) {
		assert_int_equal(choice6(src, 1, 1), 2);
		assert_int_equal(choice6(src, 1, 9), 4);
		assert_int_equal(choice6(src, 7, 9), 6);
	}
	steer_del(&steer, all, 16, 0);
	steer_del(&steer, net, 16, 16);
	steer_del(&steer, host, 16, 128);
}

/* Several workers have it, or nobody: both addresses decide, always in the same way, and all queues get a share. */
static void by_addresses(void **state)
{
	const uint8_t all4[4] = {0}, all6[16] = {0};
	unsigned int seen4 = 0, seen6 = 0;

	(void)state;
	for (int known = 0; known < 2; known++) {
		if (known) {
			steer_set(&steer, all4, 4, 0, STEER_BY_HASH);
			steer_set(&steer, all6, 16, 0, STEER_BY_HASH);
		}
		for (uint8_t i = 0; i < 200; i++) {
			uint32_t c4 = choice4(1, 198, 51, 100, i), c6 = choice6(1, 3, i);

			assert_int_equal(choice4(1, 198, 51, 100, i), c4);
			assert_int_equal(choice6(1, 3, i), c6);
			seen4 |= 1u << c4 % 8;
			seen6 |= 1u << c6 % 8;
		}
		assert_int_equal(seen4, 0xff);
		assert_int_equal(seen6, 0xff);
	}
	/* Ports do not: the parts of a datagram have none. */
	{
		uint8_t p[28] = {0x45, [12] = 1, [16] = 2, [20] = 3, [22] = 4}, q[28];

		memcpy(q, p, sizeof(p));
		q[21] = 9;
		assert_int_equal(choice(p, sizeof(p)), choice(q, sizeof(q)));
	}
}

static void no_ip(void **state)
{
	uint8_t p[40] = {0x50};

	(void)state;
	assert_int_equal(choice(p, sizeof(p)), 0);
	p[0] = 0x45;
	assert_int_equal(choice(p, 19), 0);
	p[0] = 0x60;
	assert_int_equal(choice(p, 39), 0);
	assert_int_equal(choice(filler, 20), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(longest_prefix),
		cmocka_unit_test(ip6),
		cmocka_unit_test(by_addresses),
		cmocka_unit_test(no_ip),
	};

	return kk_run_group_as_root("loads a BPF program", tests, setup, teardown);
}
