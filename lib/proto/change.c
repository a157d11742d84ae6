// SPDX-License-Identifier: MIT
/* From one configuration to the next, by a snapshot or a delta. */
#include "proto/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/list.h"
#include "proto/objects.h"
#include "util/json.h"

struct message {
	const char *type, *epoch;
	int64_t from, generation;
	json_t *self, *put, *remove;
};

static const struct kk_json_field message_fields[] = {
	KK_JSON_FIELD("type", KK_JSON_STRING, KK_JSON_REQUIRED, struct message, type, .max = 32),
	KK_JSON_FIELD("epoch", KK_JSON_STRING, 0, struct message, epoch, .min = 1, .max = 39),
	KK_JSON_FIELD("from", KK_JSON_INT, 0, struct message, from, .min = 0, .max = INT64_MAX),
	KK_JSON_FIELD("generation", KK_JSON_INT, KK_JSON_REQUIRED, struct message, generation,
		      .min = 1, .max = INT64_MAX),
	KK_JSON_FIELD("self", KK_JSON_ANY, 0, struct message, self),
	KK_JSON_FIELD("put", KK_JSON_ANY, 0, struct message, put),
	KK_JSON_FIELD("remove", KK_JSON_ANY, 0, struct message, remove),
};

static bool is_agent(const struct kk_self *self)
{
	return self->subnet.len != 0;
}

/* What holds between a service and the rest of @config, which the service alone does not show. */
static int check_service(const struct kk_config *config, const struct kk_service *s,
			 struct kk_err *err)
{
	if (is_agent(&config->self)) {
		if (!s->target[0])
			return kk_err_set(err, EINVAL, "target", "service %s: target: is missing",
					  s->name);
		return 0;
	}
	if (!s->n_agents)
		return kk_err_set(err, EINVAL, "agent", "service %s: agent: is missing", s->name);
	for (size_t i = 0; i < s->n_agents; i++)
		if (!kk_config_agent(config, s->agents[i]))
			return kk_err_set(err, EINVAL, "agent",
					  "service %s: agent: there is no Agent with id %lld",
					  s->name, (long long)s->agents[i]);
	return 0;
}

static int check_services(const struct kk_config *config, const struct kk_service *services,
			  size_t n, struct kk_err *err)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = check_service(config, &services[i], err);
	return r;
}

/* A list of a configuration, whatever it is of. */
struct place {
	const struct kk_object_kind *kind;
	size_t list, n, named; /* offsets into struct kk_config */
};

#define PLACE(name_)                                                                               \
	{                                                                                          \
		&kk_object_##name_, offsetof(struct kk_config, name_),                             \
			offsetof(struct kk_config, n_##name_),                                     \
			offsetof(struct kk_config, named.name_)                                    \
	}
static const struct place places[] = {PLACE(gateways), PLACE(agents), PLACE(services), PLACE(rules),
				      PLACE(bans)};
enum {
	GATEWAYS,
	AGENTS,
	SERVICES,
	RULES,
	BANS,
};

static void **list_of(const struct kk_config *config, const struct place *place)
{
	return (void **)((char *)config + place->list);
}

static size_t *length_of(const struct kk_config *config, const struct place *place)
{
	return (size_t *)((char *)config + place->n);
}

static struct kk_named *named_of(const struct kk_config *config, const struct place *place)
{
	return (struct kk_named *)((char *)config + place->named);
}

/* A service's rules and bans go with it, and nobody tells so. */
static void drop_orphans(struct kk_config *config)
{
	size_t n = 0;

	for (size_t i = 0; i < config->n_rules; i++)
		if (!config->rules[i].service ||
		    kk_config_service(config, config->rules[i].service))
			config->rules[n++] = config->rules[i];
	config->n_rules = n;
	n = 0;
	for (size_t i = 0; i < config->n_bans; i++)
		if (!config->bans[i].service || kk_config_service(config, config->bans[i].service))
			config->bans[n++] = config->bans[i];
	config->n_bans = n;
}

static int read_snapshot(const json_t *msg, const struct message *m, struct kk_config *config,
			 struct kk_err *err)
{
	int r;

	if (!m->epoch)
		return kk_err_set(err, EINVAL, "epoch", "epoch: is missing");
	if (!m->self)
		return kk_err_set(err, EINVAL, "self", "self: is missing");
	strcpy(config->epoch, m->epoch);
	r = kk_object_self(m->self, &config->self, err);
	for (size_t i = 0; i < ARRAY_SIZE(places) && r == 0; i++)
		r = kk_object_list(msg, places[i].kind, list_of(config, &places[i]),
				   length_of(config, &places[i]), err);
	if (r == 0)
		r = check_services(config, config->services, config->n_services, err);
	if (r == 0)
		drop_orphans(config);
	return r;
}

/* What a delta does to one list; both in order of id. */
struct change {
	void *put;
	int64_t *remove;
	size_t n_put, n_remove;
};

static void change_clean(struct change *change)
{
	free(change->put);
	free(change->remove);
}

/* Reads @ret from @m and makes the list of @config at @place, which is empty so far, from @old's with it. */
static int change_list(const struct message *m, const struct place *place,
		       const struct kk_config *old, struct change *ret, struct kk_config *config,
		       struct kk_err *err)
{
	struct kk_named *named = named_of(config, place);
	void **list = list_of(config, place);
	size_t *n = length_of(config, place);
	int r = kk_object_list(m->put, place->kind, &ret->put, &ret->n_put, err);

	if (r == 0)
		r = kk_object_ids(m->remove, place->kind, &ret->remove, &ret->n_remove, err);
	if (r < 0)
		return r;
	*list = kk_list_merge(*list_of(old, place), *length_of(old, place), ret->put, ret->n_put,
			      ret->remove, ret->n_remove, place->kind->size, n);
	named->ids = kk_list_named(ret->put, ret->n_put, ret->remove, ret->n_remove,
				   place->kind->size, &named->n);
	if (!*list || !named->ids)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	if (*n > place->kind->max)
		return kk_err_set(err, EINVAL, place->kind->name,
				  "%s: %zu are too many, %zu at most", place->kind->name, *n,
				  place->kind->max);
	return 0;
}

static int check_delta(const struct kk_config *old, const struct message *m, struct kk_err *err)
{
	if (m->epoch && strcmp(m->epoch, old->epoch) != 0)
		return kk_err_set(err, ESTALE, "epoch", "epoch: the delta is of another epoch");
	if (!old->epoch[0] || m->from != old->generation)
		return kk_err_set(err, ESTALE, "from",
				  "from: the delta begins at generation %lld, this is %lld",
				  (long long)m->from, (long long)old->generation);
	if (m->generation < m->from)
		return kk_err_set(err, EINVAL, "generation",
				  "generation: %lld is before %lld, where the delta begins",
				  (long long)m->generation, (long long)m->from);
	if (m->put && !json_is_object(m->put))
		return kk_err_set(err, EINVAL, "put", "put: a JSON object is wanted here");
	if (m->remove && !json_is_object(m->remove))
		return kk_err_set(err, EINVAL, "remove", "remove: a JSON object is wanted here");
	return 0;
}

/* @changes has one for each of the places, and is cleaned by the caller. */
static int change_lists(const struct kk_config *old, const struct message *m,
			struct kk_config *config, struct change *changes, struct kk_err *err)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(places) && r == 0; i++)
		r = change_list(m, &places[i], old, &changes[i], config, err);
	if (r < 0)
		return r;
	if (changes[SERVICES].n_remove || changes[RULES].n_put || changes[BANS].n_put)
		drop_orphans(config);
	/* Services that stay as they are can only have lost their Agent. */
	if (changes[AGENTS].n_remove)
		return check_services(config, config->services, config->n_services, err);
	return check_services(config, changes[SERVICES].put, changes[SERVICES].n_put, err);
}

static int read_delta(const struct kk_config *old, const struct message *m,
		      struct kk_config *config, struct kk_err *err)
{
	const json_t *self = json_object_get(m->put, "self");
	struct change changes[ARRAY_SIZE(places)] = {0};
	int r;

	r = check_delta(old, m, err);
	if (r < 0)
		return r;
	strcpy(config->epoch, old->epoch);
	config->self = old->self;
	config->named.by_delta = true;
	config->named.self = self;
	if (self)
		r = kk_object_self(self, &config->self, err);
	if (r < 0)
		return r;
	if (is_agent(&config->self) != is_agent(&old->self))
		return kk_err_set(err, EINVAL, "self", "self: a node cannot change its role");
	r = change_lists(old, m, config, changes, err);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		change_clean(&changes[i]);
	return r;
}

int kk_config_next(const struct kk_config *old, const json_t *msg, struct kk_config *ret,
		   struct kk_err *err)
{
	struct message m = {.from = -1};
	KK_CLEANUP(kk_config_clean) struct kk_config config = {0};
	int r;

	r = kk_json_read_lax(msg, message_fields, ARRAY_SIZE(message_fields), &m, err);
	if (r < 0)
		return -EINVAL; /* -ERANGE too: the caller tells apart only stale and bad */
	if (strcmp(m.type, "snapshot") == 0)
		r = read_snapshot(msg, &m, &config, err);
	else if (strcmp(m.type, "delta") == 0)
		r = read_delta(old, &m, &config, err);
	else
		return kk_err_set(err, EINVAL, "type", "type: \"%s\" is neither snapshot nor delta",
				  m.type);
	if (r < 0)
		return r == -ESTALE || r == -ENOMEM ? r : -EINVAL;
	config.generation = m.generation;
	*ret = config;
	config = (struct kk_config){0};
	return 0;
}
