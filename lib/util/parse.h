/* SPDX-License-Identifier: MIT */
/* Values as people write them: numbers, names, addresses. Each says what is wrong with its field. */
#ifndef KK_UTIL_PARSE_H
#define KK_UTIL_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#include "util/err.h"

#define KK_NAME_MAX 32

/* An IPv4 prefix; @addr in network byte order with the host bits zero. */
struct kk_prefix4 {
	struct in_addr addr;
	uint8_t len; /* bits, 0 to 32 */
};

/* All return 0 or a negative errno with @err filled in; results are untouched on failure. */

/* A whole decimal number from @min to @max. */
int kk_parse_int(const char *field, const char *text, int64_t min, int64_t max, int64_t *ret,
		 struct kk_err *err);
/* 1 to KK_NAME_MAX of a-z, 0-9 and '-', with a letter or digit at both ends (a DNS label). */
int kk_parse_name(const char *field, const char *text, struct kk_err *err);
/* Dotted quad. */
int kk_parse_ip4(const char *field, const char *text, struct in_addr *ret, struct kk_err *err);
/* ADDRESS/LENGTH with zero host bits. */
int kk_parse_prefix4(const char *field, const char *text, struct kk_prefix4 *ret,
		     struct kk_err *err);
/*
 * HOST:PORT or [IPv6]:PORT, split only: @host of @host_len bytes gets the host without brackets,
 * @port is in host byte order, 1 to 65535. A bare PORT means 127.0.0.1 where @bare_port is set.
 */
int kk_parse_hostport(const char *field, const char *text, bool bare_port, char *host,
		      size_t host_len, uint16_t *port, struct kk_err *err);
/* PORT or FIRST-LAST, 1 to 65535, in host byte order. */
int kk_parse_ports(const char *field, const char *text, uint16_t *ret_first, uint16_t *ret_last,
		   struct kk_err *err);
/* As kk_parse_hostport() with PORT or FIRST-LAST as the port. */
int kk_parse_hostports(const char *field, const char *text, bool bare_port, char *host,
		       size_t host_len, uint16_t *ret_first, uint16_t *ret_last,
		       struct kk_err *err);

#endif
