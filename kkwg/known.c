// SPDX-License-Identifier: MIT
#include "kkwg/known.h"

#include <endian.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "kkwg/filter.h"
#include "kkwg/insn.h"
#include "util/cleanup.h"
#include "wg/index.h"
#include "wg/message.h"

#define SIZE (WG_INDEX_CENSUS * sizeof(uint16_t))

/* The program sees the datagram from its UDP header on. */
#define UDP_HEADER 8
#define LEN(n)	   ((int32_t)(n) + UDP_HEADER)
#define TYPE(t)	   ((int32_t)htole32(t))

/* Where the first bytes of a message go on the stack, and where an index is then. */
#define HEAD	     (-16)
#define HEAD_LEN     12 /* no message is shorter */
#define INDEX_OF(of) (HEAD + (int)offsetof(struct of, receiver))

static int make_map(void)
{
	union bpf_attr a = {0};

	a.map_type = BPF_MAP_TYPE_ARRAY;
	a.key_size = sizeof(uint32_t);
	a.value_size = SIZE;
	a.max_entries = 1;
	a.map_flags = BPF_F_MMAPABLE;
	memcpy(a.map_name, "kkwg_known", sizeof("kkwg_known"));
	return insn_bpf(BPF_MAP_CREATE, &a);
}

/* r6: the packet, r7: its length, r8: type, r9: receiver index */
static int load_program(int map)
{
	const struct bpf_insn insns[] = {
		/* 0 */ MOV_REG(6, 1),
		/* 1: what is joined passes, behind a forged one there may be good ones */
		LOAD(BPF_W, 7, 6, offsetof(struct __sk_buff, len)),
		/* 2 */ JUMP(BPF_JGT, 7, LEN(FILTER_LONGEST), 25),
		/* 3 */ LOAD_BYTES(UDP_HEADER, HEAD, HEAD_LEN),
		/* 9 */ JUMP(BPF_JNE, 0, 0, 20),
		/* 10 */ LOAD(BPF_W, 8, 10, HEAD),
		/* 11 */ LOAD(BPF_W, 9, 10, INDEX_OF(wg_msg_data)),
		/* 12 */ JUMP(BPF_JEQ, 8, TYPE(WG_MSG_DATA), 6),
		/* 13: what is not data is no shorter than a cookie, whose index is where that of data is */
		JUMP(BPF_JLT, 7, LEN(sizeof(struct wg_msg_cookie)), 16),
		/* 14 */ JUMP(BPF_JEQ, 8, TYPE(WG_MSG_INITIATION), 13),
		/* 15 */ JUMP(BPF_JEQ, 8, TYPE(WG_MSG_COOKIE), 4),
		/* 16 */ JUMP(BPF_JNE, 8, TYPE(WG_MSG_RESPONSE), 13),
		/* 17 */ LOAD(BPF_W, 9, 10, INDEX_OF(wg_msg_response)),
		/* 18 */ GOTO(1),
		/* 19: data is no shorter than an empty packet */
		JUMP(BPF_JLT, 7, LEN(WG_DATA_OVERHEAD), 10),
		/* 20 */ FROM_LE32(9),
		/* 21 */ ALU_IMM(BPF_AND, 9, WG_INDEX_CENSUS - 1),
		/* 22: two bytes each */
		ALU_IMM(BPF_LSH, 9, 1),
		/* 23 */ MAP_VALUE(1, map),
		/* 25 */ ADD_REG(1, 9),
		/* 26 */ LOAD(BPF_H, 0, 1, 0),
		/* 27 */ JUMP(BPF_JEQ, 0, 0, 2),
		/* 28: pass */
		MOV_IMM(0, INT32_MAX),
		/* 29 */ EXIT,
		/* 30: drop */
		MOV_IMM(0, 0),
		/* 31 */ EXIT,
	};
	union bpf_attr a = {0};

	a.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	a.insns = (uint64_t)(uintptr_t)insns;
	a.insn_cnt = ARRAY_SIZE(insns);
	a.license = (uint64_t)(uintptr_t) "MIT";
	memcpy(a.prog_name, "kkwg_known", sizeof("kkwg_known"));
	return insn_bpf(BPF_PROG_LOAD, &a);
}

int known_open(struct known *k)
{
	void *census = MAP_FAILED;
	int r;

	k->census = NULL;
	k->program = -1;
	r = k->map = make_map();
	if (r >= 0) {
		census = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, k->map, 0);
		r = census == MAP_FAILED ? -errno : 0;
	}
	if (r == 0) {
		k->census = census;
		r = k->program = load_program(k->map);
	}
	if (r < 0)
		known_close(k);
	return r < 0 ? r : 0;
}

int known_attach(const struct known *k, int fd)
{
	if (k->program < 0)
		return -EOPNOTSUPP;
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &k->program, sizeof(k->program)) < 0
		       ? -errno
		       : 0;
}

void known_close(struct known *k)
{
	if (k->census)
		munmap(k->census, SIZE);
	k->census = NULL;
	k->program = kk_close(k->program);
	k->map = kk_close(k->map);
}
