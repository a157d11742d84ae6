// SPDX-License-Identifier: MIT
#include "kkwg/filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <linux/filter.h>

#include "util/cleanup.h"
#include "wg/message.h"

/* The filter sees the datagram from its UDP header on. */
#define UDP_HEADER 8
#define LEN(n)	   ((n) + UDP_HEADER)

/* As the type is read: the first four bytes as a big-endian number. */
#define TYPE(t) ((uint32_t)(t) << 24)

int filter_attach(int fd)
{
	/* The numbers behind a comparison: how many instructions to skip where it holds, and where not. */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LEN(FILTER_LONGEST), 11, 0),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		/* Drops what is too short to be loaded from. */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UDP_HEADER),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE(WG_MSG_DATA), 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE(WG_MSG_INITIATION), 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE(WG_MSG_RESPONSE), 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE(WG_MSG_COOKIE), 2, 4),
		/* Data: not shorter than an empty packet. */
		BPF_STMT(BPF_MISC | BPF_TXA, 0),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, LEN(WG_DATA_OVERHEAD), 3, 2),
		/* Handshakes and cookies. */
		BPF_STMT(BPF_MISC | BPF_TXA, 0),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, LEN(sizeof(struct wg_msg_cookie)), 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno
											   : 0;
}
