// SPDX-License-Identifier: MIT
/* Relayed sessions (include/kk/core/relay.h), in the table of relays: an entry for what each end sends. */
#include "bpf/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <bpf/bpf.h>

#include <kk/core/edge_types.h>

#include "bpf/address.h"
#include "util/cleanup.h"

#define SECOND 1000000000ULL

/* As the programs have it. */
static uint64_t monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static struct kk_relay_key key_of(const struct kk_relay_end *end)
{
	return (struct kk_relay_key){.address = kk_in6_of(&end->address),
				     .port = KK_BE16(end->port),
				     .at = KK_BE16(end->at)};
}

static int check_end(const struct kk_relay_end *end, struct kk_err *err)
{
	char text[KK_ADDRESS_TEXT];

	if (!kk_address_is_host(&end->address))
		return kk_err_set(err, EINVAL, "address", "address \"%s\" is no host's",
				  kk_address_text(&end->address, text));
	if (!end->port || !end->at)
		return kk_err_set(err, EINVAL, end->port ? "at" : "port",
				  "port 0 cannot be relayed");
	return 0;
}

static int check(const struct kk_relay_session *session, struct kk_err *err)
{
	const struct kk_relay_key a = key_of(&session->end[0]), b = key_of(&session->end[1]);
	int r = check_end(&session->end[0], err);

	if (r == 0)
		r = check_end(&session->end[1], err);
	if (r < 0)
		return r;
	if (session->end[0].address.family != session->end[1].address.family)
		return kk_err_set(err, EINVAL, "address", "the two ends are of different families");
	if (memcmp(&a, &b, sizeof(a)) == 0)
		return kk_err_set(err, EINVAL, "address", "the two ends are one");
	if (!session->seconds)
		return kk_err_set(err, EINVAL, "seconds", "a session has to end: 0 s");
	return 0;
}

/* What was heard of an end and counted stays, unless it talks to somebody else now. */
static int put(int fd, const struct kk_relay_end *end, const struct kk_relay_end *peer,
	       uint64_t until, struct kk_err *err)
{
	const struct kk_relay_key key = key_of(end);
	const struct kk_in6 address = kk_in6_of(&peer->address);
	struct kk_relay relay;

	if (bpf_map_lookup_elem(fd, &key, &relay) < 0 ||
	    memcmp(&relay.peer, &address, sizeof(address)) != 0)
		relay = (struct kk_relay){0};
	relay.peer = address;
	relay.peer_port = KK_BE16(peer->port);
	relay.at = KK_BE16(peer->at);
	relay.until = until;
	if (bpf_map_update_elem(fd, &key, &relay, BPF_ANY) < 0)
		return kk_err_set(err, errno == E2BIG ? ENOSPC : errno, NULL,
				  "cannot enter a relayed session: %s", strerror(errno));
	return 0;
}

int kk_relay_put(int fd, const struct kk_relay_session *session, struct kk_err *err)
{
	const struct kk_relay_end *a = &session->end[0], *b = &session->end[1];
	uint64_t until = monotonic() + session->seconds * SECOND;
	int r = check(session, err);

	if (r == 0)
		r = put(fd, a, b, until, err);
	if (r < 0)
		return r;
	r = put(fd, b, a, until, err);
	if (r < 0) {
		const struct kk_relay_key key = key_of(a);

		/* One end alone leads nowhere. */
		bpf_map_delete_elem(fd, &key);
	}
	return r;
}

int kk_relay_end(int fd, const struct kk_relay_session *session, struct kk_err *err)
{
	bool found = false;

	for (int i = 0; i < 2; i++) {
		const struct kk_relay_key key = key_of(&session->end[i]);

		if (bpf_map_delete_elem(fd, &key) == 0)
			found = true;
		else if (errno != ENOENT)
			return kk_err_set(err, errno, NULL, "cannot end a relayed session: %s",
					  strerror(errno));
	}
	return found ? 0 : kk_err_set(err, ENOENT, NULL, "there is no such session");
}

int kk_relay_sweep(int fd)
{
	struct kk_relay_key key, next;
	const void *at = NULL;
	uint64_t now = monotonic();
	int left = 0;

	while (bpf_map_get_next_key(fd, at, &next) == 0) {
		struct kk_relay relay;

		/* The key before is only taken away once the next one is known. */
		if (at && bpf_map_lookup_elem(fd, &key, &relay) == 0 && relay.until <= now)
			bpf_map_delete_elem(fd, &key);
		else
			left += at != NULL;
		key = next;
		at = &key;
	}
	if (at) {
		struct kk_relay relay;

		if (bpf_map_lookup_elem(fd, &key, &relay) == 0 && relay.until <= now)
			bpf_map_delete_elem(fd, &key);
		else
			left++;
	}
	return left;
}
