// SPDX-License-Identifier: MIT
/* Known answers for every cryptographic step (see wg_vectors.py). */
#include "wg_test.h"
#include "wg_vectors.h"

#include "wg/cookie.h"
#include "wg/crypto.h"
#include "wg/noise.h"
#include "wg/siphash.h"

static int setup(void **state)
{
	(void)state;
	if (wg_crypto_init() < 0)
		return -1;
	wg_noise_init();
	return 0;
}

/* RFC 7748 section 5.2: one iteration and a thousand. */
static void x25519_iterated(void **state)
{
	HEX(after_1, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
	HEX(after_1000, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
	uint8_t k[32] = {9}, u[32] = {9}, r[32];

	(void)state;
	for (int i = 1; i <= 1000; i++) {
		assert_int_equal(wg_x25519(k, u, r), 0);
		memcpy(u, k, 32);
		memcpy(k, r, 32);
		if (i == 1)
			assert_memory_equal(k, after_1, 32);
	}
	assert_memory_equal(k, after_1000, 32);
}

/* An all-zero secret is refused (RFC 7748 section 6.1). */
static void x25519_low_order(void **state)
{
	HEX(scalar, V_SI_SECRET);
	HEX(low, "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
	uint8_t zero[32] = {0}, one[32] = {1}, out[32] = {7};

	(void)state;
	assert_true(wg_x25519(scalar, zero, out) < 0);
	assert_true(wg_x25519(scalar, one, out) < 0);
	assert_true(wg_x25519(scalar, low, out) < 0);
	assert_int_equal(out[0], 7);
}

static void x25519_keys(void **state)
{
	HEX(secret, V_SI_SECRET);
	HEX(public, V_SI_PUBLIC);
	HEX(other, V_SR_PUBLIC);
	HEX(shared, V_SHARED);
	uint8_t out[32];

	(void)state;
	assert_int_equal(wg_x25519_public(secret, out), 0);
	assert_memory_equal(out, public, 32);
	assert_int_equal(wg_x25519(secret, other, out), 0);
	assert_memory_equal(out, shared, 32);
}

static void hashes(void **state)
{
	HEX(abc, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
	HEX(text, V_TEXT);
	HEX(k16, V_MAC16_KEY);
	HEX(k32, V_MAC32_KEY);
	HEX(mac16, V_MAC16);
	HEX(mac32, V_MAC32);
	HEX(hmac, V_HMAC);
	uint8_t out[32];

	(void)state;
	wg_hash(out, "abc", 3, NULL, 0);
	assert_memory_equal(out, abc, 32);
	wg_hash(out, "a", 1, "bc", 2);
	assert_memory_equal(out, abc, 32);
	/* Keyed with either length, one after the other in the same context. */
	wg_mac(out, k16, 16, text, sizeof(text));
	assert_memory_equal(out, mac16, 16);
	wg_mac(out, k32, 32, text, sizeof(text));
	assert_memory_equal(out, mac32, 16);
	wg_mac(out, k16, 16, text, sizeof(text));
	assert_memory_equal(out, mac16, 16);
	wg_hmac(out, k32, text, 100, text + 100, sizeof(text) - 100);
	assert_memory_equal(out, hmac, 32);
}

static void kdf(void **state)
{
	HEX(key, V_MAC32_KEY);
	HEX(text, V_TEXT);
	HEX(k1, V_KDF1);
	HEX(k2, V_KDF2);
	HEX(k3, V_KDF3);
	uint8_t t1[32], t2[32], t3[32];

	(void)state;
	wg_kdf(t1, NULL, NULL, key, text, sizeof(text));
	assert_memory_equal(t1, k1, 32);
	wg_kdf(t1, t2, t3, key, text, sizeof(text));
	assert_memory_equal(t1, k1, 32);
	assert_memory_equal(t2, k2, 32);
	assert_memory_equal(t3, k3, 32);
	/* In place, and without the second. */
	wg_kdf(key, NULL, NULL, key, text, sizeof(text));
	assert_memory_equal(key, k1, 32);
}

static void aead(void **state)
{
	HEX(key, V_MAC32_KEY);
	HEX(text, V_TEXT);
	HEX(ad, V_PSK);
	HEX(sealed, V_AEAD);
	uint8_t out[sizeof(sealed)], back[sizeof(text)];

	(void)state;
	wg_aead_seal(key, ad, sizeof(ad), text, sizeof(text), out);
	assert_memory_equal(out, sealed, sizeof(sealed));
	assert_int_equal(wg_aead_open(key, ad, sizeof(ad), out, sizeof(out), back), 0);
	assert_memory_equal(back, text, sizeof(text));
	for (size_t i = 0; i < sizeof(out); i++) {
		out[i] ^= 1;
		assert_true(wg_aead_open(key, ad, sizeof(ad), out, sizeof(out), back) < 0);
		out[i] ^= 1;
	}
	ad[0] ^= 1;
	assert_true(wg_aead_open(key, ad, sizeof(ad), out, sizeof(out), back) < 0);
	assert_true(wg_aead_open(key, ad, sizeof(ad), out, WG_TAG_LEN - 1, back) < 0);
}

static void xaead(void **state)
{
	HEX(key, V_MAC32_KEY);
	HEX(text, V_TEXT);
	HEX(ad, V_PSK);
	HEX(nonce, V_XNONCE);
	HEX(sealed, V_XAEAD);
	uint8_t out[sizeof(sealed)], back[sizeof(text)];

	(void)state;
	wg_xaead_seal(key, nonce, ad, sizeof(ad), text, sizeof(text), out);
	assert_memory_equal(out, sealed, sizeof(sealed));
	assert_int_equal(wg_xaead_open(key, nonce, ad, sizeof(ad), out, sizeof(out), back), 0);
	assert_memory_equal(back, text, sizeof(text));
	nonce[0] ^= 1;
	assert_true(wg_xaead_open(key, nonce, ad, sizeof(ad), out, sizeof(out), back) < 0);
}

/* The transport cipher, in every length around its block sizes, apart and in place. */
static void transport_one(const char *expected, size_t n)
{
	uint64_t counter = 0x0102030405060708ull + n;
	HEX(key, V_MAC32_KEY);
	HEX(text, V_TEXT);
	uint8_t in[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM],
		out[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM], sealed[256];
	uint8_t *i = in + WG_AEAD_HEADROOM, *o = out + WG_AEAD_HEADROOM;
	struct wg_cipher *c = wg_cipher_alloc(key);

	assert_non_null(c);
	assert_int_equal(kk_unhex(expected, sealed, n + WG_TAG_LEN), 0);
	memset(out, 0x5a, sizeof(out));
	memcpy(i, text, n);
	wg_cipher_seal(c, counter, i, n, o);
	assert_memory_equal(o, sealed, n + WG_TAG_LEN);
	for (int b = 0; b < WG_AEAD_HEADROOM; b++)
		assert_int_equal(out[b], 0x5a);
	assert_int_equal(o[n + WG_TAG_LEN + WG_AEAD_TAILROOM], 0x5a);
	memcpy(i, text, n);
	wg_cipher_seal(c, counter, i, n, i);
	assert_memory_equal(i, sealed, n + WG_TAG_LEN);

	assert_int_equal(wg_cipher_open(c, counter, i, n + WG_TAG_LEN, o), 0);
	assert_memory_equal(o, text, n);
	for (size_t b = 0; b < n + WG_TAG_LEN; b++) {
		i[b] ^= 0x80;
		assert_true(wg_cipher_open(c, counter, i, n + WG_TAG_LEN, o) < 0);
		i[b] ^= 0x80;
	}
	assert_true(wg_cipher_open(c, counter + 1, i, n + WG_TAG_LEN, o) < 0);
	assert_true(wg_cipher_open(c, counter, i, WG_TAG_LEN - 1, o) < 0);
	wg_cipher_peek(c, counter, i, n < 64 ? n : 64, o);
	assert_memory_equal(o, text, n < 64 ? n : 64);
	wg_cipher_free(c);
}

static void transport(void **state)
{
	(void)state;
	transport_one(V_DATA0, 0);
	transport_one(V_DATA1, 1);
	transport_one(V_DATA15, 15);
	transport_one(V_DATA16, 16);
	transport_one(V_DATA63, 63);
	transport_one(V_DATA64, 64);
	transport_one(V_DATA65, 65);
	transport_one(V_DATA116, 116);
}

/* Both sides of a handshake give the bytes of the paper, message by message. */
static void handshake(void **state)
{
	HEX(si, V_SI_SECRET);
	HEX(sr, V_SR_SECRET);
	HEX(ei, V_EI_SECRET);
	HEX(er, V_ER_SECRET);
	HEX(pi, V_SI_PUBLIC);
	HEX(pr, V_SR_PUBLIC);
	HEX(psk, V_PSK);
	HEX(stamp, V_STAMP);
	HEX(initiation, V_INITIATION);
	HEX(response, V_RESPONSE);
	HEX(ki, V_KEY_INITIATOR_SENDS);
	HEX(kr, V_KEY_RESPONDER_SENDS);
	struct wg_identity a, b;
	struct wg_handshake ha, hb;
	struct wg_cookie_maker ma, mb;
	struct wg_noise_draft draft;
	struct wg_msg_initiation i;
	struct wg_msg_response r;
	uint8_t send[32], recv[32];

	(void)state;
	assert_int_equal(wg_identity_set(&a, si), 0);
	assert_int_equal(wg_identity_set(&b, sr), 0);
	wg_handshake_init(&ha, &a, pr);
	wg_handshake_init(&hb, &b, pi);
	memcpy(ha.psk, psk, 32);
	memcpy(hb.psk, psk, 32);
	wg_cookie_maker_init(&ma, pr);
	wg_cookie_maker_init(&mb, pi);

	assert_int_equal(wg_noise_initiation_make(&ha, &a, 0x11223344, ei, stamp, &i), 0);
	assert_true(wg_is_zero(ei, 32));
	wg_cookie_sign(&ma, &i, sizeof(i), 1);
	assert_memory_equal(&i, initiation, sizeof(i));

	assert_int_equal(wg_noise_initiation_open(&b, &i, &draft), 0);
	assert_memory_equal(draft.remote_static, pi, 32);
	assert_int_equal(wg_noise_initiation_accept(&hb, &draft, &i, 1000, 10), 0);
	/* The same again is a replay. */
	assert_true(wg_noise_initiation_accept(&hb, &draft, &i, 2000, 10) < 0);
	assert_int_equal(hb.state, WG_HANDSHAKE_INITIATION_RECEIVED);

	assert_int_equal(wg_noise_response_make(&hb, 0x55667788, er, &r), 0);
	wg_cookie_sign(&mb, &r, sizeof(r), 1);
	assert_memory_equal(&r, response, sizeof(r));

	r.encrypted_nothing[0] ^= 1;
	assert_true(wg_noise_response_accept(&ha, &a, &r) < 0);
	r.encrypted_nothing[0] ^= 1;
	assert_int_equal(wg_noise_response_accept(&ha, &a, &r), 0);
	assert_true(wg_noise_response_accept(&ha, &a, &r) < 0);

	wg_noise_keys(&ha, send, recv);
	assert_memory_equal(send, ki, 32);
	assert_memory_equal(recv, kr, 32);
	wg_noise_keys(&hb, send, recv);
	assert_memory_equal(send, kr, 32);
	assert_memory_equal(recv, ki, 32);
	/* Nothing of the handshake is left behind. */
	assert_true(wg_is_zero(ha.chain, 32) && wg_is_zero(ha.hash, 32) &&
		    wg_is_zero(ha.ephemeral, 32));
	assert_true(wg_is_zero(hb.chain, 32) && wg_is_zero(hb.hash, 32) &&
		    wg_is_zero(hb.ephemeral, 32));
}

static void forged_initiation(void **state)
{
	HEX(sr, V_SR_SECRET);
	HEX(initiation, V_INITIATION);
	HEX(pi, V_SI_PUBLIC);
	struct wg_identity b;
	struct wg_handshake hb, before;
	struct wg_noise_draft draft;

	(void)state;
	wg_identity_set(&b, sr);
	wg_handshake_init(&hb, &b, pi);
	before = hb;
	/* Every byte from the ephemeral key up to the macs is authenticated. */
	for (size_t at = 8; at < 116; at++) {
		struct wg_msg_initiation m;

		memcpy(&m, initiation, sizeof(m));
		((uint8_t *)&m)[at] ^= 4;
		if (wg_noise_initiation_open(&b, &m, &draft) == 0)
			assert_true(wg_noise_initiation_accept(&hb, &draft, &m, 1, 1) < 0);
		assert_memory_equal(&hb, &before, sizeof(hb));
	}
}

static void cookies(void **state)
{
	HEX(initiation, V_INITIATION);
	HEX(signed_, V_INITIATION_SIGNED);
	HEX(reply, V_COOKIE_REPLY);
	HEX(random, V_COOKIE_RANDOM);
	HEX(pr, V_SR_PUBLIC);
	struct wg_endpoint from = {.in = {.sin_family = AF_INET, .sin_port = htons(51820)}}, other;
	const uint64_t second = 1000000000ull, t = 1000 * second;
	struct wg_cookie_checker checker;
	struct wg_cookie_maker maker;
	struct wg_msg_cookie msg;

	(void)state;
	from.in.sin_addr.s_addr = htonl(0xc0000201);
	wg_cookie_checker_init(&checker, pr);
	wg_cookie_maker_init(&maker, pr);
	assert_true(wg_cookie_check_mac1(&checker, initiation, sizeof(initiation)));
	assert_false(wg_cookie_check_mac2(&checker, &from, initiation, sizeof(initiation), t));

	wg_cookie_reply(&checker, &from, initiation, sizeof(initiation), random, t, &msg);
	assert_memory_equal(&msg, reply, sizeof(msg));
	/* Not asked for: nothing was sent that it could answer. */
	assert_true(wg_cookie_accept(&maker, &msg, t) < 0);
	wg_cookie_sign(&maker, initiation, sizeof(initiation), t);
	assert_int_equal(wg_cookie_accept(&maker, &msg, t), 0);
	assert_true(wg_cookie_accept(&maker, &msg, t) < 0);
	wg_cookie_sign(&maker, initiation, sizeof(initiation), t + second);
	assert_memory_equal(initiation, signed_, sizeof(signed_));

	assert_true(
		wg_cookie_check_mac2(&checker, &from, signed_, sizeof(signed_), t + 119 * second));
	assert_false(
		wg_cookie_check_mac2(&checker, &from, signed_, sizeof(signed_), t + 120 * second));
	other = from;
	other.in.sin_port ^= 1;
	assert_false(wg_cookie_check_mac2(&checker, &other, signed_, sizeof(signed_), t));
	/* An old cookie is no longer used. */
	wg_cookie_sign(&maker, initiation, sizeof(initiation), t + 115 * second);
	assert_true(wg_is_zero(initiation + sizeof(initiation) - 16, 16));
}

/* SipHash paper, appendix A, and the first rows of its reference vectors. */
static void siphash(void **state)
{
	struct wg_siphash_key key = {{0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull}};
	uint8_t data[15];

	(void)state;
	for (uint8_t i = 0; i < 15; i++)
		data[i] = i;
	assert_true(wg_siphash(&key, data, 15) == 0xa129ca6149be45e5ull);
	assert_true(wg_siphash(&key, data, 0) == 0x726fdb47dd0e0e31ull);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(x25519_iterated),
		cmocka_unit_test(x25519_low_order),
		cmocka_unit_test(x25519_keys),
		cmocka_unit_test(hashes),
		cmocka_unit_test(kdf),
		cmocka_unit_test(aead),
		cmocka_unit_test(xaead),
		cmocka_unit_test(transport),
		cmocka_unit_test(handshake),
		cmocka_unit_test(forged_initiation),
		cmocka_unit_test(cookies),
		cmocka_unit_test(siphash),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
