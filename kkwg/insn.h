/* SPDX-License-Identifier: MIT */
/* eBPF instructions, and the system call that loads them. */
#ifndef KKWG_INSN_H
#define KKWG_INSN_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/bpf.h>

/* Returns what the command returns, a descriptor as a rule, or -errno. */
static inline int insn_bpf(int command, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return r < 0 ? -errno : (int)r;
}

#define INSN(code_, dst_, src_, off_, imm_)                                                        \
	{                                                                                          \
		.code = (code_), .dst_reg = (dst_), .src_reg = (src_), .off = (off_),              \
		.imm = (imm_)                                                                      \
	}
#define MOV_REG(dst, src)     INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define MOV_IMM(dst, imm)     INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm)
#define ALU_IMM(op, dst, imm) INSN(BPF_ALU | (op) | BPF_K, dst, 0, 0, imm)
#define ADD_IMM(dst, imm)     INSN(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, imm)
#define ADD_REG(dst, src)     INSN(BPF_ALU64 | BPF_ADD | BPF_X, dst, src, 0, 0)
#define XOR_REG(dst, src)     INSN(BPF_ALU64 | BPF_XOR | BPF_X, dst, src, 0, 0)
/* Little endian to that of the machine, 32 bits. */
#define FROM_LE32(dst)		  INSN(BPF_ALU | BPF_END | BPF_TO_LE, dst, 0, 0, 32)
#define LOAD(size, dst, src, off) INSN(BPF_LDX | (size) | BPF_MEM, dst, src, off, 0)
#define STORE_IMM(dst, off, imm)  INSN(BPF_ST | BPF_W | BPF_MEM, dst, 0, off, imm)
#define JUMP(op, dst, imm, off)	  INSN(BPF_JMP | (op) | BPF_K, dst, 0, off, imm)
#define GOTO(off)		  INSN(BPF_JMP | BPF_JA, 0, 0, off, 0)
#define CALL(function)		  INSN(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define EXIT			  INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define MAP(dst, fd)                                                                               \
	INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)
/* The address of the only value of an array. */
#define MAP_VALUE(dst, fd)                                                                         \
	INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_VALUE, 0, fd), INSN(0, 0, 0, 0, 0)
/* Copies @len bytes of the packet of r6 from @from to the stack; r0 is not 0 where they are not there. */
#define LOAD_BYTES(from, to, len)                                                                  \
	MOV_REG(1, 6), MOV_IMM(2, from), MOV_REG(3, 10), ADD_IMM(3, to), MOV_IMM(4, len),          \
		CALL(BPF_FUNC_skb_load_bytes)

#endif
