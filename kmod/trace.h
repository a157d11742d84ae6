/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints, in the order in which a packet meets them. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kakuremichi

#if !defined(KK_KMOD_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KK_KMOD_TRACE_H

#include <linux/skbuff.h>
#include <linux/tracepoint.h>

#include <kk/core/reasons.h>

TRACE_EVENT(kk_forward, TP_PROTO(const struct sk_buff *skb, int direction, int reason),
	    TP_ARGS(skb, direction, reason),
	    TP_STRUCT__entry(__field(const void *, skb) __field(unsigned int, len)
				     __field(int, direction) __field(int, reason)),
	    TP_fast_assign(__entry->skb = skb; __entry->len = skb->len;
			   __entry->direction = direction; __entry->reason = reason;),
	    TP_printk("skb=%p len=%u %s reason=%d", __entry->skb, __entry->len,
		      __entry->direction == KK_INBOUND ? "inbound" : "outbound", __entry->reason));

TRACE_EVENT(kk_no_route, TP_PROTO(const struct sk_buff *skb, long error), TP_ARGS(skb, error),
	    TP_STRUCT__entry(__field(const void *, skb) __field(long, error)),
	    TP_fast_assign(__entry->skb = skb; __entry->error = error;),
	    TP_printk("skb=%p error=%ld", __entry->skb, __entry->error));

TRACE_EVENT(kk_flows_turn, TP_PROTO(unsigned int looked, unsigned int gone), TP_ARGS(looked, gone),
	    TP_STRUCT__entry(__field(unsigned int, looked) __field(unsigned int, gone)),
	    TP_fast_assign(__entry->looked = looked; __entry->gone = gone;),
	    TP_printk("looked=%u gone=%u", __entry->looked, __entry->gone));

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH kmod
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
