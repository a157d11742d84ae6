// SPDX-License-Identifier: MIT
#include "gatewayd/part.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/list.h"
#include "util/cleanup.h"

/* Ids of services, in order and each once. */
struct ids {
	int64_t *items;
	size_t n;
};

static void ids_clean(struct ids *ids)
{
	free(ids->items);
}

static int compare_ids(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static bool has_id(const int64_t *ids, size_t n, int64_t id)
{
	return n && bsearch(&id, ids, n, sizeof(id), compare_ids);
}

/* The service that rule @id is of; 0: of all, or there is no such rule. */
static int64_t service_of(const struct kk_config *config, int64_t id)
{
	const struct kk_filter *rule =
		kk_list_find(config->rules, config->n_rules, sizeof(*config->rules), id);

	return rule ? rule->service : 0;
}

/* Services that are named, and those whose rules are. */
static int find_services(const struct kk_config *old, const struct kk_config *next, struct ids *ret)
{
	const struct kk_named *services = &next->named.services, *rules = &next->named.rules;
	size_t n = 0;

	ret->items = calloc(services->n + 2 * rules->n + 1, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	for (size_t i = 0; i < services->n; i++)
		ret->items[n++] = services->ids[i];
	for (size_t i = 0; i < rules->n; i++) {
		ret->items[n++] = service_of(old, rules->ids[i]);
		ret->items[n++] = service_of(next, rules->ids[i]);
	}
	qsort(ret->items, n, sizeof(*ret->items), compare_ids);
	for (size_t i = 0; i < n; i++)
		if (ret->items[i] && (!ret->n || ret->items[ret->n - 1] != ret->items[i]))
			ret->items[ret->n++] = ret->items[i];
	return 0;
}

/* An Agent that has another subnet now takes all of its services along, named or not. */
static bool an_agent_moved(const struct kk_config *old, const struct kk_config *next)
{
	for (size_t i = 0; i < next->named.agents.n; i++) {
		const struct kk_agent *a = kk_config_agent(old, next->named.agents.ids[i]);
		const struct kk_agent *b = kk_config_agent(next, next->named.agents.ids[i]);

		if (a && b &&
		    (a->subnet.addr.s_addr != b->subnet.addr.s_addr ||
		     a->subnet.len != b->subnet.len))
			return true;
	}
	return false;
}

static bool same_prefix(const struct kk_filter *a, const struct kk_filter *b)
{
	return a->service == b->service && kk_prefix_equal(&a->prefix, &b->prefix);
}

/* A rule of all services that is there as another already: that is for the whole to refuse. */
static bool is_twin(const struct kk_config *next, const struct kk_filter *rule)
{
	for (size_t i = 0; i < next->n_rules; i++)
		if (next->rules[i].id != rule->id && same_prefix(&next->rules[i], rule))
			return true;
	return false;
}

static int take_services(const struct kk_config *from, const struct ids *ids, struct kk_config *ret)
{
	ret->services = calloc(ids->n + 1, sizeof(*ret->services));
	ret->n_services = 0;
	for (size_t i = 0; i < ids->n && ret->services; i++) {
		const struct kk_service *s = kk_config_service(from, ids->items[i]);

		if (s)
			ret->services[ret->n_services++] = *s;
	}
	return ret->services ? 0 : -ENOMEM;
}

static bool is_part(const struct kk_filter *rule, const struct ids *ids,
		    const struct kk_named *named)
{
	return rule->service ? has_id(ids->items, ids->n, rule->service)
			     : has_id(named->ids, named->n, rule->id);
}

static int take_rules(const struct kk_config *from, const struct ids *ids,
		      const struct kk_named *named, struct kk_config *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < from->n_rules; i++)
		n += is_part(&from->rules[i], ids, named);
	ret->rules = calloc(n + 1, sizeof(*ret->rules));
	ret->n_rules = 0;
	for (size_t i = 0; i < from->n_rules && ret->rules && n; i++)
		if (is_part(&from->rules[i], ids, named))
			ret->rules[ret->n_rules++] = from->rules[i];
	return ret->rules ? 0 : -ENOMEM;
}

/* What @from has of all that is touched. */
static int take(const struct kk_config *from, const struct ids *ids, const struct kk_named *rules,
		struct kk_config *ret)
{
	*ret = *from;
	ret->services = NULL;
	ret->rules = NULL;
	return take_services(from, ids, ret) < 0 ? -ENOMEM : take_rules(from, ids, rules, ret);
}

static bool has_group(const struct kk_config *config)
{
	for (size_t i = 0; i < config->n_services; i++)
		if (config->services[i].n_agents > 1)
			return true;
	return false;
}

static bool has_twins(const struct kk_config *next, const struct kk_config *part)
{
	for (size_t i = 0; i < part->n_rules; i++)
		if (!part->rules[i].service && is_twin(next, &part->rules[i]))
			return true;
	return false;
}

int part_make(const struct kk_config *old, const struct kk_config *next, struct part *ret)
{
	KK_CLEANUP(part_clean) struct part part = {0};
	KK_CLEANUP(ids_clean) struct ids ids = {0};

	if (!old->generation || !next->named.by_delta || next->named.self ||
	    an_agent_moved(old, next))
		return 0;
	/* Each rule is looked for among all. */
	if (next->named.rules.n > PART_RULES_MAX)
		return 0;
	if (find_services(old, next, &ids) < 0)
		return -ENOMEM;
	if (ids.n > PART_SERVICES_MAX)
		return 0;
	if (take(old, &ids, &next->named.rules, &part.old) < 0 ||
	    take(next, &ids, &next->named.rules, &part.next) < 0)
		return -ENOMEM;
	if (has_twins(next, &part.next))
		return 0;
	part.agents = next->named.agents.n > 0;
	/* Those of a service go with it. */
	part.bans = next->named.bans.n > 0 || old->n_bans != next->n_bans;
	part.groups = has_group(&part.old) || has_group(&part.next);
	*ret = part;
	part = (struct part){0};
	return 1;
}

void part_clean(struct part *part)
{
	free(part->old.services);
	free(part->old.rules);
	free(part->next.services);
	free(part->next.rules);
	*part = (struct part){0};
}
