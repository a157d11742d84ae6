// SPDX-License-Identifier: GPL-2.0
#include "kmod/net.h"

#include <linux/mm.h>
#include <linux/rtnetlink.h>
#include <net/netns/generic.h>

#include <uapi/kakuremichi.h>
#include <kk/core/reasons.h>

#include "kmod/ingress.h"
#include "kmod/module.h"
#include "kmod/netlink.h"
#include "kmod/path.h"

static unsigned int kk_net_id;

struct kk_net *kk_net_of(const struct net *net)
{
	return net_generic(net, kk_net_id);
}

static void leave_place(struct kk_net *kn, enum kk_direction direction)
{
	struct kk_place *place = &kn->place[direction];
	struct net_device *dev = rtnl_dereference(place->dev);

	if (!dev)
		return;
	kk_ingress_unregister(kn, direction);
	RCU_INIT_POINTER(place->dev, NULL);
	netdev_put(dev, &place->tracker);
}

static void take_place(struct kk_net *kn, enum kk_direction direction, struct net_device *dev)
{
	struct kk_place *place = &kn->place[direction];

	if (rtnl_dereference(place->dev) == dev)
		return;
	leave_place(kn, direction);
	netdev_hold(dev, &place->tracker, GFP_KERNEL);
	strscpy(place->name, dev->name, sizeof(place->name));
	rcu_assign_pointer(place->dev, dev);
	/* As the stack does where it forwards: what is joined so cannot be parted. */
	dev_disable_lro(dev);
	kk_ingress_register(kn, direction);
}

static int take_places(struct kk_net *kn, const u32 ifindex[2], struct netlink_ext_ack *extack)
{
	struct net_device *dev[2];

	ASSERT_RTNL();
	for (int i = 0; i < 2; i++) {
		dev[i] = __dev_get_by_index(kn->net, ifindex[i]);
		if (!dev[i]) {
			extack->_msg = i == KK_INBOUND ? "the public interface is not there"
						       : "the tunnel's interface is not there";
			return -ENODEV;
		}
	}
	if (dev[KK_OUTBOUND]->flags & IFF_LOOPBACK || dev[KK_OUTBOUND]->hard_header_len ||
	    dev[KK_OUTBOUND]->addr_len) {
		NL_SET_ERR_MSG(extack, "the tunnel's interface is no layer-3 device");
		return -EINVAL;
	}
	for (int i = 0; i < 2; i++)
		take_place(kn, i, dev[i]);
	return 0;
}

int kk_net_replace(struct kk_net *kn, struct kk_tables *tables, const u32 ifindex[2],
		   struct netlink_ext_ack *extack)
{
	struct kk_tables *old = kk_net_tables(kn);
	int r = 0;

	lockdep_assert_held(&kn->lock);
	if (!old)
		r = kk_path_register(kn->net);
	if (r) {
		NL_SET_ERR_MSG(extack, "the hooks cannot be registered");
		return r;
	}
	rtnl_lock();
	r = take_places(kn, ifindex, extack);
	rtnl_unlock();
	if (r) {
		if (!old)
			kk_path_unregister(kn->net);
		return r;
	}
	kk_flows_set(&kn->flows, tables->flows_max, &tables->flow_times);
	rcu_assign_pointer(kn->tables, tables);
	kn->changes++;
	kk_tables_free(old);
	return 0;
}

void kk_net_clear(struct kk_net *kn)
{
	struct kk_tables *old = kk_net_tables(kn);

	lockdep_assert_held(&kn->lock);
	if (!old)
		return;
	kk_path_unregister(kn->net);
	RCU_INIT_POINTER(kn->tables, NULL);
	kk_tables_free(old);
	kk_bans_clear(&kn->bans);
	kk_flows_clear(&kn->flows);
	rtnl_lock();
	for (int i = 0; i < 2; i++)
		leave_place(kn, i);
	rtnl_unlock();
}

void kk_net_abort(struct kk_net *kn)
{
	lockdep_assert_held(&kn->lock);
	kk_tables_free(kn->pending.tables);
	memset(&kn->pending, 0, sizeof(kn->pending));
}

/* The places follow the interfaces: under RTNL only, since netlink takes it inside of our lock. */
static int on_device(struct notifier_block *block, unsigned long event, void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);
	struct kk_net *kn = kk_net_of(dev_net(dev));

	for (int i = 0; i < 2; i++) {
		struct kk_place *place = &kn->place[i];
		struct net_device *ours = rtnl_dereference(place->dev);

		if (event == NETDEV_UNREGISTER && ours == dev) {
			leave_place(kn, i);
			kk_event_plain(kn->net, i == KK_INBOUND ? KK_EVENT_PUBLIC_GONE
								: KK_EVENT_TUNNEL_GONE);
		} else if (event == NETDEV_REGISTER && !ours && place->name[0] &&
			   !strcmp(place->name, dev->name)) {
			take_place(kn, i, dev);
			kk_event_plain(kn->net, i == KK_INBOUND ? KK_EVENT_PUBLIC_BACK
								: KK_EVENT_TUNNEL_BACK);
		} else if (event == NETDEV_CHANGENAME && ours == dev) {
			strscpy(place->name, dev->name, sizeof(place->name));
		}
	}
	return NOTIFY_DONE;
}

static struct notifier_block on_devices = {.notifier_call = on_device};

static int __net_init start(struct net *net)
{
	struct kk_net *kn = kk_net_of(net);

	kn->net = net;
	mutex_init(&kn->lock);
	kk_events_init(&kn->events);
	kn->counters = __alloc_percpu_gfp(sizeof(struct kk_counter) * KK_REASON_MAX,
					  __alignof__(struct kk_counter), KK_GFP);
	return kn->counters ? 0 : -ENOMEM;
}

/* Hooks first, then nothing reads the rest any more but packets under way. */
static void __net_exit leave(struct net *net)
{
	struct kk_net *kn = kk_net_of(net);

	mutex_lock(&kn->lock);
	kk_net_abort(kn);
	kk_net_clear(kn);
	mutex_unlock(&kn->lock);
}

static void __net_exit end(struct list_head *nets)
{
	struct net *net;

	synchronize_rcu();
	list_for_each_entry(net, nets, exit_list)
	{
		struct kk_net *kn = kk_net_of(net);

		kk_bans_clean(&kn->bans);
		kk_flows_clean(&kn->flows);
		kk_sources_clean(&kn->sources);
		kk_sources_clean(&kn->verified);
		kk_services_clean(&kn->services);
		free_percpu(kn->counters);
	}
}

static struct pernet_operations kk_net_ops = {
	.init = start,
	.pre_exit = leave,
	.exit_batch = end,
	.id = &kk_net_id,
	.size = sizeof(struct kk_net),
};

int kk_net_register(void)
{
	int r = register_pernet_subsys(&kk_net_ops);

	if (r)
		return r;
	r = register_netdevice_notifier(&on_devices);
	if (r)
		unregister_pernet_subsys(&kk_net_ops);
	return r;
}

void kk_net_unregister(void)
{
	unregister_netdevice_notifier(&on_devices);
	unregister_pernet_subsys(&kk_net_ops);
}
