// SPDX-License-Identifier: GPL-2.0
#include "kmod/trial.h"

#include <linux/jhash.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "kmod/module.h"

#define KEY_MAX	  sizeof(struct kk_fragment_key)
#define VALUE_MAX sizeof(struct kk_snat_flow)

struct left {
	struct hlist_node node;
	u8 kind;
	u8 key[KEY_MAX]; /* the rest zero */
	u64 value[VALUE_MAX / sizeof(u64)];
};

struct kk_trial *kk_trial_new(void)
{
	return kvzalloc(sizeof(struct kk_trial), KK_GFP);
}

void kk_trial_free(struct kk_trial *trial)
{
	struct hlist_node *next;
	struct left *left;

	if (!trial)
		return;
	for (int i = 0; i < KK_TRIAL_HEADS; i++)
		hlist_for_each_entry_safe(left, next, &trial->heads[i], node) kfree(left);
	kvfree(trial);
}

static struct hlist_head *head_of(struct kk_trial *trial, enum kk_trial_kind kind, const void *key,
				  size_t len)
{
	return &trial->heads[jhash(key, len, kind) % KK_TRIAL_HEADS];
}

void *kk_trial_find(struct kk_trial *trial, enum kk_trial_kind kind, const void *key, size_t len)
{
	struct left *left;

	hlist_for_each_entry(left, head_of(trial, kind, key, len),
			     node) if (left->kind == kind &&
				       !memcmp(left->key, key, len)) return left->value;
	return NULL;
}

void *kk_trial_put(struct kk_trial *trial, enum kk_trial_kind kind, const void *key, size_t len,
		   const void *value, size_t size)
{
	void *found = kk_trial_find(trial, kind, key, len);
	struct left *left;

	if (WARN_ON_ONCE(len > KEY_MAX || size > VALUE_MAX))
		return NULL;
	if (!found) {
		left = kzalloc(sizeof(*left), GFP_ATOMIC | __GFP_NOWARN);
		if (!left)
			return NULL;
		left->kind = kind;
		memcpy(left->key, key, len);
		hlist_add_head(&left->node, head_of(trial, kind, key, len));
		found = left->value;
	}
	if (value)
		memcpy(found, value, size);
	else
		memset(found, 0, size);
	return found;
}

struct kk_source *kk_trial_source(struct kk_trial *trial, enum kk_trial_kind kind,
				  struct kk_sources *sources, const struct kk_source_key *key)
{
	struct kk_source *found = kk_trial_find(trial, kind, key, sizeof(*key));

	if (found)
		return found;
	return kk_trial_put(trial, kind, key, sizeof(*key), kk_sources_get(sources, key, false),
			    sizeof(*found));
}

struct kk_snat_flow *kk_trial_flow(struct kk_trial *trial, struct kk_flows *flows,
				   const struct kk_snat_key *key)
{
	struct kk_snat_flow *found = kk_trial_find(trial, KK_TRIAL_FLOW, key, sizeof(*key));
	const struct kk_flow_entry *entry;

	if (found)
		return found;
	entry = kk_flows_find(flows, key);
	return entry ? kk_trial_put(trial, KK_TRIAL_FLOW, key, sizeof(*key), &entry->flow,
				    sizeof(*found))
		     : NULL;
}

struct kk_flood *kk_trial_flood(struct kk_trial *trial, const struct kk_service *service)
{
	struct kk_flood *found =
		kk_trial_find(trial, KK_TRIAL_FLOOD, &service->slot, sizeof(service->slot));

	if (found)
		return found;
	return kk_trial_put(trial, KK_TRIAL_FLOOD, &service->slot, sizeof(service->slot),
			    &service->flood, sizeof(*found));
}
