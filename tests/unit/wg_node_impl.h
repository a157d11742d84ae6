/* SPDX-License-Identifier: MIT */
/* Body of wg_node.h; included once by each test that simulates. */
#include "wg_node.h"

#include <stdlib.h>

#define PACKET_LEN 60

uint64_t net_random(struct net *n)
{
	n->seed ^= n->seed << 13;
	n->seed ^= n->seed >> 7;
	n->seed ^= n->seed << 17;
	return n->seed * 0x2545f4914f6cdd1dull;
}

static void env_random(void *ctx, void *buf, size_t len)
{
	struct node *node = ctx;

	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)(net_random(node->net) >> 32);
}

static uint64_t env_realtime(void *ctx)
{
	struct node *node = ctx;

	return (uint64_t)((int64_t)(node->net->now + 1700000000 * SEC) + node->clock_offset);
}

static void fly(struct net *n, struct node *from, struct node *to, const void *data, size_t len,
		uint8_t ecn)
{
	struct datagram *d;

	if (n->n == IN_FLIGHT)
		return;
	d = &n->flight[n->n++];
	d->at = n->now + (1 + n->least_delay_ms) * SEC / 1000 +
		net_random(n) % (n->delay_ms * SEC / 1000 + 1);
	d->to = to;
	d->from = from->self;
	d->len = (uint16_t)len;
	d->ecn = ecn;
	memcpy(d->data, data, len);
}

static void env_transmit(void *ctx, struct wg_endpoint *to, const void *data, size_t len,
			 uint8_t ecn)
{
	struct node *from = ctx;
	struct net *n = from->net;

	n->datagrams++;
	assert_true(len <= sizeof(n->flight[0].data));
	assert_int_not_equal(wg_message_type(data, len), 0);
	n->initiations += wg_message_type(data, len) == WG_MSG_INITIATION;
	assert_null(memmem(data, len, MARK, sizeof(MARK) - 1));
	for (int i = 0; i < NODES; i++) {
		struct node *node = &n->nodes[i];

		if (!wg_endpoint_same(&node->self, to) || net_random(n) % 100 < n->loss)
			continue;
		fly(n, from, node, data, len, ecn);
		if (net_random(n) % 100 < n->repeat)
			fly(n, from, node, data, len, ecn);
	}
}

static void boot(struct node *node)
{
	const struct wg_env env = {.ctx = node,
				   .random = env_random,
				   .realtime = env_realtime,
				   .transmit = env_transmit};

	node->dev = wg_device_new(&env);
	assert_non_null(node->dev);
	assert_int_equal(wg_device_set_secret(node->dev, node->secret), 0);
	wg_device_up(node->dev, node->net->now);
}

void net_init(struct net *n, uint64_t seed)
{
	memset(n, 0, sizeof(*n));
	n->seed = seed * 0x9e3779b97f4a7c15ull + 1;
	n->now = SEC;
	for (int i = 0; i < NODES; i++) {
		struct node *node = &n->nodes[i];

		node->net = n;
		node->address = (uint8_t)(i + 1);
		node->self.in.sin_family = AF_INET;
		node->self.in.sin_port = htons((uint16_t)(1000 + i));
		node->self.in.sin_addr.s_addr = htonl(0xc0000200u + (uint32_t)i);
		node->seen = calloc(1, NUMBERS);
		assert_non_null(node->seen);
		env_random(node, node->secret, 32);
		boot(node);
		memcpy(node->public, node->dev->identity.public, 32);
	}
}

void net_clean(struct net *n)
{
	for (int i = 0; i < NODES; i++) {
		wg_device_free(n->nodes[i].dev);
		free(n->nodes[i].seen);
	}
}

struct wg_peer *net_peer(struct node *from, struct node *to, bool endpoint)
{
	const uint8_t addr[4] = {10, 0, 0, to->address};
	struct wg_peer *p;

	assert_int_equal(wg_device_add_peer(from->dev, to->public, &p), 0);
	assert_int_equal(wg_allowedips_add(&from->dev->allowedips, addr, 4, 32, p), 0);
	if (endpoint)
		wg_peer_set_endpoint(p, &to->self);
	return p;
}

void node_reboot(struct node *node)
{
	wg_device_free(node->dev);
	boot(node);
}

static void make_packet(struct node *from, struct node *to, uint8_t *p)
{
	memset(p, 0, PACKET_LEN + WG_PADDING);
	p[0] = 0x45;
	p[3] = PACKET_LEN;
	p[8] = 64;
	p[9] = 17;
	p[12] = p[16] = 10;
	p[15] = from->address;
	p[19] = to->address;
	memcpy(p + 28, MARK, sizeof(MARK) - 1);
	from->net->next_number++;
	assert_true(from->net->next_number < NUMBERS);
	memcpy(p + 48, &from->net->next_number, 4);
}

void node_send(struct node *from, struct node *to)
{
	uint8_t in[WG_AEAD_HEADROOM + PACKET_LEN + WG_PADDING + WG_AEAD_TAILROOM],
		out[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM];
	uint8_t *packet = in + WG_AEAD_HEADROOM, *msg = out + WG_AEAD_HEADROOM;
	size_t padded = wg_padded(PACKET_LEN, 1420), len;
	uint64_t now = from->net->now;
	struct wg_keypair *kp;
	struct wg_peer *p;

	make_packet(from, to, packet);
	from->sent++;
	p = wg_device_route(from->dev, packet, PACKET_LEN, now);
	if (!p)
		return;
	kp = wg_device_session(from->dev, p, now);
	if (!kp) {
		wg_device_stage(from->dev, p, packet, PACKET_LEN, padded, 0, now);
		return;
	}
	len = wg_keypair_seal(kp, packet, padded, msg);
	env_transmit(from, &p->endpoint, msg, len, 0);
	wg_device_sent(from->dev, p, len, now);
}

static void accept_packet(struct node *node, const uint8_t *packet, size_t len)
{
	uint8_t from = packet[15];
	uint32_t number;

	assert_int_equal(len, PACKET_LEN);
	assert_memory_equal(packet + 28, MARK, sizeof(MARK) - 1);
	memcpy(&number, packet + 48, 4);
	assert_true(number < NUMBERS);
	/* Never twice. */
	assert_int_equal(node->seen[number], 0);
	node->seen[number] = 1;
	assert_in_range(from, 1, NODES);
	node->received[from - 1]++;
	node->last_received[from - 1] = node->net->now;
}

static void deliver(struct net *n, unsigned int i)
{
	uint8_t in[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM],
		out[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM];
	struct datagram *d = &n->flight[i];
	struct node *node = d->to;
	struct wg_endpoint from = d->from;
	struct wg_peer *peer;
	size_t len = d->len;
	uint8_t ecn = d->ecn;

	memcpy(in + WG_AEAD_HEADROOM, d->data, len);
	n->flight[i] = n->flight[--n->n];
	if (node->asleep)
		return;
	len = wg_device_receive(node->dev, &from, ecn, in + WG_AEAD_HEADROOM, len,
				out + WG_AEAD_HEADROOM, &peer, n->now);
	if (len)
		accept_packet(node, out + WG_AEAD_HEADROOM, len);
}

void net_run(struct net *n, uint64_t until)
{
	for (;;) {
		uint64_t next = until;
		int datagram = -1, node = -1;

		for (unsigned int i = 0; i < n->n; i++) {
			if (n->flight[i].at <= next) {
				next = n->flight[i].at;
				datagram = (int)i;
			}
		}
		for (int i = 0; i < NODES; i++) {
			if (!n->nodes[i].asleep && wg_device_deadline(n->nodes[i].dev) < next) {
				next = wg_device_deadline(n->nodes[i].dev);
				node = i;
			}
		}
		if (next > n->now)
			n->now = next;
		if (node >= 0)
			wg_device_tick(n->nodes[node].dev, n->now);
		else if (datagram >= 0)
			deliver(n, (unsigned int)datagram);
		else
			return;
	}
}
