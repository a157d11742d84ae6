// SPDX-License-Identifier: MIT
/* What a data path is told before its first packet: checked, and as the programs have it. */
#include "bpf/internal.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "wg/siphash.h"

static __be32 prefix_mask(uint8_t len)
{
	return len ? KK_BE32(0xffffffffu << (32 - len)) : 0;
}

static int check_pools(const struct kk_datapath_config *config, struct kk_err *err)
{
	static const uint8_t zero[4];
	char text[INET6_ADDRSTRLEN];

	if (config->pool.len < 32 - KK_AGENT_BITS || config->pool.len > 24)
		return kk_err_set(err, EINVAL, "pool",
				  "pool of prefix length %u cannot hold Agents (8 to 24)",
				  config->pool.len);
	if (config->pool.addr.s_addr & ~prefix_mask(config->pool.len))
		return kk_err_set(err, EINVAL, "pool", "pool %s has host bits",
				  inet_ntoa(config->pool.addr));
	if (memcmp(&config->pool6.s6_addr[12], zero, sizeof(zero)) != 0)
		return kk_err_set(err, EINVAL, "pool6", "pool6 %s has bits behind its first 96",
				  inet_ntop(AF_INET6, &config->pool6, text, sizeof(text)));
	return 0;
}

static int check_address(const struct kk_datapath_config *config, size_t i, struct kk_err *err)
{
	const struct kk_address *address = &config->addresses[i];
	char text[KK_ADDRESS_TEXT];
	size_t before = 0;

	kk_address_text(address, text);
	if (!kk_address_is_host(address))
		return kk_err_set(err, EINVAL, "address", "address \"%s\" is no host's", text);
	if (address->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&config->pool6))
		return kk_err_set(err, EINVAL, "address",
				  "address %s cannot be managed: there is no pool6", text);
	for (size_t j = 0; j < i; j++) {
		if (kk_address_equal(&config->addresses[j], address))
			return kk_err_set(err, EINVAL, "address", "address %s is there twice",
					  text);
		before += config->addresses[j].family == address->family;
	}
	if (before >= KK_ADDRESSES_MAX)
		return kk_err_set(err, ENOSPC, "address",
				  "address %s: more than %d addresses of one family", text,
				  KK_ADDRESSES_MAX);
	return 0;
}

int kk_settings_check(const struct kk_datapath_config *config, struct kk_err *err)
{
	int r = check_pools(config, err);

	if (r == 0 && config->n_addresses == 0)
		r = kk_err_set(err, EINVAL, "address", "there is no public address");
	for (size_t i = 0; i < config->n_addresses && r == 0; i++)
		r = check_address(config, i, err);
	return r;
}

/* As many words as the hash wants, the same on every machine. */
static void expand_flow_key(const uint8_t secret[16], __u64 key[KK_FLOW_KEY_WORDS])
{
	struct wg_siphash_key sip;

	memcpy(&sip, secret, sizeof(sip));
	sip.k[0] = le64toh(sip.k[0]);
	sip.k[1] = le64toh(sip.k[1]);
	for (uint8_t i = 0; i < KK_FLOW_KEY_WORDS; i++)
		key[i] = wg_siphash(&sip, &i, sizeof(i));
}

struct kk_settings kk_settings_of(const struct kk_datapath_config *config, uint32_t mtu)
{
	struct kk_settings set = {
		.pool = config->pool.addr.s_addr,
		.pool_mask = prefix_mask(config->pool.len),
		.host = KK_BE32(config->host),
		.mtu = mtu,
	};
	size_t n4 = 0, n6 = 0;

	expand_flow_key(config->flow_key, set.flow_key);
	memcpy(&set.pool6, &config->pool6, sizeof(set.pool6));
	for (size_t i = 0; i < config->n_addresses; i++) {
		const struct kk_address *address = &config->addresses[i];

		if (address->family == AF_INET)
			set.address4[n4++] = address->v4.s_addr;
		else
			memcpy(&set.address6[n6++], address->bytes, sizeof(set.address6[0]));
	}
	return set;
}

uint32_t kk_settings_slots(const struct kk_datapath_config *config)
{
	uint32_t slots = 0, n[2] = {0};

	for (size_t i = 0; i < config->n_addresses; i++) {
		bool v6 = config->addresses[i].family == AF_INET6;
		uint32_t slot = kk_slot(v6 ? KK_IP6 : KK_IP4, n[v6]++);

		slots = slot + 1 > slots ? slot + 1 : slots;
	}
	return slots;
}
