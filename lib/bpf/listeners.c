// SPDX-License-Identifier: MIT
#include "bpf/listeners.h"

#include <arpa/inet.h>
#include <errno.h>

const char *kk_listener_protocol(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? "tcp" : "udp";
}

int kk_listener_twice(const struct kk_listener *l, struct kk_err *err)
{
	return kk_err_set(err, EEXIST, "port", "port %u/%s is published twice", l->port,
			  kk_listener_protocol(l->protocol));
}

int kk_origin_twice(const struct kk_origin_record *origin, struct kk_err *err)
{
	char text[INET_ADDRSTRLEN];

	return kk_err_set(err, EEXIST, "agent_port", "port %u/%s of Agent %s is published twice",
			  KK_HOST16(origin->key.port), kk_listener_protocol(origin->key.protocol),
			  inet_ntop(AF_INET, &origin->key.address, text, sizeof(text)));
}

int kk_listener_no_group(const struct kk_listener *l, struct kk_err *err)
{
	return kk_err_set(err, ENOENT, "group", "port %u/%s leads to group %u, which there is not",
			  l->port, kk_listener_protocol(l->protocol), l->group);
}

bool kk_listener_is_there(const struct kk_listener *l)
{
	return !(l->draining && l->protocol == IPPROTO_UDP && !l->snat);
}

int kk_listener_entry(const struct kk_tables *tables, const struct kk_listener *l, uint32_t group,
		      uint32_t service, bool guarded, struct kk_listener_entry *ret,
		      struct kk_err *err)
{
	const __u64 flags = (l->group ? KK_LISTENER_GROUP : 0) |
			    (guarded ? KK_LISTENER_GUARDED : 0) | (l->snat ? KK_LISTENER_SNAT : 0) |
			    (l->draining ? KK_LISTENER_DRAINING : 0);
	int slot = kk_tables_slot(tables, &l->address);
	char text[KK_ADDRESS_TEXT];
	uint32_t to;

	if (slot < 0)
		return kk_err_set(err, EINVAL, "address", "address %s is not managed here",
				  kk_address_text(&l->address, text));
	if (l->snat && !tables->settings.host)
		return kk_err_set(
			err, EINVAL, "snat",
			"port %u/%s: this gateway has no address that an Agent could see in a client's place",
			l->port, kk_listener_protocol(l->protocol));
	to = l->group ? group : kk_pool_offset(l->agent_address.s_addr, tables->settings.pool_mask);
	ret->index = kk_listener_index((uint32_t)slot, l->protocol, l->port);
	ret->word = kk_listener_word(to, l->agent_port, service, flags);
	return 0;
}

size_t kk_listener_origins_max(const struct kk_listener *l, const struct kk_group *group)
{
	if (l->snat)
		return 0;
	return l->group ? group->n_members : 1;
}

size_t kk_listener_origins(const struct kk_listener *l, const struct kk_listener_entry *entry,
			   const struct kk_group *group, struct kk_origin_record *ret)
{
	const uint32_t slot = entry->index / KK_LISTENERS_PER_ADDRESS;
	const size_t n = kk_listener_origins_max(l, group);

	for (size_t i = 0; i < n; i++)
		ret[i] = (struct kk_origin_record){
			.key = {.address = l->group ? group->members[i].address.s_addr
						    : l->agent_address.s_addr,
				.port = KK_BE16(l->agent_port),
				.protocol = l->protocol,
				.family = kk_slot_family(slot)},
			.value = {.port = KK_BE16(l->port),
				  .slot = (__u16)slot,
				  .service = kk_listener_service(entry->word)},
		};
	return n;
}

bool kk_origin_is_plain(const struct kk_origin_record *origin, __u64 word)
{
	return origin->key.port == origin->value.port &&
	       origin->value.slot == kk_slot(origin->key.family, 0) && !(word & KK_LISTENER_GROUP);
}
