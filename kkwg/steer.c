// SPDX-License-Identifier: MIT
#include "kkwg/steer.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>

#include "util/cleanup.h"
#include "util/log.h"

/* As the kernel wants the keys of such a map. */
struct prefix {
	uint32_t bits;
	uint8_t addr[16];
};

static int bpf(int command, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return r < 0 ? -errno : (int)r;
}

static int make_map(uint32_t addr_len)
{
	union bpf_attr a = {0};

	a.map_type = BPF_MAP_TYPE_LPM_TRIE;
	a.key_size = 4 + addr_len;
	a.value_size = sizeof(uint32_t);
	a.max_entries = STEER_PREFIXES;
	a.map_flags = BPF_F_NO_PREALLOC;
	return bpf(BPF_MAP_CREATE, &a);
}

#define INSN(code_, dst_, src_, off_, imm_)                                                        \
	{                                                                                          \
		.code = (code_), .dst_reg = (dst_), .src_reg = (src_), .off = (off_),              \
		.imm = (imm_)                                                                      \
	}
#define MOV_REG(dst, src)	  INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define MOV_IMM(dst, imm)	  INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm)
#define ALU_IMM(op, dst, imm)	  INSN(BPF_ALU | (op) | BPF_K, dst, 0, 0, imm)
#define ADD_IMM(dst, imm)	  INSN(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, imm)
#define XOR_REG(dst, src)	  INSN(BPF_ALU64 | BPF_XOR | BPF_X, dst, src, 0, 0)
#define LOAD(size, dst, src, off) INSN(BPF_LDX | (size) | BPF_MEM, dst, src, off, 0)
#define STORE_IMM(dst, off, imm)  INSN(BPF_ST | BPF_W | BPF_MEM, dst, 0, off, imm)
#define JUMP(op, dst, imm, off)	  INSN(BPF_JMP | (op) | BPF_K, dst, 0, off, imm)
#define GOTO(off)		  INSN(BPF_JMP | BPF_JA, 0, 0, off, 0)
#define CALL(function)		  INSN(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define EXIT			  INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define MAP(dst, fd)                                                                               \
	INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)
/* Copies @len bytes of the packet from @from to the stack; r0 is not 0 where they are not there. */
#define LOAD_BYTES(from, to, len)                                                                  \
	MOV_REG(1, 6), MOV_IMM(2, from), MOV_REG(3, 10), ADD_IMM(3, to), MOV_IMM(4, len),          \
		CALL(BPF_FUNC_skb_load_bytes)

/* The packet begins with its IP header. r6: the packet, r7: both addresses mixed. */
static int load_program(int map4, int map6)
{
	const struct bpf_insn insns[] = {
		/* 0 */ MOV_REG(6, 1),
		/* 1 */ LOAD_BYTES(0, -4, 1),
		/* 7 */ JUMP(BPF_JNE, 0, 0, 43),
		/* 8 */ LOAD(BPF_B, 7, 10, -4),
		/* 9 */ ALU_IMM(BPF_RSH, 7, 4),
		/* 10 */ JUMP(BPF_JEQ, 7, 6, 16),
		/* 11 */ JUMP(BPF_JNE, 7, 4, 39),
		/* 12: source and destination; the length of the prefix goes in front of the latter */
		LOAD_BYTES(12, -16, 8),
		/* 18 */ JUMP(BPF_JNE, 0, 0, 32),
		/* 19 */ LOAD(BPF_W, 7, 10, -16),
		/* 20 */ LOAD(BPF_W, 8, 10, -12),
		/* 21 */ STORE_IMM(10, -16, 32),
		/* 22 */ MAP(1, map4),
		/* 24 */ MOV_REG(2, 10),
		/* 25 */ ADD_IMM(2, -16),
		/* 26 */ GOTO(14),
		/* 27: the same for IPv6, of which the last four bytes are mixed */
		LOAD_BYTES(8, -40, 32),
		/* 33 */ JUMP(BPF_JNE, 0, 0, 17),
		/* 34 */ LOAD(BPF_W, 7, 10, -28),
		/* 35 */ LOAD(BPF_W, 8, 10, -12),
		/* 36 */ STORE_IMM(10, -28, 128),
		/* 37 */ MAP(1, map6),
		/* 39 */ MOV_REG(2, 10),
		/* 40 */ ADD_IMM(2, -28),
		/* 41 */ XOR_REG(7, 8),
		/* 42 */ CALL(BPF_FUNC_map_lookup_elem),
		/* 43 */ JUMP(BPF_JEQ, 0, 0, 3),
		/* 44 */ LOAD(BPF_W, 0, 0, 0),
		/* 45 */ JUMP(BPF_JEQ, 0, STEER_BY_HASH, 1),
		/* 46 */ EXIT,
		/* 47 */ ALU_IMM(BPF_MUL, 7, (int32_t)0x9e3779b1),
		/* 48 */ ALU_IMM(BPF_RSH, 7, 24),
		/* 49 */ MOV_REG(0, 7),
		/* 50 */ EXIT,
		/* 51 */ MOV_IMM(0, 0),
		/* 52 */ EXIT,
	};
	union bpf_attr a = {0};

	a.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	a.insns = (uint64_t)(uintptr_t)insns;
	a.insn_cnt = ARRAY_SIZE(insns);
	a.license = (uint64_t)(uintptr_t) "MIT";
	memcpy(a.prog_name, "kkwg_steer", sizeof("kkwg_steer"));
	return bpf(BPF_PROG_LOAD, &a);
}

int steer_open(struct steer *s)
{
	int r;

	s->refused = false;
	s->program = -1;
	s->map4 = make_map(4);
	s->map6 = make_map(16);
	r = s->map4 < 0 ? s->map4 : s->map6 < 0 ? s->map6 : 0;
	if (r == 0)
		r = s->program = load_program(s->map4, s->map6);
	if (r < 0)
		steer_close(s);
	return r < 0 ? r : 0;
}

void steer_close(struct steer *s)
{
	s->program = kk_close(s->program);
	s->map4 = kk_close(s->map4);
	s->map6 = kk_close(s->map6);
}

int steer_attach(const struct steer *s, int tun_fd)
{
	int fd = s->program;

	return ioctl(tun_fd, TUNSETSTEERINGEBPF, &fd) < 0 ? -errno : 0;
}

static void change(struct steer *s, int command, const uint8_t *addr, uint8_t addr_len,
		   uint8_t bits, uint32_t worker)
{
	struct prefix key = {.bits = bits};
	union bpf_attr a = {0};
	int r;

	memcpy(key.addr, addr, addr_len);
	a.map_fd = (uint32_t)(addr_len == 4 ? s->map4 : s->map6);
	a.key = (uint64_t)(uintptr_t)&key;
	if (command == BPF_MAP_UPDATE_ELEM)
		a.value = (uint64_t)(uintptr_t)&worker;
	r = bpf(command, &a);
	if (r < 0 && r != -ENOENT && !s->refused) {
		s->refused = true;
		kk_warn("the kernel does not learn where packets go, which costs a detour: %s",
			strerror(-r));
	}
}

void steer_set(struct steer *s, const uint8_t *addr, uint8_t addr_len, uint8_t bits,
	       uint32_t worker)
{
	change(s, BPF_MAP_UPDATE_ELEM, addr, addr_len, bits, worker);
}

void steer_del(struct steer *s, const uint8_t *addr, uint8_t addr_len, uint8_t bits)
{
	change(s, BPF_MAP_DELETE_ELEM, addr, addr_len, bits, 0);
}
