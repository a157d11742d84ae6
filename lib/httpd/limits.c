// SPDX-License-Identifier: MIT
/* How much strangers get: connections, and how often they may connect and ask. */
#include "httpd/internal.h"

#include <stdlib.h>
#include <sys/socket.h>

#define BURST 4 /* seconds' worth that may come at once */

static uint64_t now_us(struct kk_httpd *httpd)
{
	uint64_t now = 0;

	sd_event_now(httpd->event, CLOCK_MONOTONIC, &now);
	return now;
}

void kk_httpd_limits_init(struct kk_httpd *httpd)
{
	TAILQ_INIT(&httpd->limits.pending);
	for (size_t i = 0; i < KK_HTTPD_BUCKETS; i++)
		LIST_INIT(&httpd->limits.buckets[i]);
}

void kk_httpd_limits_clean(struct kk_httpd *httpd)
{
	struct kk_httpd_address *address;

	for (size_t i = 0; i < KK_HTTPD_BUCKETS; i++) {
		while ((address = LIST_FIRST(&httpd->limits.buckets[i]))) {
			LIST_REMOVE(address, link);
			free(address);
		}
	}
}

static unsigned int bucket_of(struct in_addr addr)
{
	return (uint32_t)(ntohl(addr.s_addr) * 2654435761u) >> 20;
}

_Static_assert(KK_HTTPD_BUCKETS == 1 << 12, "bucket_of() gives 12 bits");

/* The address, made where it is new; what nobody needs any more goes on the way. */
static struct kk_httpd_address *find(struct kk_httpd *httpd, struct in_addr addr)
{
	unsigned int bucket = bucket_of(addr);
	struct kk_httpd_address *a, *next;
	uint64_t now = now_us(httpd);

	for (a = LIST_FIRST(&httpd->limits.buckets[bucket]); a; a = next) {
		next = LIST_NEXT(a, link);
		if (a->addr.s_addr == addr.s_addr)
			return a;
		if (!a->pending && a->busy_until <= now) {
			LIST_REMOVE(a, link);
			free(a);
		}
	}
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->addr = addr;
	LIST_INSERT_HEAD(&httpd->limits.buckets[bucket], a, link);
	return a;
}

/* Takes one of the address's share, where there is one left. */
static bool take(struct kk_httpd *httpd, struct kk_httpd_address *address)
{
	unsigned int rate = httpd->config.rate_per_address;
	uint64_t now = now_us(httpd);

	if (!rate)
		return true;
	if (address->busy_until < now)
		address->busy_until = now;
	if (address->busy_until > now + BURST * 1000000ull)
		return false;
	address->busy_until += 1000000 / rate;
	return true;
}

struct kk_httpd_guest *kk_httpd_guest_new(struct kk_httpd *httpd, int fd,
					  const struct sockaddr_in *peer)
{
	const struct kk_httpd_config *config = &httpd->config;
	struct kk_httpd_address *address = find(httpd, peer->sin_addr);
	struct kk_httpd_guest *guest;

	if (!address || !take(httpd, address) ||
	    (config->pending_per_address && address->pending >= config->pending_per_address))
		return NULL;
	guest = calloc(1, sizeof(*guest));
	if (!guest)
		return NULL;
	/* Who has been here longest has had his time; the connection is found ended, and goes. */
	if (config->pending_max && httpd->limits.n_pending >= config->pending_max) {
		struct kk_httpd_guest *oldest = TAILQ_FIRST(&httpd->limits.pending);

		shutdown(oldest->fd, SHUT_RDWR);
		kk_httpd_guest_settle(oldest);
	}
	guest->httpd = httpd;
	guest->fd = fd;
	guest->address = address;
	guest->refs = 1;
	guest->pending = true;
	address->pending++;
	httpd->limits.n_pending++;
	TAILQ_INSERT_TAIL(&httpd->limits.pending, guest, link);
	return guest;
}

void kk_httpd_guest_settle(struct kk_httpd_guest *guest)
{
	if (!guest->pending)
		return;
	guest->pending = false;
	guest->address->pending--;
	guest->address = NULL;
	guest->httpd->limits.n_pending--;
	TAILQ_REMOVE(&guest->httpd->limits.pending, guest, link);
}

void kk_httpd_guest_put(struct kk_httpd_guest *guest)
{
	if (!guest || --guest->refs)
		return;
	kk_httpd_guest_settle(guest);
	free(guest);
}

bool kk_httpd_guest_may(struct kk_httpd_guest *guest)
{
	return !guest->pending || take(guest->httpd, guest->address);
}
