// SPDX-License-Identifier: MIT
#include "wg/noise.h"

#include <errno.h>
#include <string.h>

static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";

/* HASH(construction), and that mixed with the identifier: the start of every handshake. */
static uint8_t first_chain[WG_HASH_LEN], first_hash[WG_HASH_LEN];

void wg_noise_init(void)
{
	wg_hash(first_chain, construction, sizeof(construction) - 1, NULL, 0);
	wg_hash(first_hash, first_chain, WG_HASH_LEN, identifier, sizeof(identifier) - 1);
}

static void mix_hash(uint8_t hash[WG_HASH_LEN], const void *data, size_t len)
{
	wg_hash(hash, hash, WG_HASH_LEN, data, len);
}

/* DH into the chain; @key may be NULL where only the chain moves on. */
static int mix_dh(uint8_t chain[WG_HASH_LEN], uint8_t *key, const uint8_t secret[WG_KEY_LEN],
		  const uint8_t public[WG_KEY_LEN])
{
	uint8_t shared[WG_KEY_LEN];

	if (wg_x25519(secret, public, shared) < 0)
		return -EBADMSG;
	wg_kdf(chain, key, NULL, chain, shared, sizeof(shared));
	wg_zero(shared, sizeof(shared));
	return 0;
}

static void mix_psk(uint8_t chain[WG_HASH_LEN], uint8_t hash[WG_HASH_LEN], uint8_t key[WG_KEY_LEN],
		    const uint8_t psk[WG_KEY_LEN])
{
	uint8_t t[WG_HASH_LEN];

	wg_kdf(chain, t, key, chain, psk, WG_KEY_LEN);
	mix_hash(hash, t, sizeof(t));
	wg_zero(t, sizeof(t));
}

static void start(uint8_t chain[WG_HASH_LEN], uint8_t hash[WG_HASH_LEN],
		  const uint8_t responder[WG_KEY_LEN])
{
	memcpy(chain, first_chain, WG_HASH_LEN);
	memcpy(hash, first_hash, WG_HASH_LEN);
	mix_hash(hash, responder, WG_KEY_LEN);
}

int wg_identity_set(struct wg_identity *id, const uint8_t secret[WG_KEY_LEN])
{
	wg_zero(id, sizeof(*id));
	if (wg_is_zero(secret, WG_KEY_LEN))
		return 0;
	memcpy(id->secret, secret, WG_KEY_LEN);
	id->secret[0] &= 248;
	id->secret[31] = (id->secret[31] & 127) | 64;
	if (wg_x25519_public(id->secret, id->public) < 0) {
		wg_zero(id, sizeof(*id));
		return -EINVAL;
	}
	id->set = true;
	return 0;
}

void wg_handshake_init(struct wg_handshake *hs, const struct wg_identity *id,
		       const uint8_t remote_static[WG_KEY_LEN])
{
	memset(hs, 0, sizeof(*hs));
	memcpy(hs->remote_static, remote_static, WG_KEY_LEN);
	wg_handshake_identity(hs, id);
}

void wg_handshake_identity(struct wg_handshake *hs, const struct wg_identity *id)
{
	wg_handshake_clear(hs);
	if (!id->set || wg_x25519(id->secret, hs->remote_static, hs->static_static) < 0)
		wg_zero(hs->static_static, WG_KEY_LEN);
}

void wg_handshake_clear(struct wg_handshake *hs)
{
	hs->state = WG_HANDSHAKE_NONE;
	hs->local_index = 0;
	hs->remote_index = 0;
	wg_zero(hs->hash, sizeof(hs->hash));
	wg_zero(hs->chain, sizeof(hs->chain));
	wg_zero(hs->ephemeral, sizeof(hs->ephemeral));
	wg_zero(hs->remote_ephemeral, sizeof(hs->remote_ephemeral));
}

/* Our ephemeral key into message, hash and chain; takes @secret over. */
static int put_ephemeral(struct wg_handshake *hs, uint8_t secret[WG_KEY_LEN],
			 uint8_t wire[WG_KEY_LEN])
{
	secret[0] &= 248;
	secret[31] = (secret[31] & 127) | 64;
	memcpy(hs->ephemeral, secret, WG_KEY_LEN);
	wg_zero(secret, WG_KEY_LEN);
	if (wg_x25519_public(hs->ephemeral, wire) < 0)
		return -EINVAL;
	mix_hash(hs->hash, wire, WG_KEY_LEN);
	wg_kdf(hs->chain, NULL, NULL, hs->chain, wire, WG_KEY_LEN);
	return 0;
}

int wg_noise_initiation_make(struct wg_handshake *hs, const struct wg_identity *id, uint32_t index,
			     uint8_t ephemeral[WG_KEY_LEN],
			     const uint8_t timestamp[WG_TIMESTAMP_LEN],
			     struct wg_msg_initiation *msg)
{
	uint8_t key[WG_KEY_LEN];
	int r = -EINVAL;

	if (!id->set || wg_is_zero(hs->static_static, WG_KEY_LEN))
		return -EINVAL;
	wg_handshake_clear(hs);
	start(hs->chain, hs->hash, hs->remote_static);
	msg->type = htole32(WG_MSG_INITIATION);
	msg->sender = htole32(index);
	if (put_ephemeral(hs, ephemeral, msg->ephemeral) < 0 ||
	    mix_dh(hs->chain, key, hs->ephemeral, hs->remote_static) < 0)
		goto out;
	wg_aead_seal(key, hs->hash, WG_HASH_LEN, id->public, WG_KEY_LEN, msg->encrypted_static);
	mix_hash(hs->hash, msg->encrypted_static, sizeof(msg->encrypted_static));
	wg_kdf(hs->chain, key, NULL, hs->chain, hs->static_static, WG_KEY_LEN);
	wg_aead_seal(key, hs->hash, WG_HASH_LEN, timestamp, WG_TIMESTAMP_LEN,
		     msg->encrypted_timestamp);
	mix_hash(hs->hash, msg->encrypted_timestamp, sizeof(msg->encrypted_timestamp));
	hs->local_index = index;
	hs->state = WG_HANDSHAKE_INITIATION_SENT;
	r = 0;
out:
	if (r < 0)
		wg_handshake_clear(hs);
	wg_zero(key, sizeof(key));
	return r;
}

int wg_noise_initiation_open(const struct wg_identity *id, const struct wg_msg_initiation *msg,
			     struct wg_noise_draft *ret)
{
	uint8_t key[WG_KEY_LEN];
	int r = -EBADMSG;

	if (!id->set)
		return -EBADMSG;
	start(ret->chain, ret->hash, id->public);
	memcpy(ret->remote_ephemeral, msg->ephemeral, WG_KEY_LEN);
	mix_hash(ret->hash, msg->ephemeral, WG_KEY_LEN);
	wg_kdf(ret->chain, NULL, NULL, ret->chain, msg->ephemeral, WG_KEY_LEN);
	if (mix_dh(ret->chain, key, id->secret, msg->ephemeral) == 0)
		r = wg_aead_open(key, ret->hash, WG_HASH_LEN, msg->encrypted_static,
				 sizeof(msg->encrypted_static), ret->remote_static);
	mix_hash(ret->hash, msg->encrypted_static, sizeof(msg->encrypted_static));
	wg_zero(key, sizeof(key));
	if (r < 0)
		wg_zero(ret, sizeof(*ret));
	return r;
}

int wg_noise_initiation_accept(struct wg_handshake *hs, const struct wg_noise_draft *draft,
			       const struct wg_msg_initiation *msg, uint64_t now, uint64_t min_gap)
{
	uint8_t key[WG_KEY_LEN], chain[WG_HASH_LEN], timestamp[WG_TIMESTAMP_LEN];
	int r;

	if (wg_is_zero(hs->static_static, WG_KEY_LEN))
		return -EBADMSG;
	wg_kdf(chain, key, NULL, draft->chain, hs->static_static, WG_KEY_LEN);
	r = wg_aead_open(key, draft->hash, WG_HASH_LEN, msg->encrypted_timestamp,
			 sizeof(msg->encrypted_timestamp), timestamp);
	wg_zero(key, sizeof(key));
	if (r < 0)
		goto out;
	if (memcmp(timestamp, hs->last_timestamp, WG_TIMESTAMP_LEN) <= 0)
		r = -EALREADY;
	else if (hs->last_initiation && now - hs->last_initiation < min_gap)
		r = -EBUSY;
	if (r < 0)
		goto out;

	wg_handshake_clear(hs);
	memcpy(hs->chain, chain, WG_HASH_LEN);
	wg_hash(hs->hash, draft->hash, WG_HASH_LEN, msg->encrypted_timestamp,
		sizeof(msg->encrypted_timestamp));
	memcpy(hs->remote_ephemeral, draft->remote_ephemeral, WG_KEY_LEN);
	memcpy(hs->last_timestamp, timestamp, WG_TIMESTAMP_LEN);
	hs->last_initiation = now;
	hs->remote_index = le32toh(msg->sender);
	hs->state = WG_HANDSHAKE_INITIATION_RECEIVED;
out:
	wg_zero(chain, sizeof(chain));
	return r;
}

int wg_noise_response_make(struct wg_handshake *hs, uint32_t index, uint8_t ephemeral[WG_KEY_LEN],
			   struct wg_msg_response *msg)
{
	uint8_t key[WG_KEY_LEN];
	int r = -EINVAL;

	if (hs->state != WG_HANDSHAKE_INITIATION_RECEIVED)
		return -EINVAL;
	msg->type = htole32(WG_MSG_RESPONSE);
	msg->sender = htole32(index);
	msg->receiver = htole32(hs->remote_index);
	if (put_ephemeral(hs, ephemeral, msg->ephemeral) < 0 ||
	    mix_dh(hs->chain, NULL, hs->ephemeral, hs->remote_ephemeral) < 0 ||
	    mix_dh(hs->chain, NULL, hs->ephemeral, hs->remote_static) < 0)
		goto out;
	mix_psk(hs->chain, hs->hash, key, hs->psk);
	wg_aead_seal(key, hs->hash, WG_HASH_LEN, NULL, 0, msg->encrypted_nothing);
	mix_hash(hs->hash, msg->encrypted_nothing, sizeof(msg->encrypted_nothing));
	hs->local_index = index;
	hs->state = WG_HANDSHAKE_RESPONSE_SENT;
	r = 0;
out:
	if (r < 0)
		wg_handshake_clear(hs);
	wg_zero(key, sizeof(key));
	return r;
}

int wg_noise_response_accept(struct wg_handshake *hs, const struct wg_identity *id,
			     const struct wg_msg_response *msg)
{
	uint8_t key[WG_KEY_LEN], chain[WG_HASH_LEN], hash[WG_HASH_LEN];
	int r = -EBADMSG;

	if (hs->state != WG_HANDSHAKE_INITIATION_SENT || !id->set)
		return -EBADMSG;
	memcpy(chain, hs->chain, WG_HASH_LEN);
	memcpy(hash, hs->hash, WG_HASH_LEN);
	mix_hash(hash, msg->ephemeral, WG_KEY_LEN);
	wg_kdf(chain, NULL, NULL, chain, msg->ephemeral, WG_KEY_LEN);
	if (mix_dh(chain, NULL, hs->ephemeral, msg->ephemeral) < 0 ||
	    mix_dh(chain, NULL, id->secret, msg->ephemeral) < 0)
		goto out;
	mix_psk(chain, hash, key, hs->psk);
	r = wg_aead_open(key, hash, WG_HASH_LEN, msg->encrypted_nothing,
			 sizeof(msg->encrypted_nothing), NULL);
	if (r < 0)
		goto out;
	memcpy(hs->chain, chain, WG_HASH_LEN);
	memcpy(hs->remote_ephemeral, msg->ephemeral, WG_KEY_LEN);
	hs->remote_index = le32toh(msg->sender);
	hs->state = WG_HANDSHAKE_RESPONSE_RECEIVED;
out:
	wg_zero(key, sizeof(key));
	wg_zero(chain, sizeof(chain));
	wg_zero(hash, sizeof(hash));
	return r;
}

void wg_noise_keys(struct wg_handshake *hs, uint8_t send[WG_KEY_LEN], uint8_t recv[WG_KEY_LEN])
{
	if (hs->state == WG_HANDSHAKE_RESPONSE_RECEIVED)
		wg_kdf(send, recv, NULL, hs->chain, NULL, 0);
	else
		wg_kdf(recv, send, NULL, hs->chain, NULL, 0);
	wg_handshake_clear(hs);
}
