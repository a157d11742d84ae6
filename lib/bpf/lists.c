// SPDX-License-Identifier: MIT
#include "bpf/lists.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/address.h"
#include "util/cleanup.h"

#define LIST_BITS 32
#define IP4_BITS  96 /* of an IPv6 address, before an IPv4 one in it */

static struct kk_list_record record_of(uint32_t list, const struct kk_rule *rule)
{
	bool v6 = rule->prefix.addr.family == AF_INET6;

	return (struct kk_list_record){
		.key = {.prefix_len = LIST_BITS + (v6 ? 0 : IP4_BITS) + rule->prefix.len,
			.list = kk_list_number(list, v6 ? KK_IP6 : KK_IP4),
			.address = kk_in6_of(&rule->prefix.addr)},
		.value = {.verdict = rule->allow ? KK_LIST_ALLOW : KK_LIST_DENY},
	};
}

static struct kk_rule rule_of(const struct kk_list_record *record)
{
	bool v6 = KK_HOST32(record->key.list) & 1;
	struct kk_rule rule = {
		.prefix = {.addr = {.family = v6 ? AF_INET6 : AF_INET},
			   .len = (uint8_t)(record->key.prefix_len - LIST_BITS -
					    (v6 ? 0 : IP4_BITS))},
		.allow = record->value.verdict == KK_LIST_ALLOW,
	};

	if (v6)
		memcpy(rule.prefix.addr.bytes, &record->key.address, 16);
	else
		rule.prefix.addr.v4.s_addr = record->key.address.word[3];
	return rule;
}

const char *kk_list_record_text(const struct kk_list_record *record, char out[KK_PREFIX_TEXT])
{
	const struct kk_rule rule = rule_of(record);

	return kk_prefix_text(&rule.prefix, out);
}

static bool has_host_bits(const struct kk_prefix *prefix)
{
	uint32_t bits = prefix->addr.family == AF_INET ? 32 : 128;

	for (uint32_t i = prefix->len; i < bits; i++)
		if (prefix->addr.bytes[i / 8] & 0x80 >> i % 8)
			return true;
	return false;
}

static int check_rule(uint32_t list, const struct kk_rule *rule, struct kk_err *err)
{
	const struct kk_prefix *prefix = &rule->prefix;
	char text[KK_PREFIX_TEXT];

	if ((prefix->addr.family != AF_INET && prefix->addr.family != AF_INET6) ||
	    prefix->len > (prefix->addr.family == AF_INET ? 32 : 128))
		return kk_err_set(err, EINVAL, "prefix", "list %u: that is no prefix: %s", list,
				  kk_prefix_text(prefix, text));
	if (has_host_bits(prefix))
		return kk_err_set(err, EINVAL, "prefix", "list %u: prefix %s has host bits", list,
				  kk_prefix_text(prefix, text));
	if (prefix->addr.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&prefix->addr.v6))
		return kk_err_set(err, EINVAL, "prefix",
				  "list %u: prefix %s is one of IPv4 and has to be written so",
				  list, kk_prefix_text(prefix, text));
	if (list == KK_LIST_GATEWAY && rule->allow)
		return kk_err_set(err, EINVAL, "prefix",
				  "the gateway's own list denies and cannot allow %s",
				  kk_prefix_text(prefix, text));
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

uint32_t kk_list_record_list(const struct kk_list_record *record)
{
	return KK_HOST32(record->key.list) >> 1;
}

static int check_ids(const struct kk_list *lists, size_t n, struct kk_err *err)
{
	KK_CLEANUP_FREE uint32_t *ids = calloc(n ? n : 1, sizeof(*ids));

	if (!ids)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < n; i++)
		ids[i] = lists[i].id;
	qsort(ids, n, sizeof(*ids), compare_ids);
	for (size_t i = 1; i < n; i++)
		if (ids[i] == ids[i - 1])
			return kk_err_set(err, EEXIST, "list", "list %u is there twice", ids[i]);
	if (n && ids[n - 1] > KK_LIST_ID_MAX)
		return kk_err_set(err, EINVAL, "list", "list %u: the greatest number is %u",
				  ids[n - 1], KK_LIST_ID_MAX);
	return 0;
}

int kk_list_record_twice(const struct kk_list_record *record, struct kk_err *err)
{
	char text[KK_PREFIX_TEXT];

	return kk_err_set(err, EEXIST, "prefix", "list %u has %s twice",
			  kk_list_record_list(record), kk_list_record_text(record, text));
}

int kk_lists_too_many(size_t n, struct kk_err *err)
{
	return kk_err_set(err, ENOSPC, "lists",
			  "%zu prefixes are more than the %d that a gateway takes", n,
			  KK_LIST_ENTRIES_MAX);
}

int kk_lists_records(const struct kk_list *lists, size_t n, struct kk_list_record **ret,
		     struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_list_record *records = NULL;
	size_t total = 0, at = 0;
	int r = check_ids(lists, n, err);

	for (size_t i = 0; i < n; i++)
		total += lists[i].n_rules;
	if (r == 0 && total > KK_LIST_ENTRIES_MAX)
		r = kk_lists_too_many(total, err);
	if (r < 0)
		return r;
	records = calloc(total ? total : 1, sizeof(*records));
	if (!records)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < lists[i].n_rules; j++) {
			r = check_rule(lists[i].id, &lists[i].rules[j], err);
			if (r < 0)
				return r;
			records[at++] = record_of(lists[i].id, &lists[i].rules[j]);
		}
	*ret = KK_STEAL(records);
	return (int)total;
}

static int compare_lists(const void *a, const void *b)
{
	const struct kk_list_record *x = a, *y = b;
	int c = memcmp(&x->key.list, &y->key.list, sizeof(x->key.list));

	if (c == 0)
		c = memcmp(&x->key.address, &y->key.address, sizeof(x->key.address));
	return c ? c
		 : (x->key.prefix_len > y->key.prefix_len) -
			       (x->key.prefix_len < y->key.prefix_len);
}

int kk_lists_make(const struct kk_list_record *records, size_t n, struct kk_list **ret,
		  struct kk_err *err)
{
	KK_CLEANUP_FREE struct kk_list_record *sorted = calloc(n ? n : 1, sizeof(*sorted));
	struct kk_list *lists = calloc(1, (n ? n : 1) * (sizeof(*lists) + sizeof(struct kk_rule)));
	struct kk_rule *rules = lists ? (struct kk_rule *)(lists + n) : NULL;
	size_t n_lists = 0;

	if (!sorted || !lists) {
		free(lists);
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	}
	if (n)
		memcpy(sorted, records, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_lists);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 ||
		    kk_list_record_list(&sorted[i]) != kk_list_record_list(&sorted[i - 1]))
			lists[n_lists++] = (struct kk_list){.id = kk_list_record_list(&sorted[i]),
							    .rules = &rules[i]};
		rules[i] = rule_of(&sorted[i]);
		lists[n_lists - 1].n_rules++;
	}
	*ret = lists;
	return (int)n_lists;
}
