/* SPDX-License-Identifier: GPL-2.0 */
/* What a tc program and its loader (lib/bpf/summed.c) agree on. */
#ifndef KK_BPF_KERN_SKB_H
#define KK_BPF_KERN_SKB_H

/*
 * A helper that there is not: the loader makes of its call one of the kfunc bpf_cast_to_kern_ctx(), where there is one. As an extern
 * symbol that would have to be known on every kernel that has BTF, and no kernel without BTF would load the program.
 */
#define KK_KERN_SKB_CALL 0x6b6b0001

#ifdef __bpf__
static void *(*const kk_kern_skb)(struct __sk_buff *skb) = (void *)KK_KERN_SKB_CALL;
#endif

#endif
