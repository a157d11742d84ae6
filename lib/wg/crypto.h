/* SPDX-License-Identifier: MIT */
/*
 * The cryptographic functions that WireGuard names (paper section 5.4, RFC 7539, RFC 7693, RFC 7748),
 * all of them OpenSSL's. Algorithms are fetched once per process and scratch contexts live once per
 * thread; a transport key keeps one cipher context per direction of which only the nonce changes.
 */
#ifndef WG_CRYPTO_H
#define WG_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#define WG_KEY_LEN    32
#define WG_HASH_LEN   32
#define WG_TAG_LEN    16
#define WG_COOKIE_LEN 16
#define WG_XNONCE_LEN 24
/*
 * Bytes in front of a text that wg_cipher_seal() and wg_cipher_open() need: one ChaCha20 block. The
 * Poly1305 key and the key stream of the text then come out of a single call, which for packets saves
 * a sixth to a third of what the combined EVP cipher costs.
 */
#define WG_AEAD_HEADROOM 64
/*
 * Bytes behind a text and its tag that wg_cipher_seal() and wg_cipher_open() need, where they read and where they
 * write: only whole blocks are worked on, since a part of one takes a sixth more for a packet of full size.
 */
#define WG_AEAD_TAILROOM 64

/* Fetches every algorithm. Call once before anything else. Returns 0, or -ENOTSUP where one is missing. */
int wg_crypto_init(void);

/* In each further thread wg_crypto_init() before anything else, and this at its end. */
void wg_crypto_thread_clean(void);

/* Overwrites @len bytes in a way that the compiler keeps. */
void wg_zero(void *p, size_t len);
/* Compares in constant time. Returns 1 when equal. */
int wg_equal(const void *a, const void *b, size_t len);
int wg_is_zero(const void *p, size_t len);

/* X25519 (RFC 7748 section 5). Returns 0 or -EINVAL; -EINVAL also for an all-zero shared secret. */
int wg_x25519_public(const uint8_t secret[WG_KEY_LEN], uint8_t ret_public[WG_KEY_LEN]);
int wg_x25519(const uint8_t secret[WG_KEY_LEN], const uint8_t public[WG_KEY_LEN],
	      uint8_t ret_shared[WG_KEY_LEN]);

/* HASH(@a || @b), BLAKE2s with 32 bytes of output; @b may be NULL with @b_len 0. @out may be @a. */
void wg_hash(uint8_t out[WG_HASH_LEN], const void *a, size_t a_len, const void *b, size_t b_len);
/* MAC(@key, @data): keyed BLAKE2s with 16 bytes of output; @key_len is 16 or 32. */
void wg_mac(uint8_t out[WG_COOKIE_LEN], const void *key, size_t key_len, const void *data,
	    size_t len);
/* HMAC-BLAKE2s (RFC 2104) of at most 32 bytes of key. */
void wg_hmac(uint8_t out[WG_HASH_LEN], const uint8_t key[WG_HASH_LEN], const void *a, size_t a_len,
	     const void *b, size_t b_len);
/* KDF1..3 (paper section 5.4) of @key and @input; @t2 and @t3 may be NULL. Outputs may be @key. */
void wg_kdf(uint8_t *t1, uint8_t *t2, uint8_t *t3, const uint8_t key[WG_HASH_LEN],
	    const void *input, size_t len);

/*
 * AEAD of the handshake: a fresh key, counter 0, additional data. @out takes @len + WG_TAG_LEN bytes
 * when sealing and @len - WG_TAG_LEN when opening. Opening returns -EBADMSG for a forged text.
 */
void wg_aead_seal(const uint8_t key[WG_KEY_LEN], const void *ad, size_t ad_len, const void *in,
		  size_t len, uint8_t *out);
int wg_aead_open(const uint8_t key[WG_KEY_LEN], const void *ad, size_t ad_len, const uint8_t *in,
		 size_t len, void *out);
/* XAEAD (draft-irtf-cfrg-xchacha) of cookie replies. */
void wg_xaead_seal(const uint8_t key[WG_KEY_LEN], const uint8_t nonce[WG_XNONCE_LEN],
		   const void *ad, size_t ad_len, const void *in, size_t len, uint8_t *out);
int wg_xaead_open(const uint8_t key[WG_KEY_LEN], const uint8_t nonce[WG_XNONCE_LEN], const void *ad,
		  size_t ad_len, const uint8_t *in, size_t len, void *out);

/* One transport key in one direction. */
struct wg_cipher;
struct wg_cipher *wg_cipher_alloc(const uint8_t key[WG_KEY_LEN]); /* NULL when out of memory */
void wg_cipher_free(struct wg_cipher *c);			  /* clears the key; NULL is fine */

/*
 * Seals @len bytes at @in to @len + WG_TAG_LEN bytes at @out under the counter @nonce. Before @in lie
 * WG_AEAD_HEADROOM bytes that are overwritten; before @out as many that must be writable and keep
 * their value. WG_AEAD_TAILROOM bytes behind the text at @in are read, as many behind the tag at @out
 * are overwritten. @in and @out are the same or do not overlap, headroom and tailroom included.
 */
void wg_cipher_seal(struct wg_cipher *c, uint64_t nonce, uint8_t *in, size_t len, uint8_t *out);
/*
 * Opens @len bytes at @in, tag included, to @len - WG_TAG_LEN bytes at @out. The headroom before both
 * is overwritten; WG_AEAD_TAILROOM bytes behind the tag at @in must be writable and keep their value, as many
 * behind the text at @out are overwritten; the two must not overlap. Returns 0, or -EBADMSG for a forged
 * text: @out then holds rubbish that must not be used.
 */
int wg_cipher_open(struct wg_cipher *c, uint64_t nonce, uint8_t *in, size_t len, uint8_t *out);

/*
 * Deciphers the first @len bytes of a text, at most 64, without looking whether it is authentic: good
 * for a guess about it only.
 */
void wg_cipher_peek(struct wg_cipher *c, uint64_t nonce, const uint8_t *in, size_t len,
		    uint8_t *out);

#endif
