// SPDX-License-Identifier: MIT
/* Against bytes written down by hand from proxy-protocol.txt, section 2.2. */
#include "agentd/relay/proxy2.h"

#include <arpa/inet.h>

#include "tests/unit/kk_test.h"

static union kk_sockaddr address(const char *text, uint16_t port)
{
	struct kk_address a;

	assert_int_equal(kk_parse_address("address", text, &a, NULL), 0);
	return kk_sockaddr_make(&a, port);
}

static void test_tcp(void **state)
{
	static const uint8_t wanted[] = {
		0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
		0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, /* signature */
		0x21,				    /* version 2, PROXY */
		0x11,				    /* AF_INET, STREAM */
		0x00, 0x0c,			    /* 12 bytes follow */
		203,  0,    113,  9,		    /* source address */
		10,   1,    0,	  100,		    /* destination address */
		0x9c, 0x40,			    /* source port 40000 */
		0x08, 0xae,			    /* destination port 2222 */
	};
	const union kk_sockaddr client = address("203.0.113.9", 40000);
	const union kk_sockaddr local = address("10.1.0.100", 2222);
	uint8_t out[PROXY2_MAX];

	(void)state;
	assert_int_equal(proxy2_header(IPPROTO_TCP, &client, &local, out), sizeof(wanted));
	assert_memory_equal(out, wanted, sizeof(wanted));
}

static void test_ipv6(void **state)
{
	static const uint8_t wanted[] = {
		0x21,							     /* version 2, PROXY */
		0x22,							     /* AF_INET6, DGRAM */
		0x00, 0x24,						     /* 36 bytes follow */
		0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 9, /* source address */
		0xfd, 0x12, 0,	  0,	0, 0, 0, 0, 0, 0, 0, 0, 10, 1, 0, 100, /* destination */
		0x9c, 0x40, /* source port 40000 */
		0x08, 0xae, /* destination port 2222 */
	};
	const union kk_sockaddr client = address("2001:db8::9", 40000);
	const union kk_sockaddr local = address("fd12::10.1.0.100", 2222);
	uint8_t out[PROXY2_MAX];

	(void)state;
	assert_int_equal(proxy2_header(IPPROTO_UDP, &client, &local, out), PROXY2_MAX);
	assert_memory_equal(out + 12, wanted, sizeof(wanted));
}

static void test_udp_differs_in_the_transport_only(void **state)
{
	const union kk_sockaddr client = address("198.51.100.255", 65535);
	const union kk_sockaddr local = address("10.254.255.100", 1);
	uint8_t tcp[PROXY2_MAX], udp[PROXY2_MAX];

	(void)state;
	assert_int_equal(proxy2_header(IPPROTO_TCP, &client, &local, tcp), 28);
	assert_int_equal(proxy2_header(IPPROTO_UDP, &client, &local, udp), 28);
	assert_int_equal(tcp[13], 0x11);
	assert_int_equal(udp[13], 0x12); /* AF_INET, DGRAM */
	tcp[13] = udp[13];
	assert_memory_equal(tcp, udp, 28);
	assert_memory_equal(udp + 24, "\xff\xff\x00\x01", 4);
}

static void test_local_has_no_addresses(void **state)
{
	static const uint8_t wanted[] = {0x20, 0x00, 0x00,
					 0x00}; /* version 2, LOCAL; nothing follows */
	uint8_t out[PROXY2_MAX];

	(void)state;
	assert_int_equal(proxy2_local(out), 16);
	assert_memory_equal(out, "\r\n\r\n\0\r\nQUIT\n", 12);
	assert_memory_equal(out + 12, wanted, sizeof(wanted));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_udp_differs_in_the_transport_only),
		cmocka_unit_test(test_local_has_no_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
