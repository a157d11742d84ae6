// SPDX-License-Identifier: MIT
#include "gatewayd/ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "net/nl.h"
#include "util/cleanup.h"

/* States of linux/tcp_states.h; an unconnected UDP socket is in the second one. */
#define STATE_LISTEN 10
#define STATE_CLOSE  7

struct reading {
	struct in_addr address;
	const struct kk_address *others;
	size_t n_others;
	uint32_t ifindex;
	uint8_t protocol;
	struct ports *ports;
};

const char *protocol_name(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? "tcp" : "udp";
}

static int compare(const void *a, const void *b)
{
	const struct port *x = a, *y = b;

	if (x->protocol != y->protocol)
		return (int)x->protocol - (int)y->protocol;
	return (int)x->number - (int)y->number;
}

static int append(struct ports *ports, const struct port *port)
{
	if (ports->n == ports->room) {
		size_t room = ports->room ? 2 * ports->room : 16;
		struct port *bigger = reallocarray(ports->items, room, sizeof(*ports->items));

		if (!bigger)
			return -ENOMEM;
		ports->items = bigger;
		ports->room = room;
	}
	ports->items[ports->n++] = *port;
	return 0;
}

static bool is_other(const struct reading *reading, const struct kk_address *address)
{
	for (size_t i = 0; i < reading->n_others; i++)
		if (kk_address_equal(&reading->others[i], address))
			return true;
	return false;
}

static bool has_ip6(const struct reading *reading)
{
	for (size_t i = 0; i < reading->n_others; i++)
		if (reading->others[i].family == AF_INET6)
			return true;
	return false;
}

static bool reachable4(const struct reading *reading, uint32_t bound)
{
	const struct kk_address address = {.family = AF_INET, .v4.s_addr = bound};

	return bound == INADDR_ANY || bound == reading->address.s_addr ||
	       is_other(reading, &address);
}

/* A socket of IPv6 takes IPv4 too, on the wildcard or an IPv4-mapped address, unless told not to. */
static bool reachable6(const struct reading *reading, const struct in6_addr *bound,
		       const struct nlattr *only)
{
	const struct kk_address address = {.family = AF_INET6, .v6 = *bound};

	if (IN6_IS_ADDR_V4MAPPED(bound))
		return reachable4(reading, bound->s6_addr32[3]);
	if (IN6_IS_ADDR_UNSPECIFIED(bound))
		return has_ip6(reading) || !only || !nla_get_u8(only);
	return is_other(reading, &address);
}

static int on_socket(struct nlmsghdr *hdr, void *userdata)
{
	struct nlattr *attrs[INET_DIAG_MAX + 1];
	struct inet_diag_msg *msg = nlmsg_data(hdr);
	struct reading *reading = userdata;
	struct port port;
	bool reachable;

	if (nlmsg_parse(hdr, sizeof(*msg), attrs, INET_DIAG_MAX, NULL) < 0)
		return -EBADMSG;
	if (msg->id.idiag_if && msg->id.idiag_if != reading->ifindex)
		return 0;
	if (msg->idiag_family == AF_INET) {
		reachable = reachable4(reading, msg->id.idiag_src[0]);
	} else {
		struct in6_addr bound;

		memcpy(&bound, msg->id.idiag_src, sizeof(bound));
		reachable = reachable6(reading, &bound, attrs[INET_DIAG_SKV6ONLY]);
	}
	if (!reachable || !msg->id.idiag_sport)
		return 0;
	port = (struct port){
		.protocol = reading->protocol,
		.number = ntohs(msg->id.idiag_sport),
		.inode = msg->idiag_inode,
	};
	return append(reading->ports, &port);
}

static int dump(struct nl_sock *sk, uint8_t family, struct reading *reading)
{
	KK_CLEANUP_NLMSG struct nl_msg *msg = nlmsg_alloc_simple(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
	struct inet_diag_req_v2 request = {
		.sdiag_family = family,
		.sdiag_protocol = reading->protocol,
		.idiag_states = 1u
				<< (reading->protocol == IPPROTO_TCP ? STATE_LISTEN : STATE_CLOSE),
	};
	int r;

	if (!msg || nlmsg_append(msg, &request, sizeof(request), NLMSG_ALIGNTO) < 0)
		return -ENOMEM;
	r = kk_nl_call(sk, msg, on_socket, reading);
	/* A kernel without IPv6 has no such sockets. A dump that was overtaken is made again soon anyway. */
	return (r == -ENOENT && family == AF_INET6) || r == -EAGAIN ? 0 : r;
}

/* Sorted, and of several sockets on a port one that a process holds. */
static void settle(struct ports *ports)
{
	size_t n = 0;

	if (ports->n)
		qsort(ports->items, ports->n, sizeof(*ports->items), compare);
	for (size_t i = 0; i < ports->n; i++) {
		if (n && compare(&ports->items[n - 1], &ports->items[i]) == 0) {
			if (!ports->items[n - 1].inode)
				ports->items[n - 1].inode = ports->items[i].inode;
			continue;
		}
		ports->items[n++] = ports->items[i];
	}
	ports->n = n;
}

int ports_read(struct in_addr address, const struct kk_address *others, size_t n_others,
	       int ifindex, struct ports *ret, struct kk_err *err)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	static const uint8_t families[] = {AF_INET, AF_INET6};
	KK_CLEANUP_NL struct nl_sock *sk = NULL;
	struct ports ports = {0};
	int r;

	r = kk_nl_open(NETLINK_SOCK_DIAG, &sk);
	for (size_t p = 0; p < ARRAY_SIZE(protocols); p++) {
		struct reading reading = {address,	     others,	   n_others,
					  (uint32_t)ifindex, protocols[p], &ports};

		for (size_t f = 0; f < ARRAY_SIZE(families) && r == 0; f++)
			r = dump(sk, families[f], &reading);
	}
	if (r < 0) {
		ports_clean(&ports);
		return kk_err_set(err, -r, NULL, "cannot ask the kernel which ports are in use: %s",
				  strerror(-r));
	}
	settle(&ports);
	*ret = ports;
	return 0;
}

int ports_add(struct ports *ports, uint8_t protocol, uint16_t number)
{
	struct port port = {.protocol = protocol, .number = number};
	int r;

	if (ports_find(ports, protocol, number))
		return 0;
	r = append(ports, &port);
	if (r == 0)
		settle(ports);
	return r;
}

void ports_clean(struct ports *ports)
{
	free(ports->items);
	*ports = (struct ports){0};
}

const struct port *ports_from(const struct ports *ports, uint8_t protocol, uint16_t number)
{
	const struct port wanted = {.protocol = protocol, .number = number};
	size_t low = 0, high = ports->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(&ports->items[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return ports->items + low;
}

const struct port *ports_find(const struct ports *ports, uint8_t protocol, uint16_t number)
{
	const struct port key = {.protocol = protocol, .number = number};

	return ports->n ? bsearch(&key, ports->items, ports->n, sizeof(key), compare) : NULL;
}

bool ports_equal(const struct ports *a, const struct ports *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (compare(&a->items[i], &b->items[i]) != 0)
			return false;
	return true;
}
