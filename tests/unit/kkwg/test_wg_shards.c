// SPDX-License-Identifier: MIT
/* Several workers as one: which socket a message comes to, whose a peer is, what is handed over. No interface, no threads. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/socket.h>

#include "../wg_test.h"

#include "kkwg/config.h"
#include "kkwg/group.h"
#include "kkwg/shards.h"
#include "wg/handshake.h"

#define WORKERS 4

/* --- sockets --- */

static void send_to(int fd, uint16_t port, bool ip6, const void *data, size_t len)
{
	struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	to4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to6.sin6_addr = in6addr_loopback;
	assert_int_equal(sendto(fd, data, len, 0, ip6 ? (void *)&to6 : (void *)&to4,
				ip6 ? sizeof(to6) : sizeof(to4)),
			 len);
}

/* The worker whose socket got the only message that is there. */
static int receiver(const struct udp *u, bool ip6)
{
	struct pollfd fds[WORKERS];
	int found = -1;
	uint8_t buf[256];

	for (int i = 0; i < WORKERS; i++)
		fds[i] = (struct pollfd){.fd = ip6 ? u[i].fd6 : u[i].fd4, .events = POLLIN};
	assert_true(poll(fds, WORKERS, 2000) > 0);
	for (int i = 0; i < WORKERS; i++) {
		if (!fds[i].revents)
			continue;
		assert_int_equal(found, -1);
		found = i;
		assert_true(recv(fds[i].fd, buf, sizeof(buf), 0) > 0);
	}
	return found;
}

/* Whether anything is there for any worker. */
static bool any_left(const struct udp *u, bool ip6)
{
	struct pollfd fds[WORKERS];

	for (int i = 0; i < WORKERS; i++)
		fds[i] = (struct pollfd){.fd = ip6 ? u[i].fd6 : u[i].fd4, .events = POLLIN};
	return poll(fds, WORKERS, 0) != 0;
}

/* A message of the type with a receiver index of the shard; its other bytes are ones. */
static size_t message_for(uint8_t *msg, uint32_t type, uint32_t shard)
{
	const size_t len[] = {0, sizeof(struct wg_msg_initiation), sizeof(struct wg_msg_response),
			      sizeof(struct wg_msg_cookie), WG_DATA_OVERHEAD};
	uint32_t word = htole32(type), index = htole32(0xf8ffffff | shard << WG_SHARD_SHIFT);

	memset(msg, 0xff, len[type]);
	memcpy(msg, &word, 4);
	memcpy(msg + (type == WG_MSG_RESPONSE ? 8 : 4), &index, 4);
	return len[type];
}

static void steered(bool ip6)
{
	struct udp u[WORKERS];
	struct kk_err err = {0};
	uint8_t msg[256];
	int fd;

	assert_int_equal(group_open(u, WORKERS, 0, 0, &err), 0);
	if (ip6 && u[0].fd6 < 0) {
		print_message("the kernel has no IPv6\n");
		skip();
	}
	for (int i = 1; i < WORKERS; i++)
		assert_int_equal(u[i].port, u[0].port);
	/* Each from a port of its own, which the kernel would choose by otherwise. */
	for (int n = 0; n < 8; n++) {
		fd = socket(ip6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		assert_true(fd >= 0);
		for (uint32_t type = WG_MSG_RESPONSE; type <= WG_MSG_DATA; type++) {
			for (uint32_t shard = 0; shard < WORKERS; shard++) {
				size_t len = message_for(msg, type, shard);

				assert_int_equal(wg_message_shard(msg, len), shard);
				send_to(fd, u[0].port, ip6, msg, len);
				assert_int_equal(receiver(u, ip6), shard);
			}
		}
		send_to(fd, u[0].port, ip6, msg, message_for(msg, WG_MSG_INITIATION, 3));
		assert_int_equal(receiver(u, ip6), 0);
		/* Junk, short and long, comes to nobody: the first message behind it is the next to be seen. */
		send_to(fd, u[0].port, ip6, "\4\0\0\0\1\2\3", 7);
		send_to(fd, u[0].port, ip6, "\5\0\0\0\0\0\0\3\0\0\0\3", 12);
		send_to(fd, u[0].port, ip6, msg, message_for(msg, WG_MSG_DATA, 2));
		assert_int_equal(receiver(u, ip6), 2);
		assert_false(any_left(u, ip6));
		/* No worker has this number: it comes to any, and only to one. */
		send_to(fd, u[0].port, ip6, msg, message_for(msg, WG_MSG_DATA, WG_SHARDS - 1));
		assert_in_range(receiver(u, ip6), 0, WORKERS - 1);
		close(fd);
	}
	for (int i = 0; i < WORKERS; i++)
		udp_close(&u[i]);
}

static void steered4(void **state)
{
	(void)state;
	steered(false);
}

static void steered6(void **state)
{
	(void)state;
	steered(true);
}

static void port_of_another(void **state)
{
	struct udp a[WORKERS], b[WORKERS], one;
	struct kk_err err = {0};

	(void)state;
	assert_int_equal(group_open(a, WORKERS, 0, 0, &err), 0);
	/* Neither group nor single sockets get into the group of somebody else. */
	assert_int_equal(group_open(b, WORKERS, a[0].port, 0, &err), -EADDRINUSE);
	assert_int_equal(udp_open(&one, a[0].port, 0, &err), -EADDRINUSE);
	for (int i = 0; i < WORKERS; i++)
		udp_close(&a[i]);
	assert_int_equal(group_open(b, WORKERS, a[0].port, 0, &err), 0);
	for (int i = 0; i < WORKERS; i++)
		udp_close(&b[i]);
}

/* --- an engine without descriptors --- */

static void env_random(void *ctx, void *buf, size_t len)
{
	static uint64_t seed = 1;

	(void)ctx;
	for (size_t i = 0; i < len; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		((uint8_t *)buf)[i] = (uint8_t)(seed >> 56);
	}
}

static uint64_t env_realtime(void *ctx)
{
	(void)ctx;
	return 1700000000000000000ull;
}

/* The last message that a device sent. */
static uint8_t sent[256];
static size_t sent_len;
static int sender;

static void env_transmit(void *ctx, struct wg_endpoint *to, const void *data, size_t len,
			 uint8_t ecn)
{
	(void)to;
	(void)ecn;
	assert_true(len <= sizeof(sent));
	memcpy(sent, data, len);
	sent_len = len;
	sender = (int)((struct worker *)ctx)->number;
}

static bool env_elsewhere(void *ctx, const struct wg_endpoint *from,
			  const struct wg_msg_initiation *msg, const struct wg_noise_draft *draft)
{
	return handover_initiation(ctx, from, msg, draft);
}

static void nothing_between(void *ctx)
{
	(void)ctx;
}

static struct engine *engine_new(void)
{
	struct engine *e = calloc(1, sizeof(*e));
	uint8_t secret[WG_KEY_LEN];

	assert_non_null(e);
	e->n = WORKERS;
	e->workers = calloc(WORKERS, sizeof(*e->workers));
	assert_non_null(e->workers);
	for (unsigned int i = 0; i < WORKERS; i++) {
		struct worker *w = &e->workers[i];
		const struct wg_env env = {.ctx = w,
					   .random = env_random,
					   .realtime = env_realtime,
					   .transmit = env_transmit,
					   .elsewhere = env_elsewhere};

		w->engine = e;
		w->number = i;
		w->tun.fd = w->udp.fd4 = w->udp.fd6 = w->epoll_fd = w->wake_fd = -1;
		w->dev = wg_device_new(&env);
		assert_non_null(w->dev);
		wg_device_set_shard(w->dev, e->workers[0].dev, i);
		w->in.dev = w->out.dev = w->dev;
		w->in.between = w->out.between = nothing_between;
		w->in.coalesce.tun = &w->tun;
		w->out.udp = &w->udp;
		w->out.mtu = 1420;
	}
	assert_int_equal(handover_init(e), 0);
	memset(secret, 7, sizeof(secret));
	assert_int_equal(shards_set_secret(e, secret), 0);
	return e;
}

static void engine_end(struct engine *e)
{
	for (unsigned int i = WORKERS; i--;)
		worker_clean(&e->workers[i]);
	handover_clean(e);
	free(e->workers);
	free(e);
}

static int apply(struct engine *e, const char *text)
{
	struct config_change *c = config_change_new();
	char *copy = strdup(text), *rest = copy, *line;
	int r = 0;

	assert_non_null(c);
	while (r == 0 && (line = strsep(&rest, "\n")))
		if (*line)
			r = config_change_line(c, line);
	if (r == 0)
		r = config_change_apply(c, e);
	config_change_free(c);
	free(copy);
	return r;
}

static void peer_key(uint32_t n, uint8_t key[WG_KEY_LEN])
{
	memset(key, 0, WG_KEY_LEN);
	key[0] = 9;
	memcpy(key + 1, &n, sizeof(n));
}

static struct wg_peer *add(struct engine *e, uint32_t n)
{
	uint8_t key[WG_KEY_LEN];
	struct wg_peer *p;

	peer_key(n, key);
	assert_int_equal(shards_add_peer(e, key, &p), 0);
	return p;
}

static void peers_are_spread(void **state)
{
	struct engine *e = engine_new();
	uint8_t key[WG_KEY_LEN];
	uint32_t n = 0;

	(void)state;
	for (uint32_t i = 0; i < 103; i++)
		add(e, i);
	for (unsigned int i = 0; i < WORKERS; i++)
		assert_in_range(e->workers[i].dev->n_peers, 25, 26);
	for (struct wg_peer *p = shards_first(e); p; p = shards_next(e, p))
		n++;
	assert_int_equal(n, 103);
	for (uint32_t i = 0; i < 103; i++) {
		struct wg_peer *p;

		peer_key(i, key);
		p = shards_find_peer(e, key);
		assert_non_null(p);
		assert_int_equal(shards_add_peer(e, key, &p), -EEXIST);
		assert_ptr_equal(e->workers[0].dev->ids[p->id - 1], p);
		if (i % 2)
			wg_device_del_peer(p->dev, p);
	}
	peer_key(1, key);
	assert_null(shards_find_peer(e, key));
	/* Ids are one set for all; a free one is taken again. */
	assert_int_equal(add(e, 1)->id, 2);
	shards_flush_peers(e);
	assert_null(shards_first(e));
	engine_end(e);
}

/* The text of the peers' allowed IPs, those of the first named peer first. */
static void assert_allowed(struct engine *e, uint32_t n, const char *prefix, bool has)
{
	uint8_t key[WG_KEY_LEN], addr[16], bits;
	char text[INET6_ADDRSTRLEN + 4];
	struct wg_peer *p;
	bool found = false;

	peer_key(n, key);
	p = shards_find_peer(e, key);
	assert_non_null(p);
	for (const struct wg_allowed *a = p->allowed; a; a = a->next_of_peer) {
		wg_allowed_prefix(a, addr, &bits);
		inet_ntop(AF_INET, addr, text, sizeof(text));
		snprintf(text + strlen(text), 5, "/%u", bits);
		found |= strcmp(text, prefix) == 0;
	}
	assert_int_equal(found, has);
}

static void hex_key(uint32_t n, char hex[2 * WG_KEY_LEN + 1])
{
	uint8_t key[WG_KEY_LEN];

	peer_key(n, key);
	for (int i = 0; i < WG_KEY_LEN; i++)
		sprintf(hex + (size_t)2 * (size_t)i, "%02x", key[i]);
}

/* A prefix moves from a peer of one worker to one of another; a bad request changes no worker. */
static void one_configuration(void **state)
{
	char a[2 * WG_KEY_LEN + 1], b[2 * WG_KEY_LEN + 1], text[1024], *shown = NULL;
	struct engine *e = engine_new();
	size_t len;
	FILE *f;

	(void)state;
	hex_key(1, a);
	hex_key(2, b);
	snprintf(text, sizeof(text),
		 "public_key=%s\nallowed_ip=10.0.0.0/8\nendpoint=192.0.2.1:1\n"
		 "public_key=%s\nallowed_ip=10.1.0.0/16\n",
		 a, b);
	assert_int_equal(apply(e, text), 0);
	assert_int_not_equal(shards_first(e)->dev->n_peers, 2);
	snprintf(text, sizeof(text), "public_key=%s\nallowed_ip=10.0.0.0/8\n", b);
	assert_int_equal(apply(e, text), 0);
	assert_allowed(e, 1, "10.0.0.0/8", false);
	assert_allowed(e, 2, "10.0.0.0/8", true);
	assert_allowed(e, 2, "10.1.0.0/16", true);
	/* Shared from now on, in all shards. */
	assert_int_equal(apply(e, "reply_to_ingress=true\n"), 0);
	snprintf(text, sizeof(text), "public_key=%s\nallowed_ip=10.0.0.0/8\n", a);
	assert_int_equal(apply(e, text), 0);
	assert_allowed(e, 1, "10.0.0.0/8", true);
	assert_allowed(e, 2, "10.0.0.0/8", true);
	/* And no longer: who got it last keeps it. */
	assert_int_equal(apply(e, "reply_to_ingress=false\n"), 0);
	assert_allowed(e, 1, "10.0.0.0/8", true);
	assert_allowed(e, 2, "10.0.0.0/8", false);
	snprintf(text, sizeof(text), "public_key=%s\nremove=true\npublic_key=%s\nallowed_ip=x\n", a,
		 b);
	assert_int_equal(apply(e, text), -EINVAL);
	assert_allowed(e, 1, "10.0.0.0/8", true);
	assert_int_equal(apply(e, "eager=perhaps\n"), -EINVAL);
	assert_int_equal(apply(e, "eager=true\n"), 0);
	f = open_memstream(&shown, &len);
	config_print(e, f);
	fclose(f);
	assert_non_null(strstr(shown, a));
	assert_non_null(strstr(shown, b));
	assert_non_null(strstr(shown, "eager=true\n"));
	free(shown);
	assert_int_equal(apply(e, "eager=false\n"), 0);
	assert_false(e->workers[0].dev->eager);
	assert_int_equal(apply(e, "replace_peers=true\n"), 0);
	assert_null(shards_first(e));
	engine_end(e);
}

/* --- out of memory --- */

/* Allocations that still succeed; below 0 all do. The linker sends those of the program and of its libraries here. */
static long allocations_left = -1;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool may_allocate(void)
{
	if (allocations_left > 0)
		allocations_left--;
	else if (allocations_left == 0)
		return false;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return may_allocate() ? __real_calloc(n, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
	return may_allocate() ? __real_realloc(old, size) : NULL;
}

static char *show(struct engine *e)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	config_print(e, f);
	fclose(f);
	return text;
}

/* Applied with only @n allocations. */
static int apply_with(struct engine *e, const char *text, long n)
{
	struct config_change *c = config_change_new();
	char *copy = strdup(text), *rest = copy, *line;
	int r;

	while ((line = strsep(&rest, "\n")))
		if (*line)
			assert_int_equal(config_change_line(c, line), 0);
	allocations_left = n;
	r = config_change_apply(c, e);
	allocations_left = -1;
	config_change_free(c);
	free(copy);
	return r;
}

/* Whichever allocation fails, a request is applied as a whole or not at all. */
static void out_of_memory(void **state)
{
	char key[2 * WG_KEY_LEN + 1], *text = NULL, *before, *after;
	struct engine *e = engine_new();
	size_t len;
	FILE *f;
	long n = 0;
	int r;

	(void)state;
	hex_key(1, key);
	f = open_memstream(&text, &len);
	fprintf(f, "public_key=%s\nallowed_ip=10.0.0.0/8\nendpoint=192.0.2.1:1\n", key);
	hex_key(2, key);
	fprintf(f, "public_key=%s\nallowed_ip=10.1.0.0/16\npreshared_key=%s\n", key, key);
	fclose(f);
	assert_int_equal(apply(e, text), 0);
	free(text);

	/* One is removed and added again, the other loses a prefix, and many come. */
	f = open_memstream(&text, &len);
	fprintf(f, "private_key=%s\nreply_to_ingress=true\n", key);
	hex_key(1, key);
	fprintf(f, "public_key=%s\nremove=true\n", key);
	for (uint32_t i = 1; i < 40; i++) {
		hex_key(i, key);
		fprintf(f, "public_key=%s\nreplace_allowed_ips=true\n", key);
		fprintf(f, "allowed_ip=10.1.0.0/16\nallowed_ip=10.%u.0.0/24\n", i * 5);
		fprintf(f, "allowed_ip=fd00:%x::/64\nendpoint=192.0.2.9:%u\n", i * 7, i);
	}
	fclose(f);
	before = show(e);
	while ((r = apply_with(e, text, n)) != 0) {
		assert_int_equal(r, -ENOMEM);
		after = show(e);
		assert_string_equal(after, before);
		free(after);
		n++;
	}
	assert_true(n > 3 * 3 * 39);
	after = show(e);
	assert_non_null(strstr(after, "reply_to_ingress=true"));
	assert_non_null(strstr(after, "endpoint=192.0.2.9:39\n"));
	free(before);
	free(after);
	free(text);
	engine_end(e);
}

/* --- handing over --- */

static uint8_t buffer[4 * 70000];

static struct udp_received received(size_t len, uint32_t segment)
{
	return (struct udp_received){.data = buffer + 1024,
				     .len = (uint32_t)len,
				     .segment = segment,
				     .from = {.in = {.sin_family = AF_INET,
						     .sin_port = htons(5),
						     .sin_addr = {htonl(0xc0000201)}}}};
}

/* Shows who has what to take: a bit for each worker. */
static unsigned int waiting(struct engine *e, struct worker *from)
{
	unsigned int set = 0;

	handover_publish(from);
	for (unsigned int i = 0; i < WORKERS; i++)
		if (handover_waits(&e->workers[i]))
			set |= 1u << i;
	return set;
}

static void messages(void **state)
{
	struct engine *e = engine_new();
	struct worker *w = &e->workers[1];
	struct udp_received r;

	(void)state;
	shards_set_up(e, true, 1);
	/* One's own stays, and so does what is none at all. */
	r = received(message_for(buffer + 1024, WG_MSG_DATA, 1), WG_DATA_OVERHEAD);
	assert_false(handover_message(w, &r));
	memset(buffer + 1024, 9, 100);
	r = received(100, 100);
	assert_false(handover_message(w, &r));
	r = received(message_for(buffer + 1024, WG_MSG_DATA, WORKERS), WG_DATA_OVERHEAD);
	assert_false(handover_message(w, &r));
	assert_int_equal(waiting(e, w), 0);
	/* A train for another goes as one. */
	for (int i = 0; i < 10; i++)
		message_for(buffer + 1024 + (size_t)i * WG_DATA_OVERHEAD, WG_MSG_DATA, 3);
	r = received((size_t)10 * WG_DATA_OVERHEAD, WG_DATA_OVERHEAD);
	assert_true(handover_message(w, &r));
	assert_int_equal(w->handed, 1);
	assert_int_equal(waiting(e, w), 1u << 3);
	assert_false(handover_take(&e->workers[3], 2));
	assert_int_equal(e->workers[3].dev->drops.unknown_index, 10);
	assert_int_equal(waiting(e, w), 0);
	/* A mixed one is taken apart; what is left is this worker's. */
	for (uint32_t i = 0; i < WORKERS; i++)
		message_for(buffer + 1024 + (size_t)i * WG_DATA_OVERHEAD, WG_MSG_DATA, i);
	r = received((size_t)WORKERS * WG_DATA_OVERHEAD, WG_DATA_OVERHEAD);
	assert_false(handover_message(w, &r));
	assert_int_equal(waiting(e, w), 1 | 1u << 2 | 1u << 3);
	assert_false(handover_take(&e->workers[3], 3));
	assert_int_equal(e->workers[3].dev->drops.unknown_index, 11);
	engine_end(e);
}

/* What does not fit is lost and counted, and memory stays what it was. */
static void full_ring(void **state)
{
	struct engine *e = engine_new();
	struct worker *w = &e->workers[2];
	struct udp_received r = received(65000, 65000);
	uint64_t fit = 0;

	(void)state;
	shards_set_up(e, true, 1);
	for (int i = 0; i < 100; i++) {
		memset(buffer + 1024, 0xff, 65000);
		message_for(buffer + 1024, WG_MSG_DATA, 0);
		assert_true(handover_message(w, &r));
	}
	fit = w->handed;
	assert_in_range(fit, 7, 8);
	assert_int_equal(w->lost, 100 - fit);
	assert_int_equal(waiting(e, w), 1);
	assert_false(handover_take(&e->workers[0], 2));
	assert_int_equal(e->workers[0].dev->drops.unknown_index, fit);
	/* There is room again. */
	assert_true(handover_message(w, &r));
	assert_int_equal(w->handed, fit + 1);
	engine_end(e);
}

/* A handshake from outside: its initiation comes to the first worker, its peer belongs to another. */
static void initiation(void **state)
{
	static const uint8_t their_secret[WG_KEY_LEN] = {1, 2, 3};
	struct engine *e = engine_new();
	struct worker outside = {.number = 99};
	const struct wg_env env = {.ctx = &outside,
				   .random = env_random,
				   .realtime = env_realtime,
				   .transmit = env_transmit};
	struct wg_device *them = wg_device_new(&env);
	struct wg_peer *theirs, *ours;
	uint8_t msg[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM],
		out[WG_AEAD_HEADROOM + 256 + WG_AEAD_TAILROOM];
	struct udp_received from = received(0, 0);
	uint32_t index;

	(void)state;
	assert_int_equal(wg_device_set_secret(them, their_secret), 0);
	wg_device_up(them, 1);
	shards_set_up(e, true, 1);
	assert_int_equal(wg_device_add_peer(them, e->workers[0].dev->identity.public, &theirs), 0);
	wg_peer_set_endpoint(theirs, &from.from);
	add(e, 1);
	add(e, 2);
	assert_int_equal(shards_add_peer(e, them->identity.public, &ours), 0);
	assert_ptr_equal(ours->dev, e->workers[2].dev);

	wg_peer_initiate(theirs, false, 1000);
	assert_int_equal(sent_len, sizeof(struct wg_msg_initiation));
	memcpy(msg + WG_AEAD_HEADROOM, sent, sent_len);
	wg_device_receive(e->workers[0].dev, &from.from, 0, msg + WG_AEAD_HEADROOM, sent_len,
			  out + WG_AEAD_HEADROOM, &theirs, 2000);
	assert_int_equal(sender, 99);
	assert_int_equal(waiting(e, &e->workers[0]), 1u << 2);
	assert_false(handover_take(&e->workers[2], 3000));
	/* The owner has answered, with an index by which everything else comes to it at once. */
	assert_int_equal(sender, 2);
	assert_int_equal(sent_len, sizeof(struct wg_msg_response));
	memcpy(&index, sent + 4, sizeof(index));
	assert_int_equal(le32toh(index) >> WG_SHARD_SHIFT & (WG_SHARDS - 1), 2);
	assert_non_null(ours->pending);
	wg_device_free(them);
	engine_end(e);
}

/* Packets of the interface; also after the peer, or the prefix, went to somebody else. */
static void packets(void **state)
{
	static struct outbound_packet q;
	struct engine *e = engine_new();
	struct worker *w = &e->workers[0], *owner = &e->workers[1];
	const uint8_t prefix[4] = {10, 0, 0, 0};
	struct udp_received from = received(0, 0);
	struct wg_peer *p;

	(void)state;
	shards_set_up(e, true, 1);
	add(e, 1);
	p = add(e, 2);
	assert_ptr_equal(p->dev, owner->dev);
	wg_peer_set_endpoint(p, &from.from);
	assert_int_equal(wg_allowedips_add(&p->dev->first->allowedips, prefix, 4, 8, p), 0);
	memcpy(q.data, "\x45\0\0\x1c\0\0\0\0\x40\x11\0\0\x0a\1\1\1\x0a\2\2\2\0\1\0\2\0\x08\0\0",
	       28);
	q.len = 28;
	assert_ptr_equal(wg_device_route(w->dev, q.data, q.len, 10), p);

	handover_packet(w, p, &q);
	assert_int_equal(waiting(e, w), 1u << 1);
	assert_false(handover_take(owner, 20));
	/* There is no session yet: the packet waits for the handshake that begins. */
	assert_int_equal(p->staged.count, 1);
	assert_int_equal(sender, 1);
	assert_int_equal(sent_len, sizeof(struct wg_msg_initiation));

	/* The configuration changed meanwhile, but the peer is the same. */
	handover_packet(w, p, &q);
	handover_publish(w);
	e->generation++;
	assert_false(handover_take(owner, 30));
	assert_int_equal(p->staged.count, 2);

	/* The peer is gone: its memory must not be looked at. */
	handover_packet(w, p, &q);
	handover_publish(w);
	wg_device_del_peer(p->dev, p);
	e->generation++;
	assert_false(handover_take(owner, 40));
	assert_int_equal(owner->lost, 1);
	engine_end(e);
}

static void default_number(void **state)
{
	(void)state;
	assert_int_equal(engine_default_workers(1), 1);
	assert_int_equal(engine_default_workers(2), 1);
	assert_int_equal(engine_default_workers(3), 1);
	assert_int_equal(engine_default_workers(4), 2);
	assert_int_equal(engine_default_workers(16), 8);
	assert_int_equal(engine_default_workers(256), WG_SHARDS);
}

static int setup(void **state)
{
	(void)state;
	if (wg_crypto_init() < 0)
		return -1;
	wg_noise_init();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steered4),	     cmocka_unit_test(steered6),
		cmocka_unit_test(port_of_another),   cmocka_unit_test(peers_are_spread),
		cmocka_unit_test(one_configuration), cmocka_unit_test(out_of_memory),
		cmocka_unit_test(messages),	     cmocka_unit_test(full_ring),
		cmocka_unit_test(initiation),	     cmocka_unit_test(packets),
		cmocka_unit_test(default_number),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
