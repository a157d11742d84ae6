// SPDX-License-Identifier: MIT
#include "kkwg/flows.h"

#include <errno.h>
#include <string.h>

#include "kkwg/config.h"
#include "util/encode.h"

static int set_end(const struct wg_endpoint *e, uint8_t addr[16], uint16_t *port)
{
	if (e->sa.sa_family == AF_INET) {
		memcpy(addr, &e->in.sin_addr, 4);
		*port = e->in.sin_port;
		return 4;
	}
	memcpy(addr, &e->in6.sin6_addr, 16);
	*port = e->in6.sin6_port;
	return 16;
}

static int parse(char *line, struct wg_flow_key *ret)
{
	char *value = strchr(line, '='), *near;
	struct wg_endpoint remote, local;

	if (!value)
		return -EPROTO;
	*value++ = '\0';
	near = strchr(value, ' ');
	if (!near)
		return -EINVAL;
	*near++ = '\0';
	if (config_parse_endpoint(value, &remote) < 0 || config_parse_endpoint(near, &local) < 0)
		return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	if (strcmp(line, "tcp") == 0)
		ret->protocol = IPPROTO_TCP;
	else if (strcmp(line, "udp") == 0)
		ret->protocol = IPPROTO_UDP;
	else
		return -EINVAL;
	ret->addr_len = (uint8_t)set_end(&remote, ret->remote, &ret->remote_port);
	return set_end(&local, ret->local, &ret->local_port) == ret->addr_len ? 0 : -EINVAL;
}

int flows_answer(const struct engine *e, char *line, FILE *f)
{
	char hex[2 * WG_KEY_LEN + 1] = "";
	const struct wg_peer *p;
	struct wg_flow_key key;
	int r = parse(line, &key);

	if (r < 0)
		return r;
	p = wg_device_flow_peer(e->workers[0].dev, &key);
	if (p)
		kk_hex(p->handshake.remote_static, WG_KEY_LEN, hex);
	fprintf(f, "public_key=%s\n", hex);
	return 0;
}
