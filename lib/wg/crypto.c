// SPDX-License-Identifier: MIT
#include "wg/crypto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "wg/provider.h"

#define CHACHA_IV_LEN 16 /* OpenSSL's form: 32-bit counter, then the nonce of RFC 7539 */
#define CHACHA_BLOCK  64

_Static_assert(WG_AEAD_HEADROOM == CHACHA_BLOCK && WG_AEAD_TAILROOM >= CHACHA_BLOCK - 1,
	       "blocks before and behind the text");

static EVP_CIPHER *alg_aead, *alg_chacha;
static EVP_MD *alg_blake2s;
static EVP_MAC *alg_blake2s_mac;
static struct wg_provider provider;

/* Contexts without lasting state, one set a thread: none of the calls below allocates. */
static _Thread_local EVP_MD_CTX *md_ctx;
static _Thread_local EVP_MAC_CTX *mac_ctx;
static _Thread_local EVP_CIPHER_CTX *aead_ctx, *chacha_ctx;
static _Thread_local void *poly_ctx; /* of the provider */

/* struct wg_cipher is the provider's context under another name: one allocation less a key. */

static int scratch_init(void)
{
	if (md_ctx)
		return 0;
	md_ctx = EVP_MD_CTX_new();
	poly_ctx = provider.poly1305.new_ctx(provider.ctx);
	mac_ctx = EVP_MAC_CTX_new(alg_blake2s_mac);
	aead_ctx = EVP_CIPHER_CTX_new();
	chacha_ctx = EVP_CIPHER_CTX_new();
	return md_ctx && poly_ctx && mac_ctx && aead_ctx && chacha_ctx ? 0 : -ENOTSUP;
}

int wg_crypto_init(void)
{
	if (!alg_aead) {
		alg_aead = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
		alg_chacha = EVP_CIPHER_fetch(NULL, "ChaCha20", NULL);
		alg_blake2s = EVP_MD_fetch(NULL, "BLAKE2S-256", NULL);
		alg_blake2s_mac = EVP_MAC_fetch(NULL, "BLAKE2SMAC", NULL);
	}
	if (!alg_aead || !alg_chacha || !alg_blake2s || !alg_blake2s_mac)
		return -ENOTSUP;
	if (!provider.ctx && wg_provider_init(&provider) < 0)
		return -ENOTSUP;
	return scratch_init();
}

void wg_crypto_thread_clean(void)
{
	if (!md_ctx)
		return;
	EVP_MD_CTX_free(md_ctx);
	EVP_MAC_CTX_free(mac_ctx);
	EVP_CIPHER_CTX_free(aead_ctx);
	EVP_CIPHER_CTX_free(chacha_ctx);
	provider.poly1305.free_ctx(poly_ctx);
	md_ctx = NULL;
}

void wg_zero(void *p, size_t len)
{
	OPENSSL_cleanse(p, len);
}

int wg_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

int wg_is_zero(const void *p, size_t len)
{
	const uint8_t *bytes = p;
	uint8_t acc = 0;

	for (size_t i = 0; i < len; i++)
		acc |= bytes[i];
	return acc == 0;
}

int wg_x25519_public(const uint8_t secret[WG_KEY_LEN], uint8_t ret_public[WG_KEY_LEN])
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret, WG_KEY_LEN);
	size_t len = WG_KEY_LEN;
	int ok;

	if (!pkey)
		return -EINVAL;
	ok = EVP_PKEY_get_raw_public_key(pkey, ret_public, &len);
	EVP_PKEY_free(pkey);
	return ok == 1 ? 0 : -EINVAL;
}

int wg_x25519(const uint8_t secret[WG_KEY_LEN], const uint8_t public[WG_KEY_LEN],
	      uint8_t ret_shared[WG_KEY_LEN])
{
	EVP_PKEY *ours = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret, WG_KEY_LEN);
	EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public, WG_KEY_LEN);
	EVP_PKEY_CTX *ctx = ours ? EVP_PKEY_CTX_new(ours, NULL) : NULL;
	uint8_t shared[WG_KEY_LEN];
	size_t len = WG_KEY_LEN;
	int r = -EINVAL;

	/* OpenSSL refuses an all-zero result itself; the check below does not rely on that. */
	if (ctx && theirs && EVP_PKEY_derive_init(ctx) == 1 &&
	    EVP_PKEY_derive_set_peer(ctx, theirs) == 1 && EVP_PKEY_derive(ctx, shared, &len) == 1 &&
	    !wg_is_zero(shared, WG_KEY_LEN)) {
		memcpy(ret_shared, shared, WG_KEY_LEN);
		r = 0;
	}
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(theirs);
	EVP_PKEY_free(ours);
	wg_zero(shared, sizeof(shared));
	return r;
}

void wg_hash(uint8_t out[WG_HASH_LEN], const void *a, size_t a_len, const void *b, size_t b_len)
{
	EVP_DigestInit_ex2(md_ctx, alg_blake2s, NULL);
	EVP_DigestUpdate(md_ctx, a, a_len);
	if (b_len)
		EVP_DigestUpdate(md_ctx, b, b_len);
	EVP_DigestFinal_ex(md_ctx, out, NULL);
}

void wg_mac(uint8_t out[WG_COOKIE_LEN], const void *key, size_t key_len, const void *data,
	    size_t len)
{
	size_t size = WG_COOKIE_LEN, out_len;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
		OSSL_PARAM_construct_end(),
	};

	EVP_MAC_init(mac_ctx, key, key_len, params);
	EVP_MAC_update(mac_ctx, data, len);
	EVP_MAC_final(mac_ctx, out, &out_len, WG_COOKIE_LEN);
}

void wg_hmac(uint8_t out[WG_HASH_LEN], const uint8_t key[WG_HASH_LEN], const void *a, size_t a_len,
	     const void *b, size_t b_len)
{
	uint8_t pad[64], inner[WG_HASH_LEN];

	memset(pad, 0x36, sizeof(pad));
	for (int i = 0; i < WG_HASH_LEN; i++)
		pad[i] ^= key[i];
	EVP_DigestInit_ex2(md_ctx, alg_blake2s, NULL);
	EVP_DigestUpdate(md_ctx, pad, sizeof(pad));
	EVP_DigestUpdate(md_ctx, a, a_len);
	if (b_len)
		EVP_DigestUpdate(md_ctx, b, b_len);
	EVP_DigestFinal_ex(md_ctx, inner, NULL);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	wg_hash(out, pad, sizeof(pad), inner, sizeof(inner));
	wg_zero(pad, sizeof(pad));
	wg_zero(inner, sizeof(inner));
}

void wg_kdf(uint8_t *t1, uint8_t *t2, uint8_t *t3, const uint8_t key[WG_HASH_LEN],
	    const void *input, size_t len)
{
	uint8_t secret[WG_HASH_LEN], t[WG_HASH_LEN];

	wg_hmac(secret, key, input, len, NULL, 0);
	wg_hmac(t, secret, "\x01", 1, NULL, 0);
	memcpy(t1, t, WG_HASH_LEN);
	if (t2) {
		wg_hmac(t, secret, t, WG_HASH_LEN, "\x02", 1);
		memcpy(t2, t, WG_HASH_LEN);
	}
	if (t3) {
		wg_hmac(t, secret, t, WG_HASH_LEN, "\x03", 1);
		memcpy(t3, t, WG_HASH_LEN);
	}
	wg_zero(secret, sizeof(secret));
	wg_zero(t, sizeof(t));
}

static void aead_seal(const uint8_t *key, const uint8_t nonce[12], const void *ad, size_t ad_len,
		      const void *in, size_t len, uint8_t *out)
{
	int n;

	EVP_EncryptInit_ex2(aead_ctx, alg_aead, key, nonce, NULL);
	if (ad_len)
		EVP_EncryptUpdate(aead_ctx, NULL, &n, ad, (int)ad_len);
	if (len)
		EVP_EncryptUpdate(aead_ctx, out, &n, in, (int)len);
	EVP_EncryptFinal_ex(aead_ctx, out + len, &n);
	EVP_CIPHER_CTX_ctrl(aead_ctx, EVP_CTRL_AEAD_GET_TAG, WG_TAG_LEN, out + len);
}

static int aead_open(const uint8_t *key, const uint8_t nonce[12], const void *ad, size_t ad_len,
		     const uint8_t *in, size_t len, void *out)
{
	uint8_t tag[WG_TAG_LEN], end[WG_TAG_LEN];
	int n;

	if (len < WG_TAG_LEN)
		return -EBADMSG;
	len -= WG_TAG_LEN;
	memcpy(tag, in + len, WG_TAG_LEN);
	EVP_DecryptInit_ex2(aead_ctx, alg_aead, key, nonce, NULL);
	EVP_CIPHER_CTX_ctrl(aead_ctx, EVP_CTRL_AEAD_SET_TAG, WG_TAG_LEN, tag);
	if (ad_len)
		EVP_DecryptUpdate(aead_ctx, NULL, &n, ad, (int)ad_len);
	if (len)
		EVP_DecryptUpdate(aead_ctx, out, &n, in, (int)len);
	return EVP_DecryptFinal_ex(aead_ctx, end, &n) == 1 ? 0 : -EBADMSG;
}

void wg_aead_seal(const uint8_t key[WG_KEY_LEN], const void *ad, size_t ad_len, const void *in,
		  size_t len, uint8_t *out)
{
	static const uint8_t nonce[12];

	aead_seal(key, nonce, ad, ad_len, in, len, out);
}

int wg_aead_open(const uint8_t key[WG_KEY_LEN], const void *ad, size_t ad_len, const uint8_t *in,
		 size_t len, void *out)
{
	static const uint8_t nonce[12];

	return aead_open(key, nonce, ad, ad_len, in, len, out);
}

/*
 * HChaCha20 out of OpenSSL's ChaCha20: the block function adds its input to the state at the end, and
 * for the eight words that matter (0-3, 12-15) the input is known, so it is taken off again.
 */
static void hchacha20(const uint8_t key[WG_KEY_LEN], const uint8_t nonce[16],
		      uint8_t out[WG_KEY_LEN])
{
	static const uint8_t zero[64];
	static const uint8_t sigma[] = "expand 32-byte k";
	uint8_t block[64];

	EVP_EncryptInit_ex2(chacha_ctx, alg_chacha, key, nonce, NULL);
	EVP_Cipher(chacha_ctx, block, zero, sizeof(zero));
	for (int i = 0; i < 8; i++) {
		const uint8_t *in = i < 4 ? sigma + 4 * i : nonce + 4 * (i - 4);
		uint32_t word, add;

		memcpy(&word, block + (i < 4 ? 4 * i : 32 + 4 * i), 4);
		memcpy(&add, in, 4);
		word -= add;
		memcpy(out + 4 * i, &word, 4);
	}
	wg_zero(block, sizeof(block));
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "hchacha20() works on little-endian words");

void wg_xaead_seal(const uint8_t key[WG_KEY_LEN], const uint8_t nonce[WG_XNONCE_LEN],
		   const void *ad, size_t ad_len, const void *in, size_t len, uint8_t *out)
{
	uint8_t sub[WG_KEY_LEN], rest[12] = {0};

	hchacha20(key, nonce, sub);
	memcpy(rest + 4, nonce + 16, 8);
	aead_seal(sub, rest, ad, ad_len, in, len, out);
	wg_zero(sub, sizeof(sub));
}

int wg_xaead_open(const uint8_t key[WG_KEY_LEN], const uint8_t nonce[WG_XNONCE_LEN], const void *ad,
		  size_t ad_len, const uint8_t *in, size_t len, void *out)
{
	uint8_t sub[WG_KEY_LEN], rest[12] = {0};
	int r;

	hchacha20(key, nonce, sub);
	memcpy(rest + 4, nonce + 16, 8);
	r = aead_open(sub, rest, ad, ad_len, in, len, out);
	wg_zero(sub, sizeof(sub));
	return r;
}

struct wg_cipher *wg_cipher_alloc(const uint8_t key[WG_KEY_LEN])
{
	static const uint8_t iv[CHACHA_IV_LEN];
	void *ctx = provider.chacha20.new_ctx(provider.ctx);

	if (ctx && provider.chacha20.init(ctx, key, WG_KEY_LEN, iv, sizeof(iv), NULL) != 1) {
		provider.chacha20.free_ctx(ctx);
		ctx = NULL;
	}
	return ctx;
}

void wg_cipher_free(struct wg_cipher *c)
{
	if (c)
		provider.chacha20.free_ctx(c);
}

/* @len bytes of the key stream from block @block on, over @in. */
static void chacha20(struct wg_cipher *c, uint8_t block, uint64_t nonce, const uint8_t *in,
		     size_t len, uint8_t *out)
{
	uint8_t iv[CHACHA_IV_LEN] = {block};
	size_t n;

	memcpy(iv + 8, &nonce, 8);
	provider.chacha20.init(c, NULL, 0, iv, sizeof(iv), NULL);
	provider.chacha20.cipher(c, out, &n, len, in, len);
}

/*
 * One pass of ChaCha20 over headroom and text: the first block becomes the Poly1305 key. Whole blocks only: for a part
 * of one OpenSSL would make a call of its own, which takes as long as a thousand bytes do.
 */
static void stream(struct wg_cipher *c, uint64_t nonce, uint8_t *in, size_t len, uint8_t *out)
{
	size_t whole = (len + CHACHA_BLOCK - 1) & ~(size_t)(CHACHA_BLOCK - 1);

	memset(in - WG_AEAD_HEADROOM, 0, WG_AEAD_HEADROOM);
	chacha20(c, 0, nonce, in - WG_AEAD_HEADROOM, whole + WG_AEAD_HEADROOM,
		 out - WG_AEAD_HEADROOM);
}

/*
 * The tag of RFC 7539 section 2.8 without additional data. Padding and lengths are put behind the text
 * for the time being, so that all of it is one update.
 */
static void tag_of(const uint8_t key[32], uint8_t *text, size_t len, uint8_t tag[WG_TAG_LEN])
{
	const uint64_t lens[2] = {0, len};
	size_t pad = -len % 16, n;
	uint8_t saved[2 * WG_TAG_LEN];

	memcpy(saved, text + len, sizeof(saved));
	memset(text + len, 0, 16);
	memcpy(text + len + pad, lens, sizeof(lens));
	provider.poly1305.init(poly_ctx, key, 32, NULL);
	provider.poly1305.update(poly_ctx, text, len + pad + sizeof(lens));
	memcpy(text + len, saved, sizeof(saved));
	provider.poly1305.final(poly_ctx, tag, &n, WG_TAG_LEN);
}

void wg_cipher_seal(struct wg_cipher *c, uint64_t nonce, uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t saved[WG_AEAD_HEADROOM];

	memcpy(saved, out - WG_AEAD_HEADROOM, WG_AEAD_HEADROOM);
	stream(c, nonce, in, len, out);
	tag_of(out - WG_AEAD_HEADROOM, out, len, out + len);
	memcpy(out - WG_AEAD_HEADROOM, saved, WG_AEAD_HEADROOM);
}

int wg_cipher_open(struct wg_cipher *c, uint64_t nonce, uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t tag[WG_TAG_LEN];

	if (len < WG_TAG_LEN)
		return -EBADMSG;
	len -= WG_TAG_LEN;
	stream(c, nonce, in, len, out);
	tag_of(out - WG_AEAD_HEADROOM, in, len, tag);
	return wg_equal(tag, in + len, WG_TAG_LEN) ? 0 : -EBADMSG;
}

void wg_cipher_peek(struct wg_cipher *c, uint64_t nonce, const uint8_t *in, size_t len,
		    uint8_t *out)
{
	/* The block behind the Poly1305 key. */
	chacha20(c, 1, nonce, in, len, out);
}
