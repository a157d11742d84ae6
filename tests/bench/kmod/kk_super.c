// SPDX-License-Identifier: GPL-2.0
/*
 * Makes TCP packets that pktgen and live frames cannot: super-packets as GRO leaves them, with headers in front and the
 * payload in fragments that are referred to and never copied; and such as come out of a tunnel. For bench_module, in a
 * virtual machine.
 */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/skbuff.h>
#include <linux/tcp.h>
#include <linux/uaccess.h>

#include "kk_super.h"

#define ROOM  (NET_SKB_PAD + LL_MAX_HEADER)
#define BATCH 64 /* that are under way at once, as with live frames */
#define ORDER 3	 /* of the pages that all fragments are in */

static struct page *payload;

static void add_payload(struct sk_buff *skb, u16 segment)
{
	page_ref_add(payload, KK_SUPER_SEGMENTS);
	for (int i = 0; i < KK_SUPER_SEGMENTS; i++)
		skb_fill_page_desc(skb, i, payload, i * segment, segment);
	skb->data_len = KK_SUPER_SEGMENTS * segment;
	skb->len += skb->data_len;
	skb->truesize += skb->data_len;
	skb_shinfo(skb)->gso_type = SKB_GSO_TCPV4;
	skb_shinfo(skb)->gso_size = segment;
	skb_shinfo(skb)->gso_segs = KK_SUPER_SEGMENTS;
	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = skb_transport_header(skb) - skb->head;
	skb->csum_offset = offsetof(struct tcphdr, check);
}

static struct sk_buff *make(const struct kk_super_order *order, u32 n)
{
	struct sk_buff *skb = alloc_skb(ROOM + KK_SUPER_HEAD, GFP_ATOMIC);
	struct tcphdr *tcp;
	__be16 *port;

	if (!skb)
		return NULL;
	skb_reserve(skb, ROOM);
	skb_put_data(skb, order->head, KK_SUPER_HEAD);
	skb_reset_mac_header(skb);
	skb_set_network_header(skb, ETH_HLEN);
	skb_set_transport_header(skb, ETH_HLEN + sizeof(struct iphdr));
	skb->protocol = htons(ETH_P_IP);
	tcp = tcp_hdr(skb);
	port = order->received ? &tcp->dest : &tcp->source;
	*port = htons(ntohs(*port) + n % order->flows);
	if (order->segment)
		add_payload(skb, order->segment);
	else
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	return skb;
}

/* What is received at the other end of a veth is done when softirqs are let again. */
static int send_batch(const struct kk_super_order *order, struct net_device *dev, u32 from, u32 to)
{
	int r = 0;

	local_bh_disable();
	for (u32 i = from; i < to && !r; i++) {
		struct sk_buff *skb = make(order, i);

		if (!skb) {
			r = -ENOMEM;
			break;
		}
		skb->dev = dev;
		if (order->received) {
			skb_pull(skb, ETH_HLEN);
			skb_reset_mac_header(skb);
			netif_receive_skb(skb); /* drops are told by what does not come out */
		} else if (dev_queue_xmit(skb) != NET_XMIT_SUCCESS) {
			r = -ENOBUFS;
		}
	}
	local_bh_enable();
	cond_resched(); /* where the kernel's own thread has taken over */
	return r;
}

static ssize_t on_write(struct file *file, const char __user *from, size_t len, loff_t *at)
{
	struct kk_super_order order;
	struct net_device *dev;
	int r = 0;

	if (len != sizeof(order))
		return -EINVAL;
	if (copy_from_user(&order, from, sizeof(order)))
		return -EFAULT;
	if (!order.flows || order.segment * KK_SUPER_SEGMENTS > PAGE_SIZE << ORDER)
		return -EINVAL;
	dev = dev_get_by_index(current->nsproxy->net_ns, order.ifindex);
	if (!dev)
		return -ENODEV;
	for (u32 i = 0; i < order.packets && !r; i += BATCH)
		r = send_batch(&order, dev, i, min_t(u32, i + BATCH, order.packets));
	dev_put(dev);
	return r ?: len;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.write = on_write,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kk_super",
	.fops = &operations,
	.mode = 0600,
};

static int __init super_init(void)
{
	int r;

	payload = alloc_pages(GFP_KERNEL | __GFP_COMP | __GFP_ZERO, ORDER);
	if (!payload)
		return -ENOMEM;
	r = misc_register(&device);
	if (r)
		put_page(payload);
	return r;
}

static void __exit super_exit(void)
{
	misc_deregister(&device);
	put_page(payload);
}

module_init(super_init);
module_exit(super_exit);

MODULE_DESCRIPTION("TCP super-packets for a benchmark of kakuremichi");
MODULE_LICENSE("GPL");
