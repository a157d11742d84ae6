// SPDX-License-Identifier: MIT
#include "bpf/summed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/btf.h>
#include <linux/bpf.h>

#include "bpf/kern_skb.h"
#include "util/cleanup.h"

/* The bit that member @name has in the struct or union @type, through members without a name; -1: it is not there. */
static long bit_of(const struct btf *btf, const struct btf_type *type, const char *name)
{
	const struct btf_member *member = btf_members(type);

	for (__u32 i = 0; i < btf_vlen(type); i++) {
		const char *member_name = btf__name_by_offset(btf, member[i].name_off);
		const struct btf_type *inner;
		long bit = btf_member_bit_offset(type, i), rest;

		if (strcmp(member_name, name) == 0)
			return bit;
		inner = btf__type_by_id(btf, member[i].type);
		if (member_name[0] || !inner || !btf_is_composite(inner))
			continue;
		rest = bit_of(btf, inner, name);
		if (rest >= 0)
			return bit + rest;
	}
	return -1;
}

/* Calls of helper KK_KERN_SKB_CALL become calls of the kfunc with @id. Returns how many. */
static int put_kfunc(struct bpf_insn *insns, size_t n, int id)
{
	int calls = 0;

	for (size_t i = 0; i < n; i++) {
		if (insns[i].code != (BPF_JMP | BPF_CALL) || insns[i].src_reg != 0 ||
		    insns[i].imm != KK_KERN_SKB_CALL)
			continue;
		insns[i].src_reg = BPF_PSEUDO_KFUNC_CALL;
		insns[i].imm = id;
		calls++;
	}
	return calls;
}

static int replace(struct bpf_program *prog, int id)
{
	size_t n = bpf_program__insn_cnt(prog);
	KK_CLEANUP_FREE struct bpf_insn *insns = calloc(n, sizeof(*insns));

	if (!insns)
		return -ENOMEM;
	memcpy(insns, bpf_program__insns(prog), n * sizeof(*insns));
	return put_kfunc(insns, n, id) ? bpf_program__set_insns(prog, insns, n) : 0;
}

uint32_t kk_summed_prepare(struct bpf_object *obj)
{
	struct btf *btf = btf__load_vmlinux_btf();
	struct bpf_program *prog;
	long bit = -1;
	int skb, kfunc;

	if (libbpf_get_error(btf))
		return 0;
	skb = btf__find_by_name_kind(btf, "sk_buff", BTF_KIND_STRUCT);
	kfunc = btf__find_by_name_kind(btf, "bpf_cast_to_kern_ctx", BTF_KIND_FUNC);
	if (skb > 0 && kfunc > 0)
		bit = bit_of(btf, btf__type_by_id(btf, (__u32)skb), "ip_summed");
	btf__free(btf);
	if (bit <= 0 || bit % 8 > 6 || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
		return 0;
	for (prog = bpf_object__next_program(obj, NULL); prog;
	     prog = bpf_object__next_program(obj, prog))
		if (replace(prog, kfunc) < 0)
			return 0; /* then no such call is ever reached */
	return (uint32_t)bit;
}
