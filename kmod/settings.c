// SPDX-License-Identifier: GPL-2.0
/* Sets of tables as wholes: begun, put into force, taken out; and their settings. */
#include "kmod/netlink.h"

#include <linux/inetdevice.h>
#include <net/netlink.h>

static const struct kk_in6 none6;

static int read_pool(struct nlattr **attrs, const struct nlattr *nest, struct kk_settings *set,
		     struct netlink_ext_ack *extack)
{
	if (!attrs[KK_SETTINGS_A_POOL])
		return kk_missing(extack, nest, KK_SETTINGS_A_POOL, "the pool is missing");
	if (!attrs[KK_SETTINGS_A_POOL_LEN])
		return kk_missing(extack, nest, KK_SETTINGS_A_POOL_LEN,
				  "the pool's prefix length is missing");
	set->pool = nla_get_in_addr(attrs[KK_SETTINGS_A_POOL]);
	set->pool_mask = inet_make_mask(nla_get_u8(attrs[KK_SETTINGS_A_POOL_LEN]));
	if (set->pool & ~set->pool_mask)
		return kk_refuse(extack, attrs[KK_SETTINGS_A_POOL],
				 "the pool has bits beyond its prefix length");
	if (attrs[KK_SETTINGS_A_POOL6])
		nla_memcpy(&set->pool6, attrs[KK_SETTINGS_A_POOL6], sizeof(set->pool6));
	if (set->pool6.word[3])
		return kk_refuse(extack, attrs[KK_SETTINGS_A_POOL6],
				 "the IPv6 pool has bits beyond a prefix of 96");
	return 0;
}

static int read_addresses(struct nlattr **attrs, const struct nlattr *nest, struct kk_settings *set,
			  struct netlink_ext_ack *extack)
{
	struct nlattr *v4 = attrs[KK_SETTINGS_A_ADDRESS4], *v6 = attrs[KK_SETTINGS_A_ADDRESS6];

	if (v4 && nla_len(v4) % sizeof(__be32))
		return kk_refuse(extack, v4, "the IPv4 addresses are not 4 bytes each");
	if (v6 && nla_len(v6) % sizeof(struct kk_in6))
		return kk_refuse(extack, v6, "the IPv6 addresses are not 16 bytes each");
	if (v4)
		nla_memcpy(set->address4, v4, sizeof(set->address4));
	if (v6)
		nla_memcpy(set->address6, v6, sizeof(set->address6));
	if (!set->address4[0] && !memcmp(&set->address6[0], &none6, sizeof(none6)))
		return kk_missing(extack, nest, KK_SETTINGS_A_ADDRESS4,
				  "there is no public address");
	for (int i = 0; v4 && i < nla_len(v4) / 4; i++)
		if (!set->address4[i])
			return kk_refuse(extack, v4, "an IPv4 address is 0.0.0.0");
	for (int i = 0; v6 && i < nla_len(v6) / 16; i++)
		if (!memcmp(&set->address6[i], &none6, sizeof(none6)))
			return kk_refuse(extack, v6, "an IPv6 address is ::");
	return 0;
}

/* @seconds unless the attribute is there; ns. */
static u64 read_time(const struct nlattr *attr, u32 seconds)
{
	return (u64)(attr ? nla_get_u32(attr) : seconds) * NSEC_PER_SEC;
}

static void read_flows(struct nlattr **attrs, struct kk_config *config)
{
	config->flows_max = KK_SNAT_FLOWS_MAX;
	if (attrs[KK_SETTINGS_A_FLOWS_MAX])
		config->flows_max = nla_get_u32(attrs[KK_SETTINGS_A_FLOWS_MAX]);
	config->flow_times = (struct kk_flow_times){
		.udp = read_time(attrs[KK_SETTINGS_A_UDP_TIME], 300),
		.tcp = read_time(attrs[KK_SETTINGS_A_TCP_TIME], 7440),
		.closing = read_time(attrs[KK_SETTINGS_A_CLOSING_TIME], 240),
	};
}

static int read_edge(struct nlattr **attrs, const struct nlattr *nest, struct kk_config *config,
		     struct netlink_ext_ack *extack)
{
	struct nlattr *key = attrs[KK_SETTINGS_A_COOKIE_KEY];

	config->edge.ephemeral = 1;
	if (attrs[KK_SETTINGS_A_FLAGS])
		config->flags = nla_get_u32(attrs[KK_SETTINGS_A_FLAGS]);
	if (key)
		nla_memcpy(config->edge.cookie_key, key, sizeof(config->edge.cookie_key));
	if (attrs[KK_SETTINGS_A_SYN_RATE])
		config->edge.syn_rate = nla_get_u32(attrs[KK_SETTINGS_A_SYN_RATE]);
	if (attrs[KK_SETTINGS_A_EPHEMERAL])
		config->edge.ephemeral = nla_get_u16(attrs[KK_SETTINGS_A_EPHEMERAL]);
	if (config->flags & KK_SETTINGS_F_EDGE && !key)
		return kk_missing(extack, nest, KK_SETTINGS_A_COOKIE_KEY,
				  "the edge needs a key for its cookies");
	return 0;
}

static int read_settings(struct genl_info *info, struct kk_config *config, u32 ifindex[2])
{
	struct kk_settings *set = &config->set;
	struct nlattr *nest = info->attrs[KK_A_SETTINGS], *attrs[KK_SETTINGS_A_MAX + 1];
	struct netlink_ext_ack *extack = info->extack;
	int r;

	if (!nest)
		return kk_missing(extack, NULL, KK_A_SETTINGS, "the settings are missing");
	/* Validated with the request. */
	r = nla_parse_nested(attrs, KK_SETTINGS_A_MAX, nest, NULL, extack);
	if (r)
		return r;
	if (!attrs[KK_SETTINGS_A_PUBLIC])
		return kk_missing(extack, nest, KK_SETTINGS_A_PUBLIC,
				  "the public interface is missing");
	if (!attrs[KK_SETTINGS_A_TUNNEL])
		return kk_missing(extack, nest, KK_SETTINGS_A_TUNNEL,
				  "the tunnel's interface is missing");
	ifindex[KK_INBOUND] = nla_get_u32(attrs[KK_SETTINGS_A_PUBLIC]);
	ifindex[KK_OUTBOUND] = nla_get_u32(attrs[KK_SETTINGS_A_TUNNEL]);
	if (ifindex[0] == ifindex[1])
		return kk_refuse(extack, attrs[KK_SETTINGS_A_TUNNEL],
				 "the tunnel is the public interface");
	*config = (struct kk_config){.flags = 0};
	if (attrs[KK_SETTINGS_A_MTU])
		set->mtu = nla_get_u32(attrs[KK_SETTINGS_A_MTU]);
	if (attrs[KK_SETTINGS_A_HOST])
		set->host = htonl(nla_get_u8(attrs[KK_SETTINGS_A_HOST]));
	if (attrs[KK_SETTINGS_A_FLOW_KEY])
		nla_memcpy(set->flow_key, attrs[KK_SETTINGS_A_FLOW_KEY], sizeof(set->flow_key));
	r = read_pool(attrs, nest, set, extack);
	if (r)
		return r;
	if (set->mtu && set->mtu < 1280 && attrs[KK_SETTINGS_A_POOL6])
		return kk_refuse(extack, attrs[KK_SETTINGS_A_MTU],
				 "IPv6 inside needs an MTU of 1280 at least");
	read_flows(attrs, config);
	r = read_edge(attrs, nest, config, extack);
	return r ?: read_addresses(attrs, nest, set, extack);
}

/* What the tables of @config need of the namespace. */
static int prepare(struct kk_net *kn, const struct kk_config *config)
{
	int r = kk_services_init(&kn->services);

	if (!r && config->flags & KK_SETTINGS_F_EDGE)
		r = kk_sources_init(&kn->verified);
	return r;
}

int kk_do_table_begin(struct sk_buff *skb, struct genl_info *info)
{
	struct kk_net *kn = kk_net_of(genl_info_net(info));
	struct kk_tables *tables;
	struct kk_config config;
	u32 ifindex[2];
	int r;

	r = read_settings(info, &config, ifindex);
	if (r)
		return r;
	mutex_lock(&kn->lock);
	if (kn->pending.tables && kn->pending.portid != info->snd_portid) {
		NL_SET_ERR_MSG(info->extack, "another socket has begun a set of tables");
		r = -EBUSY;
		goto out;
	}
	r = prepare(kn, &config);
	if (r)
		goto out;
	tables = kk_tables_new(&config, &kn->services);
	if (!tables) {
		r = -ENOMEM;
		goto out;
	}
	kk_net_abort(kn); /* what this socket began before */
	kn->pending.tables = tables;
	memcpy(kn->pending.ifindex, ifindex, sizeof(ifindex));
	kn->pending.portid = info->snd_portid;
out:
	mutex_unlock(&kn->lock);
	return r;
}

int kk_do_table_commit(struct sk_buff *skb, struct genl_info *info)
{
	struct kk_net *kn = kk_net_of(genl_info_net(info));
	int r = -ENOENT;

	mutex_lock(&kn->lock);
	if (!kn->pending.tables || kn->pending.portid != info->snd_portid) {
		NL_SET_ERR_MSG(info->extack, "this socket has begun no set of tables");
	} else {
		r = kk_net_replace(kn, kn->pending.tables, kn->pending.ifindex, info->extack);
		if (r == 0)
			kn->pending.tables = NULL;
		kk_net_abort(kn);
	}
	mutex_unlock(&kn->lock);
	return r;
}

int kk_do_table_abort(struct sk_buff *skb, struct genl_info *info)
{
	struct kk_net *kn = kk_net_of(genl_info_net(info));
	int r = 0;

	mutex_lock(&kn->lock);
	if (!kn->pending.tables || kn->pending.portid != info->snd_portid) {
		NL_SET_ERR_MSG(info->extack, "this socket has begun no set of tables");
		r = -ENOENT;
	} else {
		kk_net_abort(kn);
	}
	mutex_unlock(&kn->lock);
	return r;
}

int kk_do_table_clear(struct sk_buff *skb, struct genl_info *info)
{
	struct kk_net *kn = kk_net_of(genl_info_net(info));

	mutex_lock(&kn->lock);
	kk_net_clear(kn);
	mutex_unlock(&kn->lock);
	return 0;
}

/* Whether what is in the tables can go on with other settings. */
static int check_fits(const struct kk_tables *tables, const struct kk_settings *set,
		      struct genl_info *info)
{
	const struct kk_listeners *listeners = tables->listeners;
	bool other = tables->set.pool != set->pool || tables->set.pool_mask != set->pool_mask;

	if (other && (listeners->n || listeners->groups.n))
		return kk_refuse(info->extack, info->attrs[KK_A_SETTINGS],
				 "another pool needs a whole new set of tables");
	if (!set->host && listeners->n_snat)
		return kk_refuse(
			info->extack, info->attrs[KK_A_SETTINGS],
			"without a host there is no address for the listeners with translated flows");
	return 0;
}

int kk_do_settings_set(struct sk_buff *skb, struct genl_info *info)
{
	struct kk_net *kn = kk_net_of(genl_info_net(info));
	struct kk_tables *old, *tables;
	struct kk_config config;
	u32 ifindex[2];
	int r;

	r = read_settings(info, &config, ifindex);
	if (r)
		return r;
	mutex_lock(&kn->lock);
	old = kk_net_tables(kn);
	if (!old) {
		NL_SET_ERR_MSG(info->extack, "there are no tables in this namespace");
		r = -ENOENT;
		goto out;
	}
	r = check_fits(old, &config.set, info) ?: prepare(kn, &config);
	if (r)
		goto out;
	tables = kk_tables_with(&config, old);
	if (!tables) {
		r = -ENOMEM;
		goto out;
	}
	r = kk_net_replace(kn, tables, ifindex, info->extack);
	if (r)
		kk_tables_free(tables);
out:
	mutex_unlock(&kn->lock);
	return r;
}

static u32 count_addresses(const struct kk_settings *set, bool v4)
{
	u32 n = 0;

	while (n < KK_ADDRESSES_MAX &&
	       (v4 ? set->address4[n] != 0 : memcmp(&set->address6[n], &none6, sizeof(none6)) != 0))
		n++;
	return n;
}

static u32 ifindex_of(const struct kk_place *place)
{
	const struct net_device *dev;
	u32 ifindex;

	rcu_read_lock();
	dev = rcu_dereference(place->dev);
	ifindex = dev ? dev->ifindex : 0;
	rcu_read_unlock();
	return ifindex;
}

static int put_time(struct sk_buff *msg, int attr, u64 time)
{
	return nla_put_u32(msg, attr, div_u64(time, NSEC_PER_SEC));
}

static int put_edge(struct sk_buff *msg, const struct kk_tables *tables)
{
	const struct kk_flow_times *times = &tables->flow_times;
	const struct kk_edge_settings *edge = &tables->edge;

	return nla_put_u32(msg, KK_SETTINGS_A_FLAGS, tables->flags) ||
	       nla_put(msg, KK_SETTINGS_A_COOKIE_KEY, sizeof(edge->cookie_key), edge->cookie_key) ||
	       (edge->syn_rate && nla_put_u32(msg, KK_SETTINGS_A_SYN_RATE, edge->syn_rate)) ||
	       nla_put_u16(msg, KK_SETTINGS_A_EPHEMERAL, edge->ephemeral) ||
	       nla_put_u32(msg, KK_SETTINGS_A_FLOWS_MAX, tables->flows_max) ||
	       put_time(msg, KK_SETTINGS_A_UDP_TIME, times->udp) ||
	       put_time(msg, KK_SETTINGS_A_TCP_TIME, times->tcp) ||
	       put_time(msg, KK_SETTINGS_A_CLOSING_TIME, times->closing);
}

static int put_settings(struct sk_buff *msg, struct kk_net *kn, const struct kk_tables *tables)
{
	const struct kk_settings *set = &tables->set;
	struct nlattr *nest = nla_nest_start(msg, KK_A_SETTINGS);
	u32 n4 = count_addresses(set, true), n6 = count_addresses(set, false);

	if (!nest || nla_put_u32(msg, KK_SETTINGS_A_PUBLIC, ifindex_of(&kn->place[KK_INBOUND])) ||
	    nla_put_u32(msg, KK_SETTINGS_A_TUNNEL, ifindex_of(&kn->place[KK_OUTBOUND])) ||
	    (n4 && nla_put(msg, KK_SETTINGS_A_ADDRESS4, n4 * sizeof(__be32), set->address4)) ||
	    (n6 && nla_put(msg, KK_SETTINGS_A_ADDRESS6, n6 * 16, set->address6)) ||
	    nla_put_in_addr(msg, KK_SETTINGS_A_POOL, set->pool) ||
	    nla_put_u8(msg, KK_SETTINGS_A_POOL_LEN, inet_mask_len(set->pool_mask)) ||
	    (memcmp(&set->pool6, &none6, sizeof(none6)) &&
	     nla_put(msg, KK_SETTINGS_A_POOL6, sizeof(set->pool6), &set->pool6)) ||
	    (set->host && nla_put_u8(msg, KK_SETTINGS_A_HOST, ntohl(set->host))) ||
	    (set->mtu && nla_put_u32(msg, KK_SETTINGS_A_MTU, set->mtu)) ||
	    nla_put(msg, KK_SETTINGS_A_FLOW_KEY, sizeof(set->flow_key), set->flow_key) ||
	    put_edge(msg, tables))
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

int kk_do_info_get(struct sk_buff *skb, struct genl_info *info)
{
	struct kk_net *kn = kk_net_of(genl_info_net(info));
	const struct kk_tables *tables;
	struct sk_buff *msg;
	void *header;
	int r;

	msg = kk_netlink_answer(info, NLMSG_GOODSIZE, &header);
	if (!msg)
		return -ENOMEM;
	mutex_lock(&kn->lock);
	tables = kk_net_tables(kn);
	r = nla_put_string(msg, KK_A_VERSION, KK_VERSION) ||
	    nla_put_u32(msg, KK_A_LAYOUT, KK_LAYOUT) ||
	    (tables && (put_settings(msg, kn, tables) ||
			nla_put_u32(msg, KK_A_LISTENERS, tables->listeners->n) ||
			nla_put_u32(msg, KK_A_SERVICES, kn->services.n) ||
			nla_put_u32(msg, KK_A_FLOWS, atomic_read(&kn->flows.n))));
	mutex_unlock(&kn->lock);
	if (r) {
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	genlmsg_end(msg, header);
	return genlmsg_reply(msg, info);
}
