// SPDX-License-Identifier: MIT
#include "util/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/parse.h"

int kk_parse_address(const char *field, const char *text, struct kk_address *ret,
		     struct kk_err *err)
{
	struct kk_address parsed = {0};

	parsed.family = strchr(text, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(parsed.family, text, parsed.bytes) != 1)
		return kk_err_set(err, EINVAL, field, "%s: \"%.64s\" is not an IP address", field,
				  text);
	if (parsed.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&parsed.v6))
		return kk_err_set(err, EINVAL, field,
				  "%s: \"%.64s\" is an IPv4 address written as IPv6", field, text);
	*ret = parsed;
	return 0;
}

static uint8_t bits_of(const struct kk_address *address)
{
	return address->family == AF_INET6 ? 128 : 32;
}

static bool has_host_bits(const struct kk_address *address, uint8_t len)
{
	for (unsigned int bit = len; bit < bits_of(address); bit++)
		if (address->bytes[bit / 8] & 0x80 >> bit % 8)
			return true;
	return false;
}

int kk_parse_prefix(const char *field, const char *text, struct kk_prefix *ret, struct kk_err *err)
{
	size_t n = strcspn(text, "/");
	char addr[KK_ADDRESS_TEXT];
	struct kk_prefix parsed;
	int64_t len;
	int r;

	if (n >= sizeof(addr))
		return kk_err_set(err, EINVAL, field, "%s: \"%.64s\" is not an IP prefix", field,
				  text);
	memcpy(addr, text, n);
	addr[n] = '\0';
	r = kk_parse_address(field, addr, &parsed.addr, err);
	if (r < 0)
		return r;
	len = bits_of(&parsed.addr);
	if (text[n])
		r = kk_parse_int(field, text + n + 1, 0, len, &len, err);
	if (r < 0)
		return r;
	if (has_host_bits(&parsed.addr, (uint8_t)len))
		return kk_err_set(err, EINVAL, field, "%s: \"%s\" has host bits set", field, text);
	parsed.len = (uint8_t)len;
	*ret = parsed;
	return 0;
}

const char *kk_address_text(const struct kk_address *address, char out[KK_ADDRESS_TEXT])
{
	out[0] = '\0';
	if (address->family)
		inet_ntop(address->family, address->bytes, out, KK_ADDRESS_TEXT);
	return out;
}

const char *kk_prefix_text(const struct kk_prefix *prefix, char out[KK_PREFIX_TEXT])
{
	char addr[KK_ADDRESS_TEXT];

	snprintf(out, KK_PREFIX_TEXT, "%s/%u", kk_address_text(&prefix->addr, addr), prefix->len);
	return out;
}

int kk_address_compare(const struct kk_address *a, const struct kk_address *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool kk_address_equal(const struct kk_address *a, const struct kk_address *b)
{
	return kk_address_compare(a, b) == 0;
}

bool kk_prefix_equal(const struct kk_prefix *a, const struct kk_prefix *b)
{
	return a->len == b->len && kk_address_equal(&a->addr, &b->addr);
}

bool kk_address_is_host(const struct kk_address *address)
{
	if (address->family == AF_INET)
		return address->bytes[0] && address->bytes[0] < 0xe0;
	return address->family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(&address->v6) &&
	       !IN6_IS_ADDR_MULTICAST(&address->v6) && !IN6_IS_ADDR_LINKLOCAL(&address->v6);
}

union kk_sockaddr kk_sockaddr_make(const struct kk_address *address, uint16_t port)
{
	union kk_sockaddr addr = {.v6 = {0}};

	addr.any.sa_family = address->family;
	if (address->family == AF_INET6) {
		addr.v6.sin6_addr = address->v6;
		addr.v6.sin6_port = htons(port);
	} else if (address->family == AF_INET) {
		addr.v4.sin_addr = address->v4;
		addr.v4.sin_port = htons(port);
	}
	return addr;
}

struct kk_address kk_sockaddr_address(const union kk_sockaddr *addr)
{
	struct kk_address address = {.family = addr->any.sa_family};

	if (address.family == AF_INET6)
		address.v6 = addr->v6.sin6_addr;
	else if (address.family == AF_INET)
		address.v4 = addr->v4.sin_addr;
	return address;
}

uint16_t kk_sockaddr_port(const union kk_sockaddr *addr)
{
	if (addr->any.sa_family == AF_INET6)
		return ntohs(addr->v6.sin6_port);
	return addr->any.sa_family == AF_INET ? ntohs(addr->v4.sin_port) : 0;
}

socklen_t kk_sockaddr_len(const union kk_sockaddr *addr)
{
	return addr->any.sa_family == AF_INET6 ? sizeof(addr->v6) : sizeof(addr->v4);
}

bool kk_sockaddr_equal(const union kk_sockaddr *a, const union kk_sockaddr *b)
{
	const struct kk_address x = kk_sockaddr_address(a), y = kk_sockaddr_address(b);

	return kk_sockaddr_port(a) == kk_sockaddr_port(b) && kk_address_equal(&x, &y);
}

const char *kk_sockaddr_text(const union kk_sockaddr *addr, char out[KK_ENDPOINT_TEXT])
{
	const struct kk_address address = kk_sockaddr_address(addr);
	char text[KK_ADDRESS_TEXT];

	snprintf(out, KK_ENDPOINT_TEXT, address.family == AF_INET6 ? "[%s]:%u" : "%s:%u",
		 kk_address_text(&address, text), kk_sockaddr_port(addr));
	return out;
}
