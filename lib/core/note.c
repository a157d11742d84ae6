// SPDX-License-Identifier: MIT
#include "core/note.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ULL

void kk_note(const struct kk_user *user, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	if (!user->note)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	user->note(user->note_data, line);
}

/* ---- values as text ---- */

struct text {
	char s[96];
};

static struct text ip4_text(__be32 address)
{
	struct text t;

	inet_ntop(AF_INET, &address, t.s, sizeof(t.s));
	return t;
}

/* An IPv4 address in an IPv6 one is written as what it is. */
static struct text in6_text(const struct kk_in6 *address)
{
	struct text t;

	if (!address->word[0] && !address->word[1] && address->word[2] == KK_BE32(0xffff))
		return ip4_text(address->word[3]);
	inet_ntop(AF_INET6, address, t.s, sizeof(t.s));
	return t;
}

static struct text slot_text(const struct kk_user *user, __u32 slot)
{
	if (kk_slot_family(slot) == KK_IP4)
		return ip4_text(user->settings.address4[slot / 2 % KK_ADDRESSES_MAX]);
	return in6_text(&user->settings.address6[slot / 2 % KK_ADDRESSES_MAX]);
}

static struct text agent_text(const struct kk_user *user, __u32 offset)
{
	return ip4_text(user->settings.pool | KK_BE32(offset));
}

static const char *protocol_text(__u8 protocol)
{
	return protocol == KK_TCP ? "tcp" : "udp";
}

/* ---- tables ---- */

void kk_note_listener(const struct kk_user *user, __u32 index, __u64 word)
{
	__u32 slot = index / KK_LISTENERS_PER_ADDRESS, rest = index % KK_LISTENERS_PER_ADDRESS;
	const char *protocol = rest < 65536 ? "tcp" : "udp";
	struct text to = agent_text(user, kk_listener_agent(word));

	if (word & KK_LISTENER_GROUP)
		snprintf(to.s, sizeof(to.s), "group in place %u,", kk_listener_agent(word));
	if (!word)
		kk_note(user, "listeners: %s port %u/%s: nothing is published there",
			slot_text(user, slot).s, rest % 65536, protocol);
	else
		kk_note(user, "listeners: %s port %u/%s: to %s port %u, service slot %u%s%s%s",
			slot_text(user, slot).s, rest % 65536, protocol, to.s,
			kk_listener_port(word), kk_listener_service(word),
			word & KK_LISTENER_GUARDED ? ", guarded" : "",
			word & KK_LISTENER_SNAT ? ", snat" : "",
			word & KK_LISTENER_DRAINING ? ", draining" : "");
}

void kk_note_origin(const struct kk_user *user, const struct kk_origin_key *key,
		    const struct kk_origin *found)
{
	const char *protocol = protocol_text(key->protocol);
	struct text a = ip4_text(key->address);

	if (!found)
		kk_note(user, "origins: Agent %s port %u/%s: none", a.s, KK_HOST16(key->port),
			protocol);
	else
		kk_note(user, "origins: Agent %s port %u/%s: from %s port %u, service slot %u", a.s,
			KK_HOST16(key->port), protocol, slot_text(user, found->slot).s,
			KK_HOST16(found->port), found->service);
}

void kk_note_group(const struct kk_user *user, __u32 index, __u64 word)
{
	kk_note(user, "groups: place %u, element %u of %u: Agent %s", index / KK_MAGLEV_SIZE,
		index % KK_MAGLEV_SIZE, KK_MAGLEV_SIZE, agent_text(user, (__u32)word).s);
}

void kk_note_features(const struct kk_user *user)
{
	__u64 f = user->features;

	kk_note(user, "features:%s%s%s%s%s%s%s", f & KK_FEATURE_LIST ? " gateway's list" : "",
		f & KK_FEATURE_BANS ? " bans" : "",
		f & KK_FEATURE_SERVICE_BANS ? " bans of services" : "",
		f & KK_FEATURE_RELAY ? " relay" : "",
		f & KK_FEATURE_CLOSED_PORTS ? " closed ports" : "",
		f & KK_FEATURE_SYN_COOKIES ? " SYN cookies" : "", f ? "" : " none is in use");
}

void kk_note_service(const struct kk_user *user, __u32 slot)
{
	const union kk_service_slot *service = &user->services[slot];

	if (service->policy)
		kk_note(user, "services: slot %u: service %u, policy %u", slot, service->id,
			service->policy);
	else
		kk_note(user, "services: slot %u: service %u", slot, service->id);
}

static struct text limit_text(const char *what, __u32 interval, __u64 slack)
{
	struct text t = {""};

	if (interval)
		snprintf(t.s, sizeof(t.s), ", %llu %s a second (burst %llu)",
			 (SECOND + interval / 2) / interval, what, 1 + slack / interval);
	return t;
}

void kk_note_policy(const struct kk_user *user, __u32 number)
{
	const struct kk_policy *p = &user->policies[number];
	char list[32] = "no list";
	struct text syns = {""};

	if (p->list)
		snprintf(list, sizeof(list), "list %u", p->list);
	if (p->syn_rate)
		snprintf(syns.s, sizeof(syns.s), ", a challenge beyond %u SYNs a second",
			 p->syn_rate);
	kk_note(user, "policies: %u: %s%s%s%s%s", number, list,
		p->flags & KK_POLICY_DENY ? ", others denied" : "",
		limit_text("packets", p->packet_interval, p->packet_slack).s,
		limit_text("connections", p->connection_interval, p->connection_slack).s, syns.s);
}

void kk_note_list(const struct kk_user *user, const struct kk_list_key *key,
		  const struct kk_list_key *prefix, const struct kk_list_entry *found)
{
	__u32 list = KK_HOST32(key->list) >> 1, before = KK_HOST32(key->list) & 1 ? 32 : 128;
	struct text base;

	if (!found) {
		kk_note(user, "lists: list %u: %s is not on it", list, in6_text(&key->address).s);
		return;
	}
	base = in6_text(&prefix->address);
	kk_note(user, "lists: list %u: %s is in %s/%u: %s", list, in6_text(&key->address).s, base.s,
		prefix->prefix_len - before, found->verdict == KK_LIST_DENY ? "deny" : "allow");
}

void kk_note_ban(const struct kk_user *user, const struct kk_ban_key *key, __u64 until, __u64 now)
{
	struct text what = {"the gateway"};

	if (key->service)
		snprintf(what.s, sizeof(what.s), "service %u", key->service);
	if (until > now && until != UINT64_MAX)
		kk_note(user, "bans: %s at %s: for %llu more seconds", in6_text(&key->address).s,
			what.s, (until - now + SECOND - 1) / SECOND);
	else
		kk_note(user, "bans: %s at %s: %s", in6_text(&key->address).s, what.s,
			until > now ? "for good"
			: until	    ? "has ended"
				    : "none");
}

static struct text bucket_text(__u64 full, __u64 now)
{
	struct text t = {"full"};

	if (full > now)
		snprintf(t.s, sizeof(t.s), "full in %llu ms", (full - now + 999999) / 1000000);
	return t;
}

void kk_note_source(const struct kk_user *user, const struct kk_source_key *key,
		    const struct kk_source *found, __u64 now)
{
	if (!found)
		kk_note(user, "sources: %s at service %u: new", in6_text(&key->address).s,
			key->service);
	else
		kk_note(user, "sources: %s at service %u: packets %s, connections %s",
			in6_text(&key->address).s, key->service, bucket_text(found->packets, now).s,
			bucket_text(found->connections, now).s);
}

void kk_note_snat(const struct kk_user *user, const struct kk_snat_key *key,
		  const struct kk_snat_flow *found, __u64 now)
{
	struct text agent = ip4_text(key->agent);

	if (!found)
		kk_note(user, "flows: gateway's port %u to %s port %u/%s: free",
			KK_HOST16(key->port), agent.s, KK_HOST16(key->agent_port),
			protocol_text(key->protocol));
	else
		kk_note(user,
			"flows: gateway's port %u to %s port %u/%s: of %s port %u, %llu s ago%s",
			KK_HOST16(key->port), agent.s, KK_HOST16(key->agent_port),
			protocol_text(key->protocol), in6_text(&found->client).s,
			KK_HOST16(found->client_port), (now - found->seen) / SECOND,
			found->closing ? ", closing" : "");
}

void kk_note_fragment(const struct kk_user *user, const struct kk_fragment_key *key,
		      const struct kk_fragment *found)
{
	struct text source = in6_text(&key->source), dest = in6_text(&key->dest);

	if (found && found->protocol)
		kk_note(user, "fragments: %s to %s: their first one was of port %u/%s of %s",
			source.s, dest.s, KK_HOST16(found->port), protocol_text(found->protocol),
			slot_text(user, found->slot).s);
	else
		kk_note(user, "fragments: %s to %s: no first one is known", source.s, dest.s);
}

/* ---- the edge's ---- */

void kk_note_wanted(const struct kk_user *user, const struct kk_user_tuple *tuple, int wanted)
{
	kk_note(user, "sockets: %s port %u/%s: %s", in6_text(&tuple->dest).s,
		KK_HOST16(tuple->dest_port), protocol_text(tuple->protocol),
		wanted ? "one of the gateway's own takes it" : "none");
}

void kk_note_flood(const struct kk_user *user, __u32 slot, __u64 now)
{
	const struct kk_flood *flood = &user->edge.floods[slot];
	__u32 age = (__u32)(now >> KK_FLOOD_SHIFT) - flood->window;

	kk_note(user,
		"floods: service slot %u: %u SYNs in this second, %u in the one before; the gateway's limit is %u",
		slot, age == 0 ? flood->count : 0,
		age == 0   ? flood->before
		: age == 1 ? flood->count
			   : 0,
		user->edge.settings.syn_rate);
}

void kk_note_verified(const struct kk_user *user, const struct kk_in6 *source, __u64 until,
		      __u64 now)
{
	if (until > now)
		kk_note(user, "verified: %s: for %llu more seconds", in6_text(source).s,
			(until - now + SECOND - 1) / SECOND);
	else
		kk_note(user, "verified: %s: it has not proved itself", in6_text(source).s);
}

void kk_note_relay(const struct kk_user *user, const struct kk_relay_key *key,
		   const struct kk_relay *found, __u64 now)
{
	struct text end = in6_text(&key->address);

	if (!found)
		kk_note(user, "relays: %s port %u at port %u: no session", end.s,
			KK_HOST16(key->port), KK_HOST16(key->at));
	else
		kk_note(user, "relays: %s port %u at port %u: with %s port %u, %s%s", end.s,
			KK_HOST16(key->port), KK_HOST16(key->at), in6_text(&found->peer).s,
			KK_HOST16(found->peer_port), found->until > now ? "alive" : "over",
			found->ifindex ? "" : ", nothing has come from it yet");
}
