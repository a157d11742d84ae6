// SPDX-License-Identifier: MIT
/* Behaviour of one engine that the simulation does not reach: load, replies to ingress, configuration. */
#include "wg_node_impl.h"

static int setup(void **state)
{
	(void)state;
	if (wg_crypto_init() < 0)
		return -1;
	wg_noise_init();
	return 0;
}

static struct net *fresh(uint64_t seed)
{
	struct net *n = calloc(1, sizeof(*n));

	assert_non_null(n);
	net_init(n, seed);
	return n;
}

static void done(struct net *n)
{
	net_clean(n);
	free(n);
}

/* Gives @from another peer @to for everything. */
static struct wg_peer *peer_for_all(struct node *from, struct node *to)
{
	const uint8_t any[4] = {0};
	struct wg_peer *p;

	assert_int_equal(wg_device_add_peer(from->dev, to->public, &p), 0);
	assert_int_equal(wg_allowedips_add(&from->dev->allowedips, any, 4, 0, p), 0);
	wg_peer_set_endpoint(p, &to->self);
	return p;
}

static void route_packet(uint8_t p[PACKET_LEN + WG_PADDING], uint8_t from, uint8_t to,
			 uint16_t port)
{
	memset(p, 0, PACKET_LEN + WG_PADDING);
	p[0] = 0x45;
	p[3] = PACKET_LEN;
	p[9] = 6;
	p[12] = p[16] = 10;
	p[15] = from;
	p[19] = to;
	p[20] = (uint8_t)(port >> 8);
	p[21] = (uint8_t)port;
	p[23] = 80;
	p[32] = 5 << 4;
	p[33] = WG_TCP_ACK;
}

static void swap_direction(uint8_t *p)
{
	uint8_t t[4];

	memcpy(t, p + 12, 4);
	memcpy(p + 12, p + 16, 4);
	memcpy(p + 16, t, 4);
	memcpy(t, p + 20, 2);
	memcpy(p + 20, p + 22, 2);
	memcpy(p + 22, t, 2);
}

/* Sends @packet from a gateway into the tunnel to the agent, which has to accept it. */
static void through(struct node *gateway, struct node *agent, const uint8_t *packet)
{
	uint8_t in[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM] = {0},
					    msg[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM],
					    out[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM];
	struct net *n = agent->net;
	struct wg_peer *p = wg_device_find_peer(gateway->dev, agent->public), *got = NULL;
	struct wg_keypair *kp = wg_device_session(gateway->dev, p, n->now);
	size_t len;

	assert_non_null(kp);
	memcpy(in + WG_AEAD_HEADROOM, packet, PACKET_LEN);
	len = wg_keypair_seal(kp, in + WG_AEAD_HEADROOM, 64, msg + WG_AEAD_HEADROOM);
	assert_true(wg_device_knows(agent->dev, msg + WG_AEAD_HEADROOM, len));
	assert_false(wg_device_knows(gateway->dev, msg + WG_AEAD_HEADROOM, len));
	assert_false(wg_device_knows(agent->dev, msg + WG_AEAD_HEADROOM, WG_DATA_OVERHEAD - 1));
	len = wg_device_receive(agent->dev, &gateway->self, 0, msg + WG_AEAD_HEADROOM, len,
				out + WG_AEAD_HEADROOM, &got, n->now);
	assert_int_equal(len, PACKET_LEN);
	assert_ptr_equal(got, wg_device_find_peer(agent->dev, gateway->public));
}

/* An agent with two gateways, both allowed everything. */
static void reply_to_ingress(void **state)
{
	struct net *n = fresh(1);
	struct node *agent = &n->nodes[0], *g1 = &n->nodes[1], *g2 = &n->nodes[2];
	uint8_t packet[PACKET_LEN + WG_PADDING], reply[PACKET_LEN + WG_PADDING];
	struct wg_peer *p1, *p2;

	(void)state;
	assert_int_equal(wg_device_set_reply_to_ingress(agent->dev, true), 0);
	p1 = peer_for_all(agent, g1);
	p2 = peer_for_all(agent, g2);
	assert_non_null(p1->allowed);
	peer_for_all(g1, agent);
	peer_for_all(g2, agent);
	wg_peer_initiate(p1, false, n->now);
	net_run(n, n->now + SEC);
	wg_peer_initiate(p2, false, n->now);
	net_run(n, n->now + SEC);

	/* On a miss: the latest handshake. */
	route_packet(reply, 1, 77, 1234);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	/* A flow that came through the first leaves through the first; others are not concerned. */
	route_packet(packet, 77, 1, 1234);
	through(g1, agent, packet);
	memcpy(reply, packet, sizeof(reply));
	swap_direction(reply);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p1);
	reply[23] ^= 1;
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	reply[23] ^= 1;
	/* It moves with the packets of the other side, at once. */
	through(g2, agent, packet);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	through(g1, agent, packet);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p1);
	/* Fragments leave by the way of the first, which alone has the ports. */
	reply[5] = 7;
	reply[6] = 0x20;
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p1);
	reply[6] = 0;
	reply[7] = 3;
	reply[23] ^= 1;
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p1);
	reply[5] = 8;
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	reply[23] ^= 1;
	reply[5] = reply[7] = 0;
	/* A flow is learnt from a first fragment and not from a later one. */
	packet[6] = 0x20;
	through(g2, agent, packet);
	packet[6] = 0;
	packet[7] = 3;
	through(g1, agent, packet);
	packet[7] = 0;
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	through(g1, agent, packet);
	/* A gateway that is gone, or dead, is not replied to. */
	wg_peer_clear_keys(p1);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	wg_device_del_peer(agent->dev, p1);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	/* Without any session: the one there is. */
	wg_peer_clear_keys(p2);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	done(n);
}

static void set32(uint8_t *p, uint32_t v)
{
	v = htonl(v);
	memcpy(p, &v, 4);
}

/* A segment between client 10.0.0.77 and the agent, either direction. */
static void segment(uint8_t p[PACKET_LEN + WG_PADDING], bool in, uint8_t flags, uint32_t seq,
		    uint32_t ack)
{
	route_packet(p, 77, 1, 1234);
	if (!in)
		swap_direction(p);
	p[33] = flags;
	set32(p + 24, seq);
	set32(p + 28, ack);
}

/* What comes by the other gateway moves a TCP flow only where it can be of the connection. */
static void tcp_moves_with_its_own_segments_only(void **state)
{
	const uint32_t client = 0xfffffff0u, server = 7000, bytes = PACKET_LEN - 40;
	struct net *n = fresh(5);
	struct node *agent = &n->nodes[0], *g1 = &n->nodes[1], *g2 = &n->nodes[2];
	uint8_t p[PACKET_LEN + WG_PADDING], reply[PACKET_LEN + WG_PADDING];
	const struct {
		uint8_t flags;
		uint32_t seq, ack;
		int cut; /* data offset, words */
	} other[] = {
		{WG_TCP_RST, client + 1, 0, 5},
		{WG_TCP_RST | WG_TCP_ACK, client + 1, server + 1, 5},
		{WG_TCP_SYN, 12345, 0, 5},
		{0, client + 1, server + 1, 5},
		{WG_TCP_ACK, client + 1 + 2 * WG_FLOW_WINDOW, server + 1, 5},
		{WG_TCP_ACK, client - 2 * WG_FLOW_WINDOW, server + 1, 5},
		{WG_TCP_ACK, client + 1, server + 2 + bytes, 5},
		{WG_TCP_ACK, client + 1, server - WG_FLOW_WINDOW, 5},
		{WG_TCP_ACK, client + 1, server + 1, 4},
		{WG_TCP_ACK, client + 1, server + 1, 15},
	};
	struct wg_peer *p1, *p2;

	(void)state;
	assert_int_equal(wg_device_set_reply_to_ingress(agent->dev, true), 0);
	p1 = peer_for_all(agent, g1);
	p2 = peer_for_all(agent, g2);
	peer_for_all(g1, agent);
	peer_for_all(g2, agent);
	wg_peer_initiate(p1, false, n->now);
	net_run(n, n->now + SEC);
	wg_peer_initiate(p2, false, n->now);
	net_run(n, n->now + SEC);

	/* A RST begins nothing: nobody answers it. */
	segment(p, true, WG_TCP_RST, 1, 0);
	through(g1, agent, p);
	segment(reply, false, WG_TCP_ACK, server + 1, client + 1);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);

	/* The connection, by the first gateway. */
	segment(p, true, WG_TCP_SYN, client, 0);
	through(g1, agent, p);
	segment(reply, false, WG_TCP_SYN | WG_TCP_ACK, server, client + 1);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p1);
	segment(reply, false, WG_TCP_ACK, server + 1, client + 1);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p1);
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		segment(p, true, other[i].flags, other[i].seq, other[i].ack);
		p[32] = (uint8_t)(other[i].cut << 4);
		through(g2, agent, p);
		if (wg_device_route(agent->dev, reply, PACKET_LEN, n->now) != p1)
			fail_msg("segment %zu moved the flow", i);
	}
	/* One of its own does, whether old, new or the end. */
	segment(p, true, WG_TCP_ACK | WG_TCP_FIN, client + 1 + 100000, server + 1);
	through(g2, agent, p);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	segment(p, true, WG_TCP_ACK, client + 1 - 100000, server + 1 + bytes);
	through(g1, agent, p);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p1);

	/* The same ports anew: it is our end that says whether that is a connection. */
	segment(p, true, WG_TCP_SYN, 500, 0);
	through(g2, agent, p);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p1);
	segment(reply, false, WG_TCP_SYN | WG_TCP_ACK, 90000000, 501);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	segment(p, true, WG_TCP_SYN, 900, 0);
	through(g1, agent, p);
	segment(reply, false, WG_TCP_RST | WG_TCP_ACK, 0, 901);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p1);

	/* One that our end begins: whatever answers is where it goes. */
	segment(reply, false, WG_TCP_SYN, 100, 0);
	wg_device_route(agent->dev, reply, PACKET_LEN, n->now);
	segment(p, true, WG_TCP_SYN | WG_TCP_ACK, 0x70000000, 101);
	through(g2, agent, p);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	done(n);
}

/* A flow that is not known keeps to one gateway, however often others shake hands, until that fails. */
static void unknown_flow_stays(void **state)
{
	struct net *n = fresh(6);
	struct node *agent = &n->nodes[0], *g1 = &n->nodes[1], *g2 = &n->nodes[2];
	uint8_t reply[PACKET_LEN + WG_PADDING];
	struct wg_peer *p1, *p2;

	(void)state;
	assert_int_equal(wg_device_set_reply_to_ingress(agent->dev, true), 0);
	p1 = peer_for_all(agent, g1);
	p2 = peer_for_all(agent, g2);
	peer_for_all(g1, agent);
	peer_for_all(g2, agent);
	wg_peer_initiate(p1, false, n->now);
	net_run(n, n->now + SEC);
	segment(reply, false, WG_TCP_ACK, 1, 1);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p1);
	wg_peer_initiate(p2, false, n->now);
	net_run(n, n->now + SEC);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p1);
	/* Another flow takes the latest handshake. */
	reply[23] ^= 1;
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	reply[23] ^= 1;
	/* The first gateway stops answering; long before its session ends the flow goes elsewhere. */
	n->loss = 100;
	net_run(n, n->now + 6 * SEC);
	wg_peer_initiate(p1, false, n->now);
	net_run(n, n->now + 6 * SEC);
	assert_true(wg_peer_session(p1, n->now) && p1->attempts);
	assert_ptr_equal(wg_device_route(agent->dev, reply, PACKET_LEN, n->now), p2);
	done(n);
}

static void prefixes_without_sharing(void **state)
{
	struct net *n = fresh(2);
	struct node *agent = &n->nodes[0];
	struct wg_peer *p1, *p2;

	(void)state;
	wg_device_set_reply_to_ingress(agent->dev, true);
	p1 = peer_for_all(agent, &n->nodes[1]);
	p2 = peer_for_all(agent, &n->nodes[2]);
	/* Turned off: the last added keeps the prefix. */
	assert_int_equal(wg_device_set_reply_to_ingress(agent->dev, false), 0);
	assert_null(p1->allowed);
	assert_non_null(p2->allowed);
	done(n);
}

/* Valid initiations from an address of the flood; returns how many answers came. */
static uint64_t flood(struct net *n, struct node *victim, struct node *attacker, int count)
{
	uint64_t before = n->datagrams;
	struct wg_peer *p = wg_device_find_peer(attacker->dev, victim->public);
	uint8_t in[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM],
		out[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM];
	struct wg_peer *ignored;

	for (int i = 0; i < count; i++) {
		struct wg_msg_initiation *m = (struct wg_msg_initiation *)(in + WG_AEAD_HEADROOM);
		uint8_t ephemeral[32], stamp[WG_TIMESTAMP_LEN];

		env_random(attacker, ephemeral, 32);
		wg_device_timestamp(attacker->dev, stamp);
		assert_int_equal(wg_noise_initiation_make(&p->handshake, &attacker->dev->identity,
							  (uint32_t)i + 1, ephemeral, stamp, m),
				 0);
		wg_cookie_sign(&p->cookie, m, sizeof(*m), n->now);
		wg_device_receive(victim->dev, &attacker->self, 0, in + WG_AEAD_HEADROOM,
				  sizeof(*m), out + WG_AEAD_HEADROOM, &ignored, n->now);
	}
	return n->datagrams - before;
}

/* Above the burst a cookie is asked for; an honest peer returns it and gets its handshake. */
static void under_load(void **state)
{
	struct net *n = fresh(3);
	struct node *victim = &n->nodes[0], *attacker = &n->nodes[1], *honest = &n->nodes[2];
	uint64_t handshakes;

	(void)state;
	net_peer(victim, honest, false);
	net_peer(honest, victim, true);
	net_peer(attacker, victim, true);
	/* The attacker's key is unknown, so no response is ever sent to it: answers are cookies. */
	assert_int_equal(flood(n, victim, attacker, WG_LOAD_BURST), 0);
	assert_true(flood(n, victim, attacker, 50) > 40);
	assert_true(n->now < victim->dev->load_until);
	/* And cookies are not without end either. */
	assert_true(flood(n, victim, attacker, 5000) <= WG_COOKIE_BURST);
	handshakes = victim->dev->drops.handshake;
	assert_true(handshakes <= WG_LOAD_BURST + 1);

	node_send(honest, victim);
	for (int i = 0; i < 80; i++) {
		flood(n, victim, attacker, 100);
		net_run(n, n->now + SEC / 10);
	}
	assert_int_equal(victim->received[2], 1);
	done(n);
}

/* A flood costs next to nothing, wherever it says it comes from, and somebody else gets in meanwhile. */
static void flood_is_shed(void **state)
{
	struct net *n = fresh(7);
	struct node *victim = &n->nodes[0], *attacker = &n->nodes[1], *honest = &n->nodes[2];
	const struct wg_drops *drops = &victim->dev->drops;
	uint64_t looked, came = 0;

	(void)state;
	net_peer(victim, honest, false);
	net_peer(honest, victim, true);
	net_peer(attacker, victim, true);
	/* From one place: hardly any of them is looked at. */
	for (int i = 0; i < 100; i++, came += 100) {
		flood(n, victim, attacker, 100);
		n->now += SEC / 100;
	}
	looked = came - drops->load;
	assert_in_range(looked, WG_LOAD_BURST, WG_FLOOD_BURST + WG_FLOOD_RATE / 4);
	/* Its first initiation is asked for a cookie, the next gets through. */
	node_send(honest, victim);
	for (int i = 0; i < 700; i++) {
		flood(n, victim, attacker, 100);
		net_run(n, n->now + SEC / 100);
	}
	assert_int_equal(victim->received[2], 1);
	/* From everywhere: all together are limited. The answers to our own initiations do not count. */
	for (int i = 0; i < 300; i++) {
		attacker->self.in.sin_addr.s_addr = (uint32_t)net_random(n);
		flood(n, victim, attacker, 1);
	}
	looked = drops->mac + drops->handshake;
	for (int i = 0; i < 1000; i++) {
		attacker->self.in.sin_addr.s_addr = (uint32_t)net_random(n);
		flood(n, victim, attacker, 1);
	}
	assert_true(drops->mac + drops->handshake - looked <= WG_LOOK_BURST);
	done(n);
}

static void source_limit(void **state)
{
	struct wg_ratelimit *r = calloc(1, sizeof(*r));
	struct wg_endpoint e = {.in = {.sin_family = AF_INET}};
	int allowed = 0;

	(void)state;
	assert_non_null(r);
	e.in.sin_addr.s_addr = 1;
	for (int i = 0; i < 1000; i++)
		allowed += wg_ratelimit_allow(r, &e, SEC);
	assert_int_equal(allowed, WG_SOURCE_BURST);
	for (int i = 1; i <= 1000; i++)
		allowed += wg_ratelimit_allow(r, &e, SEC + (uint64_t)i * 10 * SEC / 1000);
	assert_in_range(allowed, WG_SOURCE_BURST + 199, WG_SOURCE_BURST + 201);
	free(r);
}

/* A change of the private key ends sessions; a peer that is ourselves goes. */
static void identity_change(void **state)
{
	struct net *n = fresh(4);
	struct node *a = &n->nodes[0], *b = &n->nodes[1];
	struct wg_peer *p;
	uint8_t none[32] = {0};

	(void)state;
	net_peer(a, b, true);
	net_peer(b, a, false);
	node_send(a, b);
	net_run(n, n->now + SEC);
	assert_int_equal(b->received[0], 1);
	p = wg_device_find_peer(a->dev, b->public);
	assert_non_null(p->current);
	/* The same key again changes nothing. */
	wg_device_set_secret(a->dev, a->secret);
	assert_non_null(p->current);
	wg_device_set_secret(a->dev, none);
	assert_null(p->current);
	node_send(a, b);
	net_run(n, n->now + 10 * SEC);
	assert_int_equal(b->received[0], 1);
	wg_device_set_secret(a->dev, b->secret);
	assert_null(wg_device_find_peer(a->dev, b->public));
	done(n);
}

/* Inner source addresses are those of the peer; anything else is dropped. */
static void source_check(void **state)
{
	struct net *n = fresh(5);
	struct node *a = &n->nodes[0], *b = &n->nodes[1];

	(void)state;
	net_peer(a, b, true);
	net_peer(b, a, true);
	node_send(a, b);
	net_run(n, n->now + SEC);
	a->address = 9;
	node_send(a, b);
	net_run(n, n->now + SEC);
	assert_int_equal(b->received[0], 1);
	assert_int_equal(b->dev->drops.source, 1);
	done(n);
}

static void down_is_silent(void **state)
{
	struct net *n = fresh(6);
	struct node *a = &n->nodes[0], *b = &n->nodes[1];

	(void)state;
	net_peer(a, b, true);
	net_peer(b, a, true);
	wg_device_down(a->dev);
	node_send(a, b);
	net_run(n, n->now + 20 * SEC);
	assert_int_equal(n->datagrams, 0);
	node_send(b, a);
	net_run(n, n->now + 2 * SEC);
	assert_int_equal(n->datagrams, 1);
	wg_device_up(a->dev, n->now);
	net_run(n, n->now + 10 * SEC);
	assert_int_equal(a->received[1], 1);
	done(n);
}

/* Junk of every type and length is dropped and counted, and changes nothing. */
static void junk(void **state)
{
	struct net *n = fresh(7);
	struct node *a = &n->nodes[0];
	uint8_t in[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM],
		out[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM];
	struct wg_peer *p;

	(void)state;
	net_peer(a, &n->nodes[1], true);
	for (int i = 0; i < 20000; i++) {
		size_t len = net_random(n) % 200;

		env_random(a, in, sizeof(in));
		if (i % 2) {
			memset(in + WG_AEAD_HEADROOM, 0, 4);
			in[WG_AEAD_HEADROOM] = (uint8_t)(1 + i / 2 % 4);
			len = i / 2 % 4 == 0   ? 148
			      : i / 2 % 4 == 1 ? 92
			      : i / 2 % 4 == 2 ? 64
					       : len;
		}
		assert_int_equal(wg_device_receive(a->dev, &n->nodes[1].self, 0,
						   in + WG_AEAD_HEADROOM, len,
						   out + WG_AEAD_HEADROOM, &p, n->now),
				 0);
	}
	assert_int_equal(n->datagrams, 0);
	assert_true(a->dev->drops.mac + a->dev->drops.load + a->dev->drops.handshake > 4000 &&
		    a->dev->drops.malformed > 4000);
	done(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reply_to_ingress),
		cmocka_unit_test(tcp_moves_with_its_own_segments_only),
		cmocka_unit_test(unknown_flow_stays),
		cmocka_unit_test(prefixes_without_sharing),
		cmocka_unit_test(under_load),
		cmocka_unit_test(flood_is_shed),
		cmocka_unit_test(source_limit),
		cmocka_unit_test(identity_change),
		cmocka_unit_test(source_check),
		cmocka_unit_test(down_is_silent),
		cmocka_unit_test(junk),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
