// SPDX-License-Identifier: MIT
#include "util/parse.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int kk_parse_int(const char *field, const char *text, int64_t min, int64_t max, int64_t *ret,
		 struct kk_err *err)
{
	long long value;
	char *end;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (!isdigit((unsigned char)text[text[0] == '-']) || *end)
		return kk_err_set(err, EINVAL, field, "%s: \"%s\" is not a whole number", field,
				  text);
	if (errno == ERANGE || value < min || value > max)
		return kk_err_set(err, ERANGE, field,
				  "%s: %s is out of range (%" PRId64 " to %" PRId64 ")", field,
				  text, min, max);
	*ret = value;
	return 0;
}

int kk_parse_name(const char *field, const char *text, struct kk_err *err)
{
	size_t len = strlen(text);
	bool good = len >= 1 && len <= KK_NAME_MAX && text[0] != '-' && text[len - 1] != '-';

	for (size_t i = 0; good && i < len; i++)
		good = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= '0' && text[i] <= '9') ||
		       text[i] == '-';
	if (good)
		return 0;
	return kk_err_set(
		err, EINVAL, field,
		"%s: \"%.64s\" is not a name (1 to %d of a-z, 0-9 and '-', not at an end)", field,
		text, KK_NAME_MAX);
}

int kk_parse_ip4(const char *field, const char *text, struct in_addr *ret, struct kk_err *err)
{
	struct in_addr parsed;

	if (inet_pton(AF_INET, text, &parsed) != 1)
		return kk_err_set(err, EINVAL, field, "%s: \"%.64s\" is not an IPv4 address", field,
				  text);
	*ret = parsed;
	return 0;
}

int kk_parse_prefix4(const char *field, const char *text, struct kk_prefix4 *ret,
		     struct kk_err *err)
{
	char addr[INET_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	struct kk_prefix4 parsed;
	int64_t len;
	int r;

	if (!slash || (size_t)(slash - text) >= sizeof(addr))
		return kk_err_set(err, EINVAL, field,
				  "%s: \"%.64s\" is not an IPv4 prefix (as 10.0.0.0/8)", field,
				  text);
	memcpy(addr, text, (size_t)(slash - text));
	addr[slash - text] = '\0';
	r = kk_parse_ip4(field, addr, &parsed.addr, err);
	if (r < 0)
		return r;
	r = kk_parse_int(field, slash + 1, 0, 32, &len, err);
	if (r < 0)
		return r;
	parsed.len = (uint8_t)len;
	if (len < 32 && ntohl(parsed.addr.s_addr) & (0xffffffffu >> len))
		return kk_err_set(err, EINVAL, field, "%s: \"%s\" has host bits set", field, text);
	*ret = parsed;
	return 0;
}

int kk_parse_ports(const char *field, const char *text, uint16_t *ret_first, uint16_t *ret_last,
		   struct kk_err *err)
{
	const char *dash = strchr(text, '-');
	int64_t first, last;
	char head[8];
	int r;

	if (dash && (dash == text || (size_t)(dash - text) >= sizeof(head)))
		return kk_err_set(err, EINVAL, field, "%s: \"%.64s\" is not PORT or FIRST-LAST",
				  field, text);
	snprintf(head, sizeof(head), "%.*s", dash ? (int)(dash - text) : 7, text);
	r = kk_parse_int(field, dash ? head : text, 1, 65535, &first, err);
	last = first;
	if (r == 0 && dash)
		r = kk_parse_int(field, dash + 1, 1, 65535, &last, err);
	if (r < 0)
		return r;
	if (last < first)
		return kk_err_set(err, EINVAL, field, "%s: \"%s\" ends before it begins", field,
				  text);
	*ret_first = (uint16_t)first;
	*ret_last = (uint16_t)last;
	return 0;
}

int kk_parse_hostports(const char *field, const char *text, bool bare_port, char *host,
		       size_t host_len, uint16_t *ret_first, uint16_t *ret_last, struct kk_err *err)
{
	const char *colon = strrchr(text, ':'), *start = text, *end = colon;
	uint16_t first, last;
	size_t len;
	int r;

	if (!colon && bare_port && isdigit((unsigned char)text[0])) {
		start = "127.0.0.1";
		end = start + strlen(start);
	} else if (!colon || colon == text) {
		goto bad;
	} else if (text[0] == '[') {
		if (colon[-1] != ']')
			goto bad;
		start = text + 1;
		end = colon - 1;
	} else if (memchr(text, ':', (size_t)(colon - text))) {
		goto bad; /* IPv6 without brackets: where would the port begin? */
	}
	len = (size_t)(end - start);
	if (!len || len >= host_len || memchr(start, ' ', len))
		goto bad;
	r = kk_parse_ports(field, colon ? colon + 1 : text, &first, &last, err);
	if (r < 0)
		return r;
	memcpy(host, start, len);
	host[len] = '\0';
	*ret_first = first;
	*ret_last = last;
	return 0;
bad:
	return kk_err_set(err, EINVAL, field, "%s: \"%.64s\" is not HOST:PORT%s", field, text,
			  bare_port ? " or PORT" : "");
}

int kk_parse_hostport(const char *field, const char *text, bool bare_port, char *host,
		      size_t host_len, uint16_t *port, struct kk_err *err)
{
	uint16_t first, last;
	int r = kk_parse_hostports(field, text, bare_port, host, host_len, &first, &last, err);

	if (r < 0)
		return r;
	if (first != last)
		return kk_err_set(err, EINVAL, field, "%s: \"%.64s\" names more than one port",
				  field, text);
	*port = first;
	return 0;
}
