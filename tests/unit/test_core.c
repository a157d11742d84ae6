// SPDX-License-Identifier: MIT
/* The forwarding core in user space: the packet cases, and what they cannot say. */
#include "packet_cases.h"

#include <kk/core/csum.h>

static void test_cases(void **state)
{
	json_t *doc = load_cases(), *world_obj, *obj;
	size_t i, j, n = 0;

	(void)state;
	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		struct packet_world world = world_of(world_obj);
		struct kk_user *user = user_new(&world);

		json_array_foreach(json_object_get(world_obj, "cases"), j, obj) {
			static struct packet_case c;
			static struct outcome got;

			case_of(world_obj, obj, &c);
			user_run(user, c.direction, &c.in, &got);
			assert_case(&c, &got);
			n++;
		}
		kk_user_free(user);
	}
	json_decref(doc);
	print_message("%zu cases\n", n);
	assert_true(n > 100);
}

/* Whoever changes the generator changes the cases with it. */
static void test_cases_are_the_generators(void **state)
{
	char path[PATH_MAX], command[PATH_MAX + 32];

	(void)state;
	packets_path("generate.py", path);
	snprintf(command, sizeof(command), "/usr/bin/python3 -B %s --check", path);
	assert_int_equal(system(command), 0);
}

/* Every reason has a case, so that none is there for nothing; the host's own failure aside. */
static void test_every_reason_has_a_case(void **state)
{
	json_t *doc = load_cases(), *world_obj, *obj;
	bool seen[KK_REASON_MAX] = {[KK_REASON_HOST] = true};
	size_t i, j;

	(void)state;
	json_array_foreach(json_object_get(doc, "worlds"), i, world_obj) {
		json_array_foreach(json_object_get(world_obj, "cases"), j, obj) {
			for (int reason = 0; reason < KK_REASON_MAX; reason++)
				if (strcmp(text_of(obj, "reason"), kk_reason_name(reason)) == 0)
					seen[reason] = true;
		}
	}
	for (int reason = 0; reason < KK_REASON_MAX; reason++)
		if (!seen[reason] && !is_of_edge((enum kk_reason)reason))
			fail_msg("no case for %s", kk_reason_name(reason));
	json_decref(doc);
}

/* And there is one of each family for each kind of packet that coverage.py knows of. */
static void test_cases_cover(void **state)
{
	char path[PATH_MAX], command[PATH_MAX + 32];

	(void)state;
	packets_path("coverage.py", path);
	snprintf(command, sizeof(command), "/usr/bin/python3 -B %s", path);
	assert_int_equal(system(command), 0);
}

/* RFC 1624 section 4: the case that RFC 1141 gets wrong. */
static void test_checksum_of_rfc1624(void **state)
{
	(void)state;
	assert_int_equal(kk_csum_replace(KK_BE16(0xdd2f), KK_BE16(0x5555), KK_BE16(0x3285)), 0);
}

static uint16_t sum(const uint8_t *data, size_t len)
{
	uint32_t total = 0;

	for (size_t i = 0; i < len; i += 2)
		total += (uint32_t)data[i] << 8 | data[i + 1];
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)total;
}

/*
 * Corrected and made afresh are the same, whatever changes, as long as anything in the data is not
 * zero.
 */
static void test_checksum_against_whole_sums(void **state)
{
	uint8_t data[20];
	unsigned int seed = 1;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		uint32_t from, to = (uint32_t)rand_r(&seed) << 16 ^ (uint32_t)rand_r(&seed);
		uint16_t check;

		for (size_t j = 0; j < sizeof(data); j++)
			data[j] = (uint8_t)(rand_r(&seed) % 3 ? rand_r(&seed) : 0xff * (i & 1));
		data[0] = 0x45;
		to = i % 5 ? to : i % 2 ? 0 : ~0u;
		check = htons((uint16_t)~sum(data, sizeof(data)));
		memcpy(&from, data + 12, sizeof(from));
		memcpy(data + 12, &to, sizeof(to));
		assert_int_equal(kk_csum_replace(check, from, to),
				 htons((uint16_t)~sum(data, sizeof(data))));
	}
}

/*
 * With CHECKSUM_PARTIAL the field holds the sum of the pseudo header, which the device completes:
 * after the rewrite it has to be that of the new one, and the port has no part in it.
 */
static void test_partial_checksum(void **state)
{
	struct packet_world world = {
		.settings = {.address4 = {htonl(0xc6336401)},
			     .pool = htonl(0x0a000000),
			     .pool_mask = htonl(0xff000000)},
		.listeners = {{.protocol = KK_TCP,
			       .port = 443,
			       .agent_port = 8443,
			       .service = 1,
			       .address = {.family = AF_INET, .v4.s_addr = htonl(0xc6336401)},
			       .agent_address.s_addr = htonl(0x0a010064)}},
		.n_listeners = 1,
	};
	struct kk_user *user = user_new(&world);
	struct {
		struct kk_ip4 ip;
		uint8_t tcp[20];
	} p = {.ip = {.version_ihl = 0x45,
		      .total = htons(40),
		      .ttl = 9,
		      .protocol = KK_TCP,
		      .source = htonl(0xcb007107),
		      .dest = htonl(0xc6336401)},
	       .tcp = {[2] = 443 >> 8, [3] = 443 & 0xff, [12] = 0x50, [13] = 0x10}};
	struct kk_user_packet packet = {.data = (uint8_t *)&p, .len = sizeof(p), .partial = true};
	uint8_t pseudo[12] = {[9] = KK_TCP, [11] = 20};
	uint16_t check;

	(void)state;
	memcpy(pseudo, &p.ip.source, 8);
	check = htons(sum(pseudo, sizeof(pseudo)));
	memcpy(p.tcp + 16, &check, sizeof(check));
	assert_int_equal(kk_user_forward(user, &packet, KK_INBOUND), KK_REASON_INBOUND);
	assert_int_equal(p.ip.dest, htonl(0x0a010064));
	memcpy(pseudo, &p.ip.source, 8);
	check = htons(sum(pseudo, sizeof(pseudo)));
	assert_memory_equal(p.tcp + 16, &check, sizeof(check));
	kk_user_free(user);
}

/* The same over IPv6, whose header has no checksum. */
static void test_partial_checksum6(void **state)
{
	const struct kk_in6 client = in6_of("2001:db8:77::7"), public = in6_of("2001:db8::1");
	const struct kk_in6 agent = in6_of("fd00::10.1.0.100");
	struct packet_world world = {
		.settings = {.address6 = {public},
			     .pool6 = in6_of("fd00::"),
			     .pool = htonl(0x0a000000),
			     .pool_mask = htonl(0xff000000)},
		.listeners = {{.protocol = KK_TCP,
			       .port = 443,
			       .agent_port = 8443,
			       .service = 1,
			       .address = {.family = AF_INET6},
			       .agent_address.s_addr = htonl(0x0a010064)}},
		.n_listeners = 1,
	};
	struct {
		struct kk_ip6 ip;
		uint8_t tcp[20];
	} p = {.ip = {.version_class = 0x60,
		      .payload = htons(20),
		      .next = KK_TCP,
		      .hops = 9,
		      .source = client,
		      .dest = public},
	       .tcp = {[2] = 443 >> 8, [3] = 443 & 0xff, [12] = 0x50, [13] = 0x10}};
	struct kk_user_packet packet = {.data = (uint8_t *)&p, .len = sizeof(p), .partial = true};
	uint8_t pseudo[40] = {[35] = 20, [39] = KK_TCP};
	struct kk_user *user;
	uint16_t check;

	(void)state;
	memcpy(world.listeners[0].address.bytes, &public, sizeof(public));
	user = user_new(&world);
	memcpy(pseudo, &p.ip.source, 32);
	check = htons(sum(pseudo, sizeof(pseudo)));
	memcpy(p.tcp + 16, &check, sizeof(check));
	assert_int_equal(kk_user_forward(user, &packet, KK_INBOUND), KK_REASON_INBOUND);
	assert_memory_equal(&p.ip.dest, &agent, sizeof(agent));
	assert_memory_equal(&p.ip.source, &client, sizeof(client));
	memcpy(pseudo, &p.ip.source, 32);
	check = htons(sum(pseudo, sizeof(pseudo)));
	assert_memory_equal(p.tcp + 16, &check, sizeof(check));
	kk_user_free(user);
}

/*
 * Where the device has summed up the whole packet (CHECKSUM_COMPLETE), the sum is that of the packet that
 * leaves: every case of IPv6 that is forwarded uncut.
 */
static void test_complete_checksum6(void **state)
{
	json_t *doc = load_cases();
	const json_t *world_obj = json_array_get(json_object_get(doc, "worlds"), 0), *obj;
	struct packet_world world = world_of(world_obj);
	struct kk_user *user = user_new(&world);
	size_t i, n = 0;

	(void)state;
	json_array_foreach(json_object_get(world_obj, "cases"), i, obj) {
		static struct packet_case c;
		static uint8_t data[KK_USER_HEADROOM + PACKET_MAX + 1];
		struct kk_user_packet p = {.data = data + KK_USER_HEADROOM, .complete = true};
		enum kk_verdict verdict;

		case_of(world_obj, obj, &c);
		if (c.in.len == 0 || c.in.data[0] >> 4 != 6)
			continue;
		memset(data, 0, sizeof(data));
		memcpy(p.data, c.in.data, c.in.len);
		p.len = c.in.len;
		p.sum = htons(sum(p.data, (p.len + 1) & ~1u));
		verdict = kk_verdict(kk_user_forward(user, &p, c.direction));
		if ((verdict != KK_TO_TUNNEL && verdict != KK_TO_NIC) || p.len != c.in.len)
			continue;
		if (ntohs(kk_csum_fold(p.sum)) % 0xffff != sum(p.data, (p.len + 1) & ~1u) % 0xffff)
			fail_msg("%s: the sum of the whole packet is not that of the packet",
				 c.name);
		n++;
	}
	kk_user_free(user);
	json_decref(doc);
	assert_true(n > 80);
}

/* A datagram's port goes to another Agent between two of its fragments: the first Agent has lost it. */
static void test_fragments_follow_the_tables(void **state)
{
	struct packet_world world = {
		.settings = {.address4 = {htonl(0xc6336401)},
			     .pool = htonl(0x0a000000),
			     .pool_mask = htonl(0xff000000)},
		.listeners = {{.protocol = KK_UDP,
			       .port = 53,
			       .agent_port = 53,
			       .service = 1,
			       .address = {.family = AF_INET, .v4.s_addr = htonl(0xc6336401)},
			       .agent_address.s_addr = htonl(0x0a010064)}},
		.n_listeners = 1,
	};
	struct kk_user *user = user_new(&world);
	uint8_t data[KK_USER_HEADROOM + 36] = {0};
	struct kk_ip4 *ip = (struct kk_ip4 *)(data + KK_USER_HEADROOM);
	uint8_t *udp = (uint8_t *)(ip + 1);
	static const enum kk_reason wanted[] = {KK_REASON_OUTBOUND, KK_REASON_OUTBOUND_FRAGMENT,
						KK_REASON_AGENT_FRAGMENT};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct kk_user_packet packet = {.data = (uint8_t *)ip, .len = 36};

		*ip = (struct kk_ip4){.version_ihl = 0x45,
				      .total = htons(36),
				      .ttl = 9,
				      .protocol = KK_UDP,
				      .fragment = htons(i ? 2 : KK_IP4_MORE),
				      .source = htonl(0x0a010064),
				      .dest = htonl(0xcb007107)};
		udp[1] = 53;
		udp[5] = 32;
		if (i == 2)
			user->listeners[kk_listener_index(kk_slot(KK_IP4, 0), KK_UDP, 53)] ^=
				0x30000;
		assert_int_equal(kk_user_forward(user, &packet, KK_OUTBOUND), wanted[i]);
	}
	kk_user_free(user);
}

/* @sum_of is what was counted as packets, errors and later fragments. */
static void assert_sum(const struct kk_counter *sum_of, const struct kk_counter *packets,
		       const struct kk_counter *errors, const struct kk_counter *fragments)
{
	assert_int_equal(sum_of->packets, packets->packets + errors->packets + fragments->packets);
	assert_int_equal(sum_of->bytes, packets->bytes + errors->bytes + fragments->bytes);
}

static void test_traffic_per_service(void **state)
{
	json_t *doc = load_cases();
	const json_t *world_obj = json_array_get(json_object_get(doc, "worlds"), 0), *obj;
	struct packet_world world = world_of(world_obj);
	struct kk_user *user = user_new(&world);
	struct kk_counter sum_of[2] = {{0}};
	size_t i;

	(void)state;
	json_array_foreach(json_object_get(world_obj, "cases"), i, obj) {
		static struct packet_case c;
		static struct outcome got;

		case_of(world_obj, obj, &c);
		user_run(user, c.direction, &c.in, &got);
	}
	for (int service = 0; service < KK_SERVICES_MAX; service++)
		for (int d = KK_INBOUND; d <= KK_OUTBOUND; d++) {
			sum_of[d].packets += user->traffic[service].direction[d].packets;
			sum_of[d].bytes += user->traffic[service].direction[d].bytes;
		}
	assert_int_equal(user->traffic[0].direction[KK_INBOUND].packets, 0);
	assert_true(sum_of[KK_INBOUND].packets > 10 && sum_of[KK_OUTBOUND].packets > 10);
	assert_sum(&sum_of[KK_INBOUND], &user->counters[KK_REASON_INBOUND],
		   &user->counters[KK_REASON_INBOUND_ERROR],
		   &user->counters[KK_REASON_INBOUND_FRAGMENT]);
	assert_sum(&sum_of[KK_OUTBOUND], &user->counters[KK_REASON_OUTBOUND],
		   &user->counters[KK_REASON_OUTBOUND_ERROR],
		   &user->counters[KK_REASON_OUTBOUND_FRAGMENT]);
	kk_user_free(user);
	json_decref(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_cases_are_the_generators),
		cmocka_unit_test(test_every_reason_has_a_case),
		cmocka_unit_test(test_cases_cover),
		cmocka_unit_test(test_checksum_of_rfc1624),
		cmocka_unit_test(test_checksum_against_whole_sums),
		cmocka_unit_test(test_partial_checksum),
		cmocka_unit_test(test_partial_checksum6),
		cmocka_unit_test(test_complete_checksum6),
		cmocka_unit_test(test_fragments_follow_the_tables),
		cmocka_unit_test(test_traffic_per_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
