// SPDX-License-Identifier: MIT
/* Keys are nowhere in memory once they are no longer needed. */
#include "wg_node_impl.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/mman.h>

#define CHUNK	(1u << 20)
#define LARGEST (256ull << 20) /* mappings: sanitizers have far larger ones, that hold no data */
#define MASK	0xa5	       /* what is looked for must not be what is found */

static uint8_t *chunk; /* a mapping of its own */

static void hide(uint8_t *masked, uint8_t *key)
{
	for (int i = 0; i < 32; i++)
		masked[i] = key[i] ^ MASK;
}

static unsigned int in_chunk(size_t len, const uint8_t masked[32])
{
	unsigned int n = 0;

	for (size_t at = 0; at + 32 <= len; at++) {
		size_t i = 0;

		while (i < 32 && (chunk[at + i] ^ MASK) == masked[i])
			i++;
		n += i == 32;
	}
	return n;
}

/* Pieces overlap, so that nothing is missed between them. */
static unsigned int in_mapping(int mem, uint64_t from, uint64_t to, const uint8_t masked[32])
{
	unsigned int n = 0;

	for (uint64_t at = from; at < to; at += CHUNK - 31) {
		size_t want = to - at < CHUNK ? to - at : CHUNK;
		ssize_t got = pread(mem, chunk, want, (off_t)at);

		if (got > 0)
			n += in_chunk((size_t)got, masked);
	}
	return n;
}

/* How many times a key is in the writable memory of this process. */
static unsigned int copies(const uint8_t masked[32])
{
	FILE *maps = fopen("/proc/self/maps", "re");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	unsigned long long from, to;
	unsigned int n = 0;
	char line[512], mode[5];

	assert_non_null(maps);
	assert_true(mem >= 0);
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%llx-%llx %4s", &from, &to, mode) == 3 && mode[1] == 'w' &&
		    to - from <= LARGEST &&
		    !((uint64_t)(uintptr_t)chunk >= from && (uint64_t)(uintptr_t)chunk < to))
			n += in_mapping(mem, from, to, masked);
	close(mem);
	fclose(maps);
	wg_zero(chunk, CHUNK);
	return n;
}

/* Answers the initiation that @a has just sent, as @b; tells the keys of the session. */
static void answer(struct net *n, struct node *a, struct node *b, uint8_t send[32],
		   uint8_t recv[32])
{
	uint8_t in[WG_AEAD_HEADROOM + 256], out[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM];
	struct wg_msg_response *msg = (struct wg_msg_response *)(in + WG_AEAD_HEADROOM);
	const void *initiation = n->flight[n->n - 1].data;
	struct wg_noise_draft draft;
	struct wg_cookie_maker cookie;
	struct wg_handshake hs;
	struct wg_peer *p;
	uint8_t ephemeral[32], key[2][32];

	wg_handshake_init(&hs, &b->dev->identity, a->public);
	assert_int_equal(wg_noise_initiation_open(&b->dev->identity, initiation, &draft), 0);
	assert_int_equal(wg_noise_initiation_accept(&hs, &draft, initiation, n->now, 0), 0);
	env_random(b, ephemeral, 32);
	assert_int_equal(wg_noise_response_make(&hs, 77, ephemeral, msg), 0);
	wg_cookie_maker_init(&cookie, a->public);
	wg_cookie_sign(&cookie, msg, sizeof(*msg), n->now);
	wg_noise_keys(&hs, key[0], key[1]);
	hide(recv, key[0]);
	hide(send, key[1]);
	wg_zero(key, sizeof(key));
	assert_int_equal(wg_device_receive(a->dev, &b->self, 0, in + WG_AEAD_HEADROOM, sizeof(*msg),
					   out + WG_AEAD_HEADROOM, &p, n->now),
			 0);
}

static void session(struct net *n, uint8_t send[32], uint8_t recv[32])
{
	struct node *a = &n->nodes[0], *b = &n->nodes[1];
	struct wg_peer *p = wg_device_find_peer(a->dev, b->public);
	uint8_t ephemeral[32];

	wg_peer_initiate(p, false, n->now);
	hide(ephemeral, p->handshake.ephemeral);
	assert_true(copies(ephemeral) > 0);
	answer(n, a, b, send, recv);
	assert_non_null(p->current);
	assert_int_equal(copies(ephemeral), 0);
	assert_true(copies(send) > 0);
	assert_true(copies(recv) > 0);
	node_send(a, b);
}

static void keys_are_forgotten(void **state)
{
	struct net *n = calloc(1, sizeof(*n));
	uint8_t send[32], recv[32], psk[32], secret[32];
	struct wg_peer *p;

	(void)state;
	assert_non_null(n);
	net_init(n, 1);
	p = net_peer(&n->nodes[0], &n->nodes[1], true);

	/* With age, */
	session(n, send, recv);
	net_run(n, n->now + 600 * SEC);
	assert_null(p->current);
	assert_int_equal(copies(send), 0);
	assert_int_equal(copies(recv), 0);
	/* when the interface goes down, */
	session(n, send, recv);
	wg_device_down(n->nodes[0].dev);
	assert_int_equal(copies(send) + copies(recv), 0);
	wg_device_up(n->nodes[0].dev, n->now);
	/* and with the peer, whose own key goes as well, and the device with its. */
	session(n, send, recv);
	memset(psk, 0x5c, sizeof(psk));
	memcpy(p->handshake.psk, psk, sizeof(psk));
	hide(psk, p->handshake.psk);
	assert_true(copies(psk) > 0);
	wg_device_del_peer(n->nodes[0].dev, p);
	assert_int_equal(copies(send) + copies(recv), 0);
	assert_int_equal(copies(psk), 0);
	hide(secret, n->nodes[0].dev->identity.secret);
	wg_zero(n->nodes[0].secret, 32);
	assert_true(copies(secret) > 0);
	wg_device_free(n->nodes[0].dev);
	assert_int_equal(copies(secret), 0);
	n->nodes[0].dev = NULL;
	net_clean(n);
	free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_forgotten),
	};

	chunk = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (chunk == MAP_FAILED || wg_crypto_init() < 0)
		return 1;
	wg_noise_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
