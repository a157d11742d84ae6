/* SPDX-License-Identifier: MIT */
/* Where datagrams of a peer go, and from which of our addresses. */
#ifndef WG_ENDPOINT_H
#define WG_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <netinet/in.h>

/* Zeroed memory is "none". IPv4-mapped IPv6 addresses are stored as IPv4. */
struct wg_endpoint {
	union {
		struct sockaddr sa; /* sa_family 0: none */
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
	/* Source address that the peer last wrote to; all zero: the kernel chooses. */
	union {
		struct in_addr src4;
		struct in6_addr src6;
	};
	uint32_t src_ifindex; /* interface of a link-local source, or 0 */
};

static inline bool wg_endpoint_none(const struct wg_endpoint *e)
{
	return e->sa.sa_family == AF_UNSPEC;
}

/* Same address and port of the other side. */
static inline bool wg_endpoint_same(const struct wg_endpoint *a, const struct wg_endpoint *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_port == b->in.sin_port &&
		       a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	return a->in6.sin6_port == b->in6.sin6_port &&
	       a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
	       memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0;
}

static inline bool wg_endpoint_same_source(const struct wg_endpoint *a, const struct wg_endpoint *b)
{
	return a->src_ifindex == b->src_ifindex && memcmp(&a->src6, &b->src6, sizeof(a->src6)) == 0;
}

static inline void wg_endpoint_forget_source(struct wg_endpoint *e)
{
	memset(&e->src6, 0, sizeof(e->src6));
	e->src_ifindex = 0;
}

/* Address and port as bytes, for cookies and limits. Returns the length: 6 or 18. */
static inline size_t wg_endpoint_bytes(const struct wg_endpoint *e, uint8_t out[18])
{
	size_t n = e->sa.sa_family == AF_INET ? 4 : 16;

	if (n == 4) {
		memcpy(out, &e->in.sin_addr, 4);
		memcpy(out + 4, &e->in.sin_port, 2);
	} else {
		memcpy(out, &e->in6.sin6_addr, 16);
		memcpy(out + 16, &e->in6.sin6_port, 2);
	}
	return n + 2;
}

#endif
