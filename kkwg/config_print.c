// SPDX-License-Identifier: MIT
/* What is configured, and what became of it. */
#include "kkwg/config.h"

#include <arpa/inet.h>
#include <net/if.h>

#include "kkwg/shards.h"
#include "util/encode.h"
#include "wg/constants.h"

static void print_key(FILE *f, const char *name, const uint8_t key[WG_KEY_LEN])
{
	char hex[2 * WG_KEY_LEN + 1];

	kk_hex(key, WG_KEY_LEN, hex);
	fprintf(f, "%s=%s\n", name, hex);
	wg_zero(hex, sizeof(hex));
}

static void print_endpoint(FILE *f, const struct wg_endpoint *e)
{
	char text[INET6_ADDRSTRLEN], scope[IF_NAMESIZE + 1] = "";

	if (e->sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &e->in.sin_addr, text, sizeof(text));
		fprintf(f, "endpoint=%s:%u\n", text, ntohs(e->in.sin_port));
	} else if (e->sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &e->in6.sin6_addr, text, sizeof(text));
		if (e->in6.sin6_scope_id) {
			scope[0] = '%';
			if (!if_indextoname(e->in6.sin6_scope_id, scope + 1))
				snprintf(scope + 1, sizeof(scope) - 1, "%u", e->in6.sin6_scope_id);
		}
		fprintf(f, "endpoint=[%s%s]:%u\n", text, scope, ntohs(e->in6.sin6_port));
	}
}

static void print_peer(FILE *f, const struct wg_peer *p)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t addr[16], bits;

	print_key(f, "public_key", p->handshake.remote_static);
	print_key(f, "preshared_key", p->handshake.psk);
	fprintf(f, "protocol_version=1\n");
	print_endpoint(f, &p->endpoint);
	fprintf(f, "last_handshake_time_sec=%llu\nlast_handshake_time_nsec=%llu\n",
		(unsigned long long)(p->last_handshake_realtime / WG_SEC),
		(unsigned long long)(p->last_handshake_realtime % WG_SEC));
	fprintf(f, "tx_bytes=%llu\nrx_bytes=%llu\npersistent_keepalive_interval=%u\n",
		(unsigned long long)p->tx_bytes, (unsigned long long)p->rx_bytes,
		p->persistent_keepalive);
	for (const struct wg_allowed *a = p->allowed; a; a = a->next_of_peer) {
		int len = wg_allowed_prefix(a, addr, &bits);

		inet_ntop(len == 4 ? AF_INET : AF_INET6, addr, text, sizeof(text));
		fprintf(f, "allowed_ip=%s/%u\n", text, bits);
	}
}

void config_print(const struct engine *e, FILE *f)
{
	const struct wg_device *d = e->workers[0].dev;

	if (d->identity.set)
		print_key(f, "private_key", d->identity.secret);
	if (engine_port(e))
		fprintf(f, "listen_port=%u\n", engine_port(e));
	if (engine_mark(e))
		fprintf(f, "fwmark=%u\n", engine_mark(e));
	if (d->flows)
		fprintf(f, "reply_to_ingress=true\n");
	if (e->forwarding)
		fprintf(f, "forwarding=true\n");
	if (d->eager)
		fprintf(f, "eager=true\n");
	for (const struct wg_peer *p = shards_first(e); p; p = shards_next(e, p))
		print_peer(f, p);
}
