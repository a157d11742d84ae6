// SPDX-License-Identifier: GPL-2.0
/* kakuremichi.ko: the gateway's data plane in the kernel. */
#include "kmod/module.h"

#include <linux/delay.h>
#include <linux/module.h>
#include <linux/rcupdate.h>

#include <uapi/kakuremichi.h>

#include "kmod/netlink.h"
#include "kmod/net.h"

/*
 * For how long packets are still forwarded when the family is gone, which whoever watches it is told: kkgatewayd lets eBPF take
 * over, and no packet gets past both.
 */
#define KK_FAREWELL_MS 100

struct workqueue_struct *kk_workqueue;

static int __init kk_init(void)
{
	int r;

	kk_workqueue = alloc_workqueue("kakuremichi", 0, 0);
	if (!kk_workqueue)
		return -ENOMEM;
	r = kk_flows_cache_init();
	if (r)
		goto fail_queue;
	r = kk_net_register();
	if (r)
		goto fail;
	r = kk_netlink_register();
	if (r)
		goto fail_net;
	return 0;

fail_net:
	kk_net_unregister();
fail:
	rcu_barrier();
	kk_flows_cache_clean();
fail_queue:
	destroy_workqueue(kk_workqueue);
	return r;
}

static void __exit kk_exit(void)
{
	kk_netlink_unregister();
	msleep(KK_FAREWELL_MS);
	kk_net_unregister();
	rcu_barrier(); /* what waits for packets is on the queue then */
	destroy_workqueue(kk_workqueue);
	rcu_barrier(); /* and what was put there by that */
	kk_flows_cache_clean();
}

module_init(kk_init);
module_exit(kk_exit);

MODULE_DESCRIPTION("kakuremichi: publishes services behind NAT through a WireGuard tunnel");
MODULE_AUTHOR("The kakuremichi developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(KK_VERSION);
MODULE_ALIAS_GENL_FAMILY(KK_GENL_NAME);
