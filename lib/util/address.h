/* SPDX-License-Identifier: MIT */
/* Addresses and prefixes of either family, as values and as text. */
#ifndef KK_UTIL_ADDRESS_H
#define KK_UTIL_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#include "util/err.h"

struct kk_address {
	sa_family_t family; /* AF_INET or AF_INET6; 0: none, and all is zero */
	union {
		uint8_t bytes[16]; /* network byte order; those behind v4 are zero */
		struct in_addr v4;
		struct in6_addr v6;
	};
};

struct kk_prefix {
	struct kk_address addr; /* with its host bits zero */
	uint8_t len;		/* bits, 0 to 32 or 128 */
};

#define KK_ADDRESS_TEXT	 46			/* bytes, with the final NUL */
#define KK_PREFIX_TEXT	 (KK_ADDRESS_TEXT + 4)	/* "/128" */
#define KK_ENDPOINT_TEXT (KK_ADDRESS_TEXT + 10) /* "[ADDRESS]:PORT" */

/* All return 0 or a negative errno with @err filled in; results are untouched on failure. */

/* A dotted quad, or an IPv6 address as RFC 4291 section 2.2 has it, without a zone. */
int kk_parse_address(const char *field, const char *text, struct kk_address *ret,
		     struct kk_err *err);
/* ADDRESS/LENGTH with zero host bits; ADDRESS alone is all of its bits. */
int kk_parse_prefix(const char *field, const char *text, struct kk_prefix *ret, struct kk_err *err);

/* The canonical text (RFC 5952) in @out, which is returned. "" for none. */
const char *kk_address_text(const struct kk_address *address, char out[KK_ADDRESS_TEXT]);
const char *kk_prefix_text(const struct kk_prefix *prefix, char out[KK_PREFIX_TEXT]);

bool kk_address_equal(const struct kk_address *a, const struct kk_address *b);
/* As qsort(3) wants it: IPv4 before IPv6, then by value. */
int kk_address_compare(const struct kk_address *a, const struct kk_address *b);
bool kk_prefix_equal(const struct kk_prefix *a, const struct kk_prefix *b);
/* One host's: neither unspecified nor multicast nor (IPv6) link-local, nor of 0.0.0.0/8 or 240.0.0.0/4. */
bool kk_address_is_host(const struct kk_address *address);

/* A socket address, of either family. */
union kk_sockaddr {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

union kk_sockaddr kk_sockaddr_make(const struct kk_address *address, uint16_t port);
struct kk_address kk_sockaddr_address(const union kk_sockaddr *addr);
/* In host byte order; 0 where there is no address. */
uint16_t kk_sockaddr_port(const union kk_sockaddr *addr);
socklen_t kk_sockaddr_len(const union kk_sockaddr *addr);
bool kk_sockaddr_equal(const union kk_sockaddr *a, const union kk_sockaddr *b);
/* "192.0.2.1:80" or "[2001:db8::1]:80" */
const char *kk_sockaddr_text(const union kk_sockaddr *addr, char out[KK_ENDPOINT_TEXT]);

#endif
