// SPDX-License-Identifier: MIT
#include "bpf/tables.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <bpf/bpf.h>

#include <kk/core/sieve_types.h>

#include "bpf/sieve.h"
#include "bpf/uses.h"
#include "util/cleanup.h"

/* The constants of the programs are a map to libbpf too, one that belongs to each load. */
static bool is_table(const struct bpf_map *map)
{
	return !bpf_map__is_internal(map);
}

static int pin_path(char path[PATH_MAX], const char *dir, const struct bpf_map *map)
{
	return snprintf(path, PATH_MAX, "%s/%s", dir, bpf_map__name(map)) < PATH_MAX
		       ? 0
		       : -ENAMETOOLONG;
}

/* The one whose size depends on the settings. */
static bool is_listeners(const struct bpf_map *map)
{
	return strcmp(bpf_map__name(map), "kk_listeners") == 0;
}

static bool same_shape(const struct bpf_map *map, const struct bpf_map_info *info)
{
	if (info->type != bpf_map__type(map) || info->key_size != bpf_map__key_size(map) ||
	    info->value_size != bpf_map__value_size(map) ||
	    info->map_flags != bpf_map__map_flags(map))
		return false;
	if (is_listeners(map))
		return info->max_entries % KK_LISTENERS_PER_ADDRESS == 0;
	return info->max_entries == bpf_map__max_entries(map);
}

/* The pinned map of @map's name and shape, or a negative errno. */
static int open_pinned(const struct bpf_map *map, const char *dir, uint32_t *ret_entries)
{
	KK_CLEANUP_CLOSE int fd = -1;
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	char path[PATH_MAX];

	if (pin_path(path, dir, map) < 0)
		return -ENAMETOOLONG;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	if (!same_shape(map, &info))
		return -ESTALE;
	*ret_entries = info.max_entries;
	return kk_steal_fd(&fd);
}

static bool all_pinned(struct bpf_object *obj, const char *dir)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj) {
		KK_CLEANUP_CLOSE int fd = -1;
		uint32_t entries;

		if (!is_table(map))
			continue;
		fd = open_pinned(map, dir, &entries);
		if (fd < 0)
			return false;
	}
	return true;
}

static int adopt_map(struct bpf_map *map, const char *dir, uint32_t n_slots, bool *ret_resized)
{
	uint32_t entries, wanted = n_slots * KK_LISTENERS_PER_ADDRESS;
	KK_CLEANUP_CLOSE int fd = open_pinned(map, dir, &entries);

	if (fd < 0)
		return fd;
	if (is_listeners(map) && n_slots && entries != wanted) {
		*ret_resized = true;
		return 0; /* of the new size already */
	}
	return bpf_map__reuse_fd(map, fd) < 0 ? -errno : 0;
}

static int size_table(struct bpf_object *obj, const char *name, uint32_t entries,
		      struct kk_err *err)
{
	struct bpf_map *map = bpf_object__find_map_by_name(obj, name);

	if (!map || bpf_map__set_max_entries(map, entries))
		return kk_err_set(err, EINVAL, NULL, "the BPF object has no map %s", name);
	return 0;
}

int kk_tables_size(struct bpf_object *obj, uint32_t n_slots, struct kk_err *err)
{
	int n_cpus = libbpf_num_possible_cpus(), r = 0;

	if (n_cpus < 0)
		return kk_err_set(err, -n_cpus, NULL, "cannot count the CPUs: %s",
				  strerror(-n_cpus));
	if (n_slots)
		r = size_table(obj, "kk_listeners", n_slots * KK_LISTENERS_PER_ADDRESS, err);
	return r < 0 ? r
		     : size_table(obj, "kk_traffic", (uint32_t)n_cpus * KK_TRAFFIC_PER_CPU, err);
}

int kk_tables_adopt(struct bpf_object *obj, const char *dir, uint32_t n_slots, bool *ret_resized,
		    struct kk_err *err)
{
	struct bpf_map *map;
	int r = kk_tables_size(obj, n_slots, err);

	*ret_resized = false;
	if (r < 0)
		return r;
	if (!all_pinned(obj, dir))
		return 0;
	bpf_object__for_each_map(map, obj) {
		r = is_table(map) ? adopt_map(map, dir, n_slots, ret_resized) : 0;
		if (r < 0)
			return kk_err_set(err, -r, NULL, "cannot take over table %s: %s",
					  bpf_map__name(map), strerror(-r));
	}
	return 1;
}

int kk_tables_pin(struct bpf_object *obj, const char *dir, bool resized, struct kk_err *err)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj) {
		char path[PATH_MAX];

		if (!is_table(map) || (resized && !is_listeners(map)))
			continue;
		if (pin_path(path, dir, map) < 0)
			return kk_err_set(err, ENAMETOOLONG, "pin-dir", "path %s is too long", dir);
		if (unlink(path) < 0 && errno != ENOENT)
			return kk_err_set(err, errno, "pin-dir", "cannot replace %s: %s", path,
					  strerror(errno));
		if (bpf_obj_pin(bpf_map__fd(map), path) < 0)
			return kk_err_set(err, errno, "pin-dir", "cannot pin %s: %s", path,
					  strerror(errno));
	}
	return 0;
}

static int map_fd(struct bpf_object *obj, const char *name, struct kk_err *err)
{
	int fd = bpf_object__find_map_fd_by_name(obj, name);

	return fd < 0 ? kk_err_set(err, -fd, NULL, "the BPF object has no map %s", name) : fd;
}

static void *map_memory(int fd, const char *name, size_t size, struct kk_err *err)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED) {
		kk_err_set(err, errno, NULL, "cannot map table %s: %s", name, strerror(errno));
		return NULL;
	}
	return memory;
}

#define SLOT_SIZE (KK_LISTENERS_PER_ADDRESS * sizeof(__u64))

/* Tables of one size that are mapped whole. */
static const struct {
	const char *name;
	size_t size, offset;
} mapped[] = {
#define MAPPED(name_, n, member)                                                                   \
	{                                                                                          \
		name_, (n) * sizeof(*((struct kk_tables *)NULL)->member),                          \
			offsetof(struct kk_tables, member)                                         \
	}
	MAPPED("kk_services", KK_SERVICES_MAX, services),
	MAPPED("kk_groups", KK_GROUPS_MAX *KK_MAGLEV_SIZE, groups),
	MAPPED("kk_group_ids", KK_GROUPS_MAX, group_ids),
	MAPPED("kk_policies", KK_POLICIES_MAX, policies),
	MAPPED("kk_totals", KK_TRAFFIC_PER_CPU, totals),
	MAPPED("kk_features", 1, features),
	MAPPED("kk_floods", KK_SERVICES_MAX, floods),
	MAPPED("kk_sieve", KK_SIEVE_WORDS, sieve_words),
	MAPPED("kk_shut", 1 << KK_SHUT_BITS, shut),
#undef MAPPED
};

/* Where @tables has the address of the table with number @i. */
static void **mapping(struct kk_tables *tables, size_t i)
{
	return (void **)((char *)tables + mapped[i].offset);
}

/* How often @entries go into table @fd, or a negative errno. */
static int count_parts(int fd, uint32_t entries)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	return (int)(info.max_entries / entries);
}

#define TRAFFIC_SIZE (KK_TRAFFIC_PER_CPU * sizeof(__u64))

static int map_traffic(struct kk_tables *tables, struct bpf_object *obj, struct kk_err *err)
{
	int fd = map_fd(obj, "kk_traffic", err), n;

	if (fd < 0)
		return fd;
	n = count_parts(fd, KK_TRAFFIC_PER_CPU);
	if (n < tables->n_cpus)
		return kk_err_set(err, n < 0 ? -n : ESTALE, NULL,
				  "table kk_traffic has no room for %d CPUs", tables->n_cpus);
	tables->n_traffic = (uint32_t)n;
	tables->traffic = map_memory(fd, "kk_traffic", tables->n_traffic * TRAFFIC_SIZE, err);
	return tables->traffic ? 0 : -ENOMEM;
}

/* Family 0: there is none. */
static struct kk_address address_of(const struct kk_settings *set, uint32_t slot)
{
	struct kk_address address = {0};
	static const struct kk_in6 none;

	if (kk_slot_family(slot) == KK_IP4) {
		address.v4.s_addr = set->address4[slot / 2];
		address.family = address.v4.s_addr ? AF_INET : 0;
	} else {
		memcpy(address.bytes, &set->address6[slot / 2], sizeof(address.bytes));
		address.family = memcmp(address.bytes, &none, sizeof(none)) ? AF_INET6 : 0;
	}
	return address;
}

int kk_tables_slot(const struct kk_tables *tables, const struct kk_address *address)
{
	for (uint32_t slot = 0; slot < tables->n_slots && address->family; slot++) {
		struct kk_address managed = address_of(&tables->settings, slot);

		if (kk_address_equal(&managed, address))
			return (int)slot;
	}
	return -1;
}

int kk_tables_put_settings(const struct kk_tables *tables, struct kk_err *err)
{
	__u32 zero = 0;

	if (bpf_map_update_elem(tables->gateway_fd, &zero, &tables->settings, BPF_ANY) < 0)
		return kk_err_set(err, errno, NULL, "cannot write the table of settings: %s",
				  strerror(errno));
	return 0;
}

static int map_tables(struct kk_tables *tables, struct bpf_object *obj, struct kk_err *err)
{
	int listeners_fd = map_fd(obj, "kk_listeners", err);
	__u32 zero = 0;
	int r;

	if (listeners_fd < 0)
		return -ENOENT;
	r = count_parts(listeners_fd, KK_LISTENERS_PER_ADDRESS);
	if (r > KK_SLOTS_MAX)
		r = -ESTALE;
	if (r > 0 && bpf_map_lookup_elem(tables->gateway_fd, &zero, &tables->settings) < 0)
		r = -errno;
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot read the tables: %s", strerror(-r));
	tables->n_slots = (uint32_t)r;
	tables->listeners =
		map_memory(listeners_fd, "kk_listeners", tables->n_slots * SLOT_SIZE, err);
	if (!tables->listeners)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(mapped); i++) {
		int fd = map_fd(obj, mapped[i].name, err);
		void *memory = fd < 0 ? NULL : map_memory(fd, mapped[i].name, mapped[i].size, err);

		if (!memory)
			return -ENOMEM;
		*mapping(tables, i) = memory;
	}
	return map_traffic(tables, obj, err);
}

int kk_tables_init_readonly(struct kk_tables *ret, struct bpf_object *obj, struct kk_err *err)
{
	struct kk_tables tables = {
		.origins_fd = map_fd(obj, "kk_origins", err),
		.counters_fd = map_fd(obj, "kk_counters", err),
		.gateway_fd = map_fd(obj, "kk_gateway", err),
		.lists_fd = map_fd(obj, "kk_lists", err),
		.bans_fd = map_fd(obj, "kk_bans", err),
		.sources_fd = map_fd(obj, "kk_sources", err),
		.snat_fd = map_fd(obj, "kk_snat_flows", err),
		.fragments_fd = map_fd(obj, "kk_fragments", err),
		.verified_fd = map_fd(obj, "kk_verified", err),
		.relays_fd = map_fd(obj, "kk_relays", err),
		.place_fd = map_fd(obj, "kk_edge_place", err),
		.n_cpus = libbpf_num_possible_cpus(),
	};
	int r;

	if (tables.origins_fd < 0 || tables.counters_fd < 0 || tables.gateway_fd < 0 ||
	    tables.lists_fd < 0 || tables.bans_fd < 0 || tables.sources_fd < 0 ||
	    tables.snat_fd < 0 || tables.fragments_fd < 0 || tables.verified_fd < 0 ||
	    tables.relays_fd < 0 || tables.place_fd < 0)
		return -ENOENT;
	if (tables.n_cpus < 0)
		return kk_err_set(err, -tables.n_cpus, NULL, "cannot count the CPUs: %s",
				  strerror(-tables.n_cpus));
	r = map_tables(&tables, obj, err);
	if (r < 0) {
		kk_tables_clean(&tables);
		return r;
	}
	*ret = tables;
	return 0;
}

int kk_tables_init(struct kk_tables *ret, struct bpf_object *obj, struct kk_err *err)
{
	int r = kk_tables_init_readonly(ret, obj, err);

	if (r < 0)
		return r;
	r = kk_sieve_make(ret, err);
	if (r < 0)
		kk_tables_clean(ret);
	return r;
}

void kk_tables_clean(struct kk_tables *tables)
{
	kk_sieve_free(tables->sieve);
	tables->sieve = NULL;
	kk_uses_free(tables->uses);
	tables->uses = NULL;
	if (tables->listeners)
		munmap(tables->listeners, tables->n_slots * SLOT_SIZE);
	tables->listeners = NULL;
	if (tables->traffic)
		munmap(tables->traffic, tables->n_traffic * TRAFFIC_SIZE);
	tables->traffic = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(mapped); i++) {
		if (*mapping(tables, i))
			munmap(*mapping(tables, i), mapped[i].size);
		*mapping(tables, i) = NULL;
	}
}

void kk_tables_feature(struct kk_tables *tables, __u64 bits, bool on)
{
	if (on)
		__atomic_or_fetch(tables->features, bits, __ATOMIC_RELEASE);
	else
		__atomic_and_fetch(tables->features, ~bits, __ATOMIC_RELEASE);
}

#define TABLE(fd_, name_, field_, key_, value_, max_)                                              \
	((struct kk_table){.fd = (fd_),                                                            \
			   .name = "table of " name_,                                              \
			   .field = (field_),                                                      \
			   .key_size = sizeof(key_),                                               \
			   .value_size = sizeof(value_),                                           \
			   .max = (max_)})

struct kk_table kk_tables_origins(const struct kk_tables *tables)
{
	return TABLE(tables->origins_fd, "origins", "services", struct kk_origin_key,
		     struct kk_origin, KK_ORIGINS_MAX);
}

/* What the sieve goes by tells it. */
static struct kk_table watched(const struct kk_tables *tables, struct kk_table table,
			       void (*watch)(void *watcher, const void *key, int by))
{
	if (tables->sieve) {
		table.watch = watch;
		table.watcher = tables->sieve;
	}
	return table;
}

struct kk_table kk_tables_lists(const struct kk_tables *tables)
{
	return watched(tables,
		       TABLE(tables->lists_fd, "lists", "lists", struct kk_list_key,
			     struct kk_list_entry, KK_LIST_ENTRIES_MAX),
		       kk_sieve_list);
}

struct kk_table kk_tables_bans(const struct kk_tables *tables)
{
	return watched(
		tables,
		TABLE(tables->bans_fd, "bans", "bans", struct kk_ban_key, __u64, KK_BANS_MAX),
		kk_sieve_ban);
}

struct kk_table kk_tables_sources(const struct kk_tables *tables)
{
	return TABLE(tables->sources_fd, "sources", "sources", struct kk_source_key,
		     struct kk_source, KK_SOURCES_MAX);
}

struct kk_table kk_tables_snat(const struct kk_tables *tables)
{
	return TABLE(tables->snat_fd, "translated flows", "snat", struct kk_snat_key,
		     struct kk_snat_flow, KK_SNAT_FLOWS_MAX);
}

struct kk_table kk_tables_fragments(const struct kk_tables *tables)
{
	return TABLE(tables->fragments_fd, "fragments", NULL, struct kk_fragment_key,
		     struct kk_fragment, KK_FRAGMENTS_MAX);
}

struct kk_table kk_tables_verified(const struct kk_tables *tables)
{
	return TABLE(tables->verified_fd, "verified sources", NULL, struct kk_in6, uint64_t,
		     KK_VERIFIED_MAX);
}

struct kk_table kk_tables_relays(const struct kk_tables *tables)
{
	return TABLE(tables->relays_fd, "relayed sessions", NULL, struct kk_relay_key,
		     struct kk_relay, KK_RELAYS_MAX);
}

int kk_tables_carry_over(struct kk_tables *tables, const char *dir, struct kk_err *err)
{
	KK_CLEANUP_CLOSE int fd = -1;
	char path[PATH_MAX];
	uint32_t n_slots;
	void *old;
	int r;

	if (snprintf(path, sizeof(path), "%s/kk_listeners", dir) >= (int)sizeof(path))
		return kk_err_set(err, ENAMETOOLONG, "pin-dir", "path %s is too long", dir);
	fd = bpf_obj_get(path);
	r = fd < 0 ? -errno : count_parts(fd, KK_LISTENERS_PER_ADDRESS);
	if (r < 0)
		return kk_err_set(err, -r, NULL, "cannot read %s: %s", path, strerror(-r));
	n_slots = (uint32_t)r;
	old = map_memory(fd, "kk_listeners", n_slots * SLOT_SIZE, err);
	if (!old)
		return -ENOMEM;
	memcpy(tables->listeners, old,
	       (n_slots < tables->n_slots ? n_slots : tables->n_slots) * SLOT_SIZE);
	munmap(old, n_slots * SLOT_SIZE);
	return 0;
}

static struct kk_listener listener_at(const struct kk_tables *tables, size_t index)
{
	uint32_t slot = (uint32_t)(index / KK_LISTENERS_PER_ADDRESS);
	__u64 word = tables->listeners[index];
	struct kk_listener l = {
		.protocol = index % KK_LISTENERS_PER_ADDRESS < 65536 ? IPPROTO_TCP : IPPROTO_UDP,
		.address = address_of(&tables->settings, slot),
		.port = (uint16_t)index,
		.agent_port = kk_listener_port(word),
		.service = tables->services[kk_listener_service(word) % KK_SERVICES_MAX].id,
		.snat = word & KK_LISTENER_SNAT,
		.draining = word & KK_LISTENER_DRAINING,
	};

	if (word & KK_LISTENER_GROUP)
		l.group = (uint32_t)tables->group_ids[kk_listener_agent(word) % KK_GROUPS_MAX];
	else
		l.agent_address.s_addr = tables->settings.pool | KK_BE32(kk_listener_agent(word));
	return l;
}

int kk_tables_list(const struct kk_tables *tables, struct kk_listener **ret, struct kk_err *err)
{
	size_t size = tables->n_slots * KK_LISTENERS_PER_ADDRESS, n = 0;
	struct kk_listener *list;

	for (size_t i = 0; i < size; i++)
		n += tables->listeners[i] != 0;
	list = calloc(n ? n : 1, sizeof(*list));
	if (!list)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	n = 0;
	for (size_t i = 0; i < size; i++)
		if (tables->listeners[i])
			list[n++] = listener_at(tables, i);
	*ret = list;
	return (int)n;
}
