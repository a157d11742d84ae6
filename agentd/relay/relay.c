// SPDX-License-Identifier: MIT
#include "agentd/relay/relay.h"

#define FILES_APART	     64 /* control connections, log, look-ups */
#define FILES_PER_CONNECTION 6

int relay_init(struct relay *relay, unsigned long n_files, int64_t udp_idle_ms)
{
	unsigned long files = n_files > 2 * FILES_APART ? n_files - FILES_APART : FILES_APART;
	int r = loop_init(&relay->loop);

	if (r < 0)
		return r;
	r = resolver_new(&relay->loop, &relay->resolver);
	if (r < 0) {
		loop_clean(&relay->loop);
		return r;
	}
	relay->listeners = (struct listeners){.max_ports = files / 8};
	origins_init(&relay->origins, &relay->loop);
	sessions_init(&relay->sessions, &relay->origins);
	pipes_init(&relay->pipes);
	watch_init(relay);
	tcp_init(&relay->tcp, relay, (unsigned int)(files * 3 / 4 / FILES_PER_CONNECTION));
	r = udp_init(&relay->udp, relay, (unsigned int)(files / 8), udp_idle_ms);
	if (r < 0)
		relay_clean(relay);
	return r;
}

void relay_clean(struct relay *relay)
{
	listeners_clean(&relay->listeners);
	tcp_clean(&relay->tcp);
	udp_clean(&relay->udp);
	origins_clean(&relay->origins);
	pipes_clean(&relay->pipes);
	loop_clean(&relay->loop);
	resolver_free(relay->resolver);
}
