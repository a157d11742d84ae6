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

/* The pinned map of @map's name and shape, or a negative errno. */
static int open_pinned(const struct bpf_map *map, const char *dir)
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
	if (info.type != bpf_map__type(map) || info.key_size != bpf_map__key_size(map) ||
	    info.value_size != bpf_map__value_size(map) ||
	    info.max_entries != bpf_map__max_entries(map) ||
	    info.map_flags != bpf_map__map_flags(map))
		return -ESTALE;
	return kk_steal_fd(&fd);
}

static bool all_pinned(struct bpf_object *obj, const char *dir)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj) {
		KK_CLEANUP_CLOSE int fd = -1;

		if (!is_table(map))
			continue;
		fd = open_pinned(map, dir);
		if (fd < 0)
			return false;
	}
	return true;
}

int kk_tables_adopt(struct bpf_object *obj, const char *dir, struct kk_err *err)
{
	struct bpf_map *map;

	if (!all_pinned(obj, dir))
		return 0;
	bpf_object__for_each_map(map, obj) {
		KK_CLEANUP_CLOSE int fd = -1;

		if (!is_table(map))
			continue;
		fd = open_pinned(map, dir);
		if (fd < 0 || bpf_map__reuse_fd(map, fd) < 0)
			return kk_err_set(err, errno, NULL, "cannot take over table %s: %s",
					  bpf_map__name(map), strerror(errno));
	}
	return 1;
}

int kk_tables_pin(struct bpf_object *obj, const char *dir, struct kk_err *err)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj) {
		char path[PATH_MAX];

		if (!is_table(map))
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

static void *map_memory(struct bpf_object *obj, const char *name, size_t size, struct kk_err *err)
{
	int fd = map_fd(obj, name, err);
	void *memory;

	if (fd < 0)
		return NULL;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		kk_err_set(err, errno, NULL, "cannot map table %s: %s", name, strerror(errno));
		return NULL;
	}
	return memory;
}

#define LISTENERS_SIZE (KK_LISTENERS_PER_ADDRESS * sizeof(union kk_destination))
#define SERVICES_SIZE  (KK_SERVICES_MAX * sizeof(union kk_service_slot))

int kk_tables_init(struct kk_tables *ret, struct bpf_object *obj, struct kk_err *err)
{
	struct kk_tables tables = {
		.origins_fd = map_fd(obj, "kk_origins", err),
		.traffic_fd = map_fd(obj, "kk_traffic", err),
		.counters_fd = map_fd(obj, "kk_counters", err),
		.n_cpus = libbpf_num_possible_cpus(),
	};

	if (tables.origins_fd < 0 || tables.traffic_fd < 0 || tables.counters_fd < 0)
		return -ENOENT;
	if (tables.n_cpus < 0)
		return kk_err_set(err, -tables.n_cpus, NULL, "cannot count the CPUs: %s",
				  strerror(-tables.n_cpus));
	tables.listeners = map_memory(obj, "kk_listeners", LISTENERS_SIZE, err);
	tables.services = map_memory(obj, "kk_services", SERVICES_SIZE, err);
	if (!tables.listeners || !tables.services) {
		kk_tables_clean(&tables);
		return -ENOMEM;
	}
	*ret = tables;
	return 0;
}

void kk_tables_clean(struct kk_tables *tables)
{
	if (tables->listeners)
		munmap(tables->listeners, LISTENERS_SIZE);
	if (tables->services)
		munmap(tables->services, SERVICES_SIZE);
	tables->listeners = NULL;
	tables->services = NULL;
}

int kk_tables_list(const struct kk_tables *tables, struct in_addr address, struct kk_listener **ret,
		   struct kk_err *err)
{
	struct kk_listener *list = NULL;
	size_t n = 0;

	for (size_t i = 0; i < KK_LISTENERS_PER_ADDRESS; i++)
		n += tables->listeners[i].word != 0;
	list = calloc(n ? n : 1, sizeof(*list));
	if (!list)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	n = 0;
	for (size_t i = 0; i < KK_LISTENERS_PER_ADDRESS; i++) {
		union kk_destination to = tables->listeners[i];

		if (!to.word)
			continue;
		list[n++] = (struct kk_listener){
			.protocol = i < 65536 ? IPPROTO_TCP : IPPROTO_UDP,
			.address = address,
			.port = (uint16_t)i,
			.agent_address.s_addr = to.address,
			.agent_port = KK_HOST16(to.port),
			.service = tables->services[to.service % KK_SERVICES_MAX].id,
		};
	}
	*ret = list;
	return (int)n;
}
