// SPDX-License-Identifier: MIT
/* What kkwg/udp.c does with sends that the kernel refuses; the system calls are those below. */
#include "../wg_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#include "kkwg/filter.h"
#include "kkwg/udp.h"
#include "util/log.h"

#define SEGMENT	 100
#define SEGMENTS 10
#define LEN	 (SEGMENT * SEGMENTS - 40)

static struct {
	int gso_error;	   /* of a send that is to be segmented */
	int source_error;  /* of a send with a source address */
	int error;	   /* of every send */
	unsigned int full; /* so many sends find no room first */
	unsigned int most; /* messages of one sendmmsg() */
	unsigned int calls;
	unsigned int segmented;
	size_t len;
	uint8_t sent[1 << 20];
} kernel;

static bool has(const struct msghdr *m, int level, int type)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c))
		if (c->cmsg_level == level && c->cmsg_type == type)
			return true;
	return false;
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	bool gso = has(m, IPPROTO_UDP, UDP_SEGMENT);

	(void)fd;
	(void)flags;
	kernel.calls++;
	errno = kernel.error;
	if (!errno && kernel.full) {
		kernel.full--;
		errno = EAGAIN;
	}
	if (!errno && has(m, IPPROTO_IP, IP_PKTINFO))
		errno = kernel.source_error;
	if (!errno && gso)
		errno = kernel.gso_error;
	if (errno)
		return -1;
	assert_true(gso || m->msg_iov->iov_len <= SEGMENT);
	assert_true(kernel.len + m->msg_iov->iov_len <= sizeof(kernel.sent));
	memcpy(kernel.sent + kernel.len, m->msg_iov->iov_base, m->msg_iov->iov_len);
	kernel.len += m->msg_iov->iov_len;
	kernel.segmented += gso;
	return (ssize_t)m->msg_iov->iov_len;
}

int sendmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags)
{
	unsigned int i = 0;

	while (i < n && (!kernel.most || i < kernel.most) && sendmsg(fd, &m[i].msg_hdr, flags) >= 0)
		i++;
	return i ? (int)i : -1;
}

struct fixture {
	struct udp udp;
	struct wg_endpoint to;
	struct udp_send batch[4];
	uint8_t data[4][LEN];
};

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	memset(&kernel, 0, sizeof(kernel));
	f.udp.fd4 = socket(AF_INET, SOCK_DGRAM, 0);
	f.udp.fd6 = -1;
	f.udp.gso = true;
	f.to.in.sin_family = AF_INET;
	f.to.src4.s_addr = htonl(0x7f000001);
	for (int i = 0; i < 4; i++) {
		memset(f.data[i], 'a' + i, LEN);
		for (int s = 0; s < SEGMENTS; s++)
			f.data[i][s * SEGMENT] = (uint8_t)('0' + s);
		f.batch[i] = (struct udp_send){.to = &f.to,
					       .data = f.data[i],
					       .len = LEN,
					       .segment = SEGMENT,
					       .count = SEGMENTS};
	}
	*state = &f;
	return f.udp.fd4 < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	return close(f->udp.fd4);
}

/* Everything arrived, in order and once. */
static void assert_all_sent(struct fixture *f, unsigned int n)
{
	assert_int_equal(kernel.len, n * LEN);
	assert_memory_equal(kernel.sent, f->data, n * LEN);
	kernel.len = 0;
}

/* What cannot be segmented goes in pieces, keeps its source, and is tried again much later. */
static void segmentation(void **state)
{
	static const int errors[] = {EIO, EINVAL, EMSGSIZE, ENOPROTOOPT, EOPNOTSUPP};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		f->udp.gso = true;
		kernel.gso_error = errors[i];
		udp_send(&f->udp, f->batch, 4);
		assert_all_sent(f, 4);
		assert_false(f->udp.gso);
		assert_int_not_equal(f->to.src4.s_addr, 0);
		assert_int_equal(kernel.segmented, 0);
	}
	kernel.gso_error = 0;
	f->batch[0].len = SEGMENT;
	f->batch[0].count = 1;
	for (int i = 0; i < UDP_GSO_PAUSE - 4; i++) {
		assert_false(f->udp.gso);
		kernel.len = 0;
		udp_send(&f->udp, f->batch, 1);
	}
	assert_true(f->udp.gso);
}

/* A source that is not ours any more is forgotten, and segmenting is not blamed for it. */
static void source(void **state)
{
	struct fixture *f = *state;

	kernel.source_error = EINVAL;
	udp_send(&f->udp, f->batch, 4);
	assert_all_sent(f, 4);
	assert_int_equal(f->to.src4.s_addr, 0);
	assert_true(f->udp.gso && kernel.segmented >= 1);
}

static void part_of_a_batch(void **state)
{
	struct fixture *f = *state;

	for (kernel.most = 1; kernel.most < 5; kernel.most++) {
		udp_send(&f->udp, f->batch, 4);
		assert_all_sent(f, 4);
	}
}

/* No room for the moment: waited for. Never any: dropped, in a bounded number of tries. */
static void full(void **state)
{
	struct fixture *f = *state;

	kernel.full = 1;
	udp_send(&f->udp, f->batch, 4);
	assert_all_sent(f, 4);
	kernel.calls = 0;
	for (int i = 0; i < 3; i++) {
		kernel.error = (int[]){EAGAIN, ENOBUFS, ENOMEM}[i];
		udp_send(&f->udp, f->batch, 4);
		assert_int_equal(kernel.len, 0);
		assert_true(f->udp.gso && f->to.src4.s_addr);
	}
	assert_true(kernel.calls <= 3 * 4 * 2);
}

/* Nothing can be sent at all: a network without a route. */
static void nowhere(void **state)
{
	struct fixture *f = *state;

	kernel.error = ENETUNREACH;
	udp_send(&f->udp, f->batch, 4);
	assert_int_equal(kernel.len, 0);
	assert_true(f->udp.gso);
	assert_true(kernel.calls <= 4 * 3);
}

/* What passes the filter of a socket, by length and first byte; both families. */
static void early_discard(void **state)
{
	static const struct {
		size_t len;
		uint8_t type;
		bool passes;
	} cases[] = {
		{0, 0, false},
		{1, 4, false},
		{3, 4, false},
		{31, 4, false},
		{32, 4, true},
		{1452, 4, true},
		{63, 3, false},
		{64, 3, true},
		{92, 2, true},
		{148, 1, true},
		{63, 1, false},
		{148, 0, false},
		{148, 5, false},
		{1400, 9, false},
		{FILTER_LONGEST, 9, false},
		{FILTER_LONGEST + 1, 9, true}, /* perhaps several that were joined */
	};
	struct sockaddr_storage here;
	socklen_t len;

	(void)state;
	for (int family = AF_INET; family; family = family == AF_INET ? AF_INET6 : 0) {
		int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK, 0);

		memset(&here, 0, sizeof(here));
		here.ss_family = (sa_family_t)family;
		len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
		assert_int_equal(filter_attach(fd), 0);
		assert_int_equal(bind(fd, (struct sockaddr *)&here, len), 0);
		assert_int_equal(getsockname(fd, (struct sockaddr *)&here, &len), 0);
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			uint8_t data[FILTER_LONGEST + 1] = {cases[i].type};
			ssize_t n = cases[i].passes ? (ssize_t)cases[i].len : -1;

			assert_int_equal(
				sendto(fd, data, cases[i].len, 0, (struct sockaddr *)&here, len),
				cases[i].len);
			if (recv(fd, data, sizeof(data), 0) != n)
				fail_msg("%zu bytes of type %u", cases[i].len, cases[i].type);
		}
		/* The type is a number of four bytes. */
		assert_int_equal(
			sendto(fd, "\4\0\0\1 and 60 bytes more, so that the length is no matter",
			       56, 0, (struct sockaddr *)&here, len),
			56);
		assert_int_equal(recv(fd, &(char){0}, 1, 0), -1);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(early_discard),
		cmocka_unit_test_setup_teardown(segmentation, setup, teardown),
		cmocka_unit_test_setup_teardown(source, setup, teardown),
		cmocka_unit_test_setup_teardown(part_of_a_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(full, setup, teardown),
		cmocka_unit_test_setup_teardown(nowhere, setup, teardown),
	};

	kk_log_init("test", LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
