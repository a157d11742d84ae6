// SPDX-License-Identifier: MIT
#include "kkwg/group.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/filter.h>

#include "util/cleanup.h"
#include "util/log.h"
#include "wg/device.h"

/*
 * Offsets into the message, whose integers are little endian: the highest byte of the receiver index has the number of
 * the socket. What is too short goes to the first, as the kernel has it.
 */
static const struct sock_filter steering[] = {
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), /* type */
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, WG_MSG_DATA, 4, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, WG_MSG_COOKIE, 3, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, WG_MSG_RESPONSE, 0, 4),
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS,
		 offsetof(struct wg_msg_response, receiver) + WG_SHARD_SHIFT / 8),
	BPF_JUMP(BPF_JMP | BPF_JA, 3, 0, 0),
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS,
		 offsetof(struct wg_msg_data, receiver) + WG_SHARD_SHIFT / 8),
	BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
	BPF_STMT(BPF_RET | BPF_K, 0),
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, WG_SHARDS - 1),
	BPF_STMT(BPF_RET | BPF_A, 0),
};

static void steer(int fd)
{
	const struct sock_fprog program = {ARRAY_SIZE(steering), (struct sock_filter *)steering};

	if (fd >= 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) < 0)
		kk_warn("the kernel does not sort messages for the workers, which costs them time: %m");
}

static void reuse(int fd)
{
	const int on = 1;

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
}

int group_open(struct udp *u, unsigned int n, uint16_t port, uint32_t mark, struct kk_err *err)
{
	int r = udp_open(&u[0], port, mark, err);

	if (r < 0 || n == 1)
		return r;
	/* Only now: the port was free, and nobody's group was joined. */
	reuse(u[0].fd4);
	reuse(u[0].fd6);
	for (unsigned int i = 1; i < n; i++) {
		r = udp_join(&u[i], &u[0]);
		if (r < 0) {
			while (i--)
				udp_close(&u[i]);
			return kk_err_set(err, -r, "listen_port",
					  "UDP port %u, socket %u of %u: %s", u[0].port, i + 1, n,
					  strerror(-r));
		}
	}
	steer(u[0].fd4);
	steer(u[0].fd6);
	return 0;
}
