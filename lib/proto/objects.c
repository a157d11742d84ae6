// SPDX-License-Identifier: MIT
#include "proto/objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/list.h"
#include "util/json.h"

#define AGENT_SUBNET_LEN 24
#define POOL6_LEN	 96
#define BAN_SECONDS_MAX	 3153600000 /* a hundred years */

static const struct kk_err no_error;

struct id_name {
	int64_t id;
	const char *name;
};

#define ID_NAME_FIELDS                                                                             \
	KK_JSON_FIELD("id", KK_JSON_INT, KK_JSON_REQUIRED, struct fields, who.id, .min = 1,        \
		      .max = INT64_MAX),                                                           \
		KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, who.name,   \
			      .max = KK_NAME_MAX)

static int read_who(const struct id_name *who, int64_t *id, char name[KK_NAME_MAX + 1],
		    struct kk_err *err)
{
	int r = kk_parse_name("name", who->name, err);

	if (r < 0)
		return r;
	*id = who->id;
	strcpy(name, who->name);
	return 0;
}

/* Gateway .100 would be the Agent. */
static int read_index(int64_t number, uint8_t *ret, struct kk_err *err)
{
	if (number == KK_AGENT_HOST)
		return kk_err_set(err, EINVAL, "index", "index: %d is the Agent's, no gateway's",
				  KK_AGENT_HOST);
	*ret = (uint8_t)number;
	return 0;
}

static int read_subnet(const char *text, struct kk_prefix4 *ret, struct kk_err *err)
{
	struct kk_prefix4 subnet;
	int r = kk_parse_prefix4("subnet", text, &subnet, err);

	if (r < 0)
		return r;
	if (subnet.len != AGENT_SUBNET_LEN)
		return kk_err_set(err, EINVAL, "subnet", "subnet: \"%s\" is not a /%d", text,
				  AGENT_SUBNET_LEN);
	*ret = subnet;
	return 0;
}

static int read_key(const char *text, bool *has_key, uint8_t key[KK_KEY_LEN], struct kk_err *err)
{
	if (!text)
		return 0;
	if (kk_key_parse(text, key) < 0)
		return kk_err_set(err, EINVAL, "public_key",
				  "public_key: \"%.64s\" is not a WireGuard key", text);
	*has_key = true;
	return 0;
}

static int read_pool6(const char *text, struct kk_prefix *ret, struct kk_err *err)
{
	int r = text ? kk_parse_prefix("pool6", text, ret, err) : 0;

	if (r == 0 && text && (ret->addr.family != AF_INET6 || ret->len != POOL6_LEN))
		return kk_err_set(err, EINVAL, "pool6", "pool6: \"%s\" is not an IPv6 /%d", text,
				  POOL6_LEN);
	return r;
}

/* One Control knows no list of addresses but one, another sends both. */
static int read_addresses(const json_t *list, const char *only, struct kk_self *self,
			  struct kk_err *err)
{
	size_t i, of_family[2] = {0};
	json_t *item;

	if (!list) {
		self->n_addresses = 1;
		return kk_parse_address("address", only, &self->addresses[0], err);
	}
	if (!json_array_size(list) || json_array_size(list) > KK_GATEWAY_ADDRESSES_MAX)
		return kk_err_set(err, EINVAL, "addresses",
				  "addresses: a list of 1 to %d is wanted",
				  KK_GATEWAY_ADDRESSES_MAX);
	json_array_foreach((json_t *)list, i, item) {
		const char *text = json_string_value(item);
		int r = kk_parse_address("addresses", text ? text : "", &self->addresses[i], err);

		if (r < 0)
			return r;
		of_family[self->addresses[i].family == AF_INET6]++;
	}
	if (of_family[0] > KK_GATEWAY_ADDRESSES_MAX / 2 ||
	    of_family[1] > KK_GATEWAY_ADDRESSES_MAX / 2)
		return kk_err_set(err, EINVAL, "addresses",
				  "addresses: %d of one family are the most",
				  KK_GATEWAY_ADDRESSES_MAX / 2);
	self->n_addresses = json_array_size(list);
	return 0;
}

int kk_object_self(const json_t *obj, struct kk_self *ret, struct kk_err *err)
{
	struct fields {
		struct id_name who;
		int64_t index, wg_port;
		const char *address, *pool, *subnet, *pool6, *flow_key;
		json_t *addresses;
	} f = {0};
	static const struct kk_json_field fields[] = {
		ID_NAME_FIELDS,
		KK_JSON_FIELD("index", KK_JSON_INT, 0, struct fields, index, .min = 1, .max = 254),
		KK_JSON_FIELD("wg_port", KK_JSON_INT, 0, struct fields, wg_port, .min = 1,
			      .max = 65535),
		KK_JSON_FIELD("address", KK_JSON_STRING, 0, struct fields, address),
		KK_JSON_FIELD("pool", KK_JSON_STRING, 0, struct fields, pool),
		KK_JSON_FIELD("subnet", KK_JSON_STRING, 0, struct fields, subnet),
		KK_JSON_FIELD("pool6", KK_JSON_STRING, 0, struct fields, pool6),
		KK_JSON_FIELD("flow_key", KK_JSON_STRING, 0, struct fields, flow_key),
		KK_JSON_FIELD("addresses", KK_JSON_ANY, 0, struct fields, addresses),
	};
	struct kk_self self = {0};
	int r;

	r = kk_json_read_lax(obj, fields, ARRAY_SIZE(fields), &f, err);
	if (r == 0)
		r = read_who(&f.who, &self.id, self.name, err);
	if (r == 0)
		r = read_pool6(f.pool6, &self.pool6, err);
	if (r == 0 && f.flow_key && kk_unhex(f.flow_key, self.flow_key, KK_FLOW_KEY_LEN) < 0)
		r = kk_err_set(err, EINVAL, "flow_key", "flow_key: is not %d bytes in hex",
			       KK_FLOW_KEY_LEN);
	if (r < 0)
		return r;
	if (!f.subnet == !f.pool)
		return kk_err_set(err, EINVAL, "self",
				  "self: either subnet (an Agent) or pool (a gateway) is wanted");
	if (f.subnet) {
		r = read_subnet(f.subnet, &self.subnet, err);
	} else {
		if (!f.index || !f.wg_port || !f.address)
			return kk_err_set(err, EINVAL, "self",
					  "self: a gateway needs index, address and wg_port");
		self.wg_port = (uint16_t)f.wg_port;
		r = read_index(f.index, &self.index, err);
		if (r == 0)
			r = read_addresses(f.addresses, f.address, &self, err);
		if (r == 0)
			r = kk_parse_prefix4("pool", f.pool, &self.pool, err);
	}
	if (r < 0)
		return r;
	*ret = self;
	return 0;
}

static int read_endpoint(const char *text, union kk_sockaddr *ret, struct kk_err *err)
{
	struct kk_address address;
	char host[KK_ADDRESS_TEXT];
	uint16_t port;
	int r;

	r = kk_parse_hostport("endpoint", text, false, host, sizeof(host), &port, err);
	if (r == 0)
		r = kk_parse_address("endpoint", host, &address, err);
	if (r == 0)
		*ret = kk_sockaddr_make(&address, port);
	return r;
}

static int read_gateway(const json_t *obj, void *ret, struct kk_err *err)
{
	struct fields {
		struct id_name who;
		int64_t index;
		const char *endpoint, *public_key;
	} f = {0};
	static const struct kk_json_field fields[] = {
		ID_NAME_FIELDS,
		KK_JSON_FIELD("index", KK_JSON_INT, KK_JSON_REQUIRED, struct fields, index,
			      .min = 1, .max = 254),
		KK_JSON_FIELD("endpoint", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields,
			      endpoint),
		KK_JSON_FIELD("public_key", KK_JSON_STRING, KK_JSON_NULLABLE, struct fields,
			      public_key),
	};
	struct kk_gateway *gateway = ret;
	int r;

	r = kk_json_read_lax(obj, fields, ARRAY_SIZE(fields), &f, err);
	if (r == 0)
		r = read_who(&f.who, &gateway->id, gateway->name, err);
	if (r == 0)
		r = read_index(f.index, &gateway->index, err);
	if (r == 0)
		r = read_endpoint(f.endpoint, &gateway->endpoint, err);
	if (r == 0)
		r = read_key(f.public_key, &gateway->has_key, gateway->public_key, err);
	return r;
}

static int read_agent(const json_t *obj, void *ret, struct kk_err *err)
{
	struct fields {
		struct id_name who;
		const char *subnet, *public_key;
	} f = {0};
	static const struct kk_json_field fields[] = {
		ID_NAME_FIELDS,
		KK_JSON_FIELD("subnet", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, subnet),
		KK_JSON_FIELD("public_key", KK_JSON_STRING, KK_JSON_NULLABLE, struct fields,
			      public_key),
	};
	struct kk_agent *agent = ret;
	int r;

	r = kk_json_read_lax(obj, fields, ARRAY_SIZE(fields), &f, err);
	if (r == 0)
		r = read_who(&f.who, &agent->id, agent->name, err);
	if (r == 0)
		r = read_subnet(f.subnet, &agent->subnet, err);
	if (r == 0)
		r = read_key(f.public_key, &agent->has_key, agent->public_key, err);
	return r;
}

static int read_protocol(const char *text, uint8_t *ret, struct kk_err *err)
{
	if (strcmp(text, "tcp") == 0)
		*ret = IPPROTO_TCP;
	else if (strcmp(text, "udp") == 0)
		*ret = IPPROTO_UDP;
	else
		return kk_err_set(err, EINVAL, "protocol",
				  "protocol: \"%.64s\" is neither tcp nor udp", text);
	return 0;
}

/* One Agent as "agent", or several as "agents". */
static int read_agents(const json_t *list, int64_t only, struct kk_service *service,
		       struct kk_err *err)
{
	json_t *item;
	size_t i;

	service->agents[0] = only;
	service->n_agents = only != 0;
	if (!list)
		return 0;
	if (!json_array_size(list) || json_array_size(list) > KK_MEMBERS_MAX)
		return kk_err_set(err, EINVAL, "agents", "agents: a list of 1 to %d ids is wanted",
				  KK_MEMBERS_MAX);
	json_array_foreach((json_t *)list, i, item) {
		service->agents[i] = json_integer_value(item);
		if (service->agents[i] < 1 || (i && service->agents[i] <= service->agents[i - 1]))
			return kk_err_set(err, EINVAL, "agents",
					  "agents: are not ids in ascending order");
	}
	service->n_agents = json_array_size(list);
	return 0;
}

struct service_fields {
	struct id_name who;
	const char *protocol, *target, *address;
	int64_t port, last_port, agent_port, agent, limit_packets, limit_connections;
	bool proxy_protocol, draining, snat, shared;
	json_t *agents;
};

/* As many ports on the Agent as there are, and as many at the target, or one. */
static int check_ports(const struct service_fields *f, struct kk_err *err)
{
	char host[KK_TARGET_MAX];
	uint16_t first, last;
	int r;

	if (f->last_port < f->port)
		return kk_err_set(err, EINVAL, "last_port", "last_port: %lld is below port %lld",
				  (long long)f->last_port, (long long)f->port);
	if (f->agent_port + f->last_port - f->port > UINT16_MAX)
		return kk_err_set(err, EINVAL, "agent_port",
				  "agent_port: the range that begins at %lld ends above 65535",
				  (long long)f->agent_port);
	if (!f->target)
		return 0;
	r = kk_parse_hostports("target", f->target, false, host, sizeof(host), &first, &last, err);
	if (r == 0 && first != last && last - first != f->last_port - f->port)
		return kk_err_set(err, EINVAL, "target",
				  "target: \"%.200s\" has not as many ports as the service",
				  f->target);
	return r;
}

static int read_service(const json_t *obj, void *ret, struct kk_err *err)
{
	struct service_fields f = {0};
#define FIELD(name, type, flags, ...)                                                              \
	KK_JSON_FIELD(#name, type, flags, struct service_fields, name, ##__VA_ARGS__)
#define PORT(name, flags) FIELD(name, KK_JSON_INT, flags, .min = 1, .max = 65535)
	static const struct kk_json_field fields[] = {
		KK_JSON_FIELD("id", KK_JSON_INT, KK_JSON_REQUIRED, struct service_fields, who.id,
			      .min = 1, .max = INT64_MAX),
		KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct service_fields,
			      who.name, .max = KK_NAME_MAX),
		FIELD(protocol, KK_JSON_STRING, KK_JSON_REQUIRED),
		PORT(port, KK_JSON_REQUIRED),
		PORT(last_port, 0),
		PORT(agent_port, KK_JSON_REQUIRED),
		FIELD(agent, KK_JSON_INT, 0, .min = 1, .max = INT64_MAX),
		FIELD(agents, KK_JSON_ANY, 0),
		FIELD(target, KK_JSON_STRING, 0, .max = KK_TARGET_MAX - 1),
		FIELD(proxy_protocol, KK_JSON_BOOL, 0),
		FIELD(address, KK_JSON_STRING, 0),
		FIELD(limit_packets, KK_JSON_INT, 0, .min = 0, .max = UINT32_MAX),
		FIELD(limit_connections, KK_JSON_INT, 0, .min = 0, .max = UINT32_MAX),
		FIELD(draining, KK_JSON_BOOL, 0),
		FIELD(snat, KK_JSON_BOOL, 0),
		FIELD(shared, KK_JSON_BOOL, 0),
	};
#undef PORT
#undef FIELD
	struct kk_service *service = ret;
	int r;

	r = kk_json_read_lax(obj, fields, ARRAY_SIZE(fields), &f, err);
	if (!f.last_port)
		f.last_port = f.port;
	if (r == 0)
		r = read_who(&f.who, &service->id, service->name, err);
	if (r == 0)
		r = read_protocol(f.protocol, &service->protocol, err);
	if (r == 0)
		r = check_ports(&f, err);
	if (r == 0)
		r = read_agents(f.agents, f.agent, service, err);
	if (r == 0 && f.address)
		r = kk_parse_address("address", f.address, &service->address, err);
	if (r < 0)
		return r;
	service->port = (uint16_t)f.port;
	service->last_port = (uint16_t)f.last_port;
	service->agent_port = (uint16_t)f.agent_port;
	service->limit_packets = (uint32_t)f.limit_packets;
	service->limit_connections = (uint32_t)f.limit_connections;
	service->proxy_protocol = f.proxy_protocol;
	service->draining = f.draining;
	service->snat = f.snat;
	service->shared = f.shared;
	strcpy(service->target, f.target ? f.target : "");
	return 0;
}

static int read_rule(const json_t *obj, void *ret, struct kk_err *err)
{
	struct fields {
		int64_t id, service;
		const char *prefix;
		bool allow;
	} f = {0};
	static const struct kk_json_field fields[] = {
		KK_JSON_FIELD("id", KK_JSON_INT, KK_JSON_REQUIRED, struct fields, id, .min = 1,
			      .max = INT64_MAX),
		KK_JSON_FIELD("service", KK_JSON_INT, 0, struct fields, service, .min = 1,
			      .max = INT64_MAX),
		KK_JSON_FIELD("prefix", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, prefix),
		KK_JSON_FIELD("allow", KK_JSON_BOOL, 0, struct fields, allow),
	};
	struct kk_filter *rule = ret;
	int r = kk_json_read_lax(obj, fields, ARRAY_SIZE(fields), &f, err);

	if (r == 0 && f.allow && !f.service)
		r = kk_err_set(err, EINVAL, "allow",
			       "allow: only a service can be told what it lets in");
	if (r == 0)
		r = kk_parse_prefix("prefix", f.prefix, &rule->prefix, err);
	rule->id = f.id;
	rule->service = f.service;
	rule->allow = f.allow;
	return r;
}

/* Clocks differ: a ban's time is told in seconds from now, and counted on the clock that the data plane has. */
static int64_t until(int64_t seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return ((int64_t)now.tv_sec + seconds) * 1000000000 + now.tv_nsec;
}

static int read_ban(const json_t *obj, void *ret, struct kk_err *err)
{
	struct fields {
		int64_t id, service, seconds;
		const char *address;
	} f = {.seconds = -1};
	static const struct kk_json_field fields[] = {
		KK_JSON_FIELD("id", KK_JSON_INT, KK_JSON_REQUIRED, struct fields, id, .min = 1,
			      .max = INT64_MAX),
		KK_JSON_FIELD("service", KK_JSON_INT, 0, struct fields, service, .min = 1,
			      .max = INT64_MAX),
		KK_JSON_FIELD("seconds", KK_JSON_INT, 0, struct fields, seconds, .min = 0,
			      .max = BAN_SECONDS_MAX),
		KK_JSON_FIELD("address", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, address),
	};
	struct kk_banned *ban = ret;
	int r = kk_json_read_lax(obj, fields, ARRAY_SIZE(fields), &f, err);

	if (r == 0)
		r = kk_parse_address("address", f.address, &ban->address, err);
	ban->id = f.id;
	ban->service = f.service;
	ban->until = f.seconds < 0 ? INT64_MAX : until(f.seconds);
	return r;
}

#define KIND(name_, struct_, max_, read_)                                                          \
	const struct kk_object_kind kk_object_##name_ = {                                          \
		.name = #name_, .size = sizeof(struct_), .max = (max_), .read = (read_)};          \
	_Static_assert(offsetof(struct_, id) == 0, "lists are ordered by their first member")

KIND(gateways, struct kk_gateway, KK_GATEWAYS_MAX, read_gateway);
KIND(agents, struct kk_agent, KK_AGENTS_MAX, read_agent);
KIND(services, struct kk_service, KK_SERVICES_MAX, read_service);
KIND(rules, struct kk_filter, KK_RULES_MAX, read_rule);
KIND(bans, struct kk_banned, KK_BANS_READ_MAX, read_ban);

/* The array of @kind in @lists: *@ret NULL where there is none. */
static int find_array(const json_t *lists, const struct kk_object_kind *kind, const json_t **ret,
		      struct kk_err *err)
{
	const json_t *array = json_object_get(lists, kind->name);

	if (array && !json_is_array(array))
		return kk_err_set(err, EINVAL, kind->name, "%s: is not a list", kind->name);
	if (json_array_size(array) > kind->max)
		return kk_err_set(err, EINVAL, kind->name, "%s: %zu are too many, %zu at most",
				  kind->name, json_array_size(array), kind->max);
	*ret = array;
	return 0;
}

static int refuse_twice(const struct kk_object_kind *kind, void *list, size_t n, size_t size,
			struct kk_err *err)
{
	int64_t twice = kk_list_sort(list, n, size);

	if (!twice)
		return 0;
	return kk_err_set(err, EINVAL, kind->name, "%s: id %lld is there twice", kind->name,
			  (long long)twice);
}

int kk_object_list(const json_t *lists, const struct kk_object_kind *kind, void **ret,
		   size_t *ret_n, struct kk_err *err)
{
	KK_CLEANUP_FREE char *list = NULL;
	const json_t *array;
	size_t n;
	int r;

	r = find_array(lists, kind, &array, err);
	if (r < 0)
		return r;
	n = json_array_size(array);
	list = calloc(n ? n : 1, kind->size);
	if (!list)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < n; i++) {
		struct kk_err inner = no_error;

		r = kind->read(json_array_get(array, i), list + i * kind->size, &inner);
		if (r < 0)
			return kk_err_set(err, -r, inner.field, "%s[%zu]: %s", kind->name, i,
					  inner.msg);
	}
	r = refuse_twice(kind, list, n, kind->size, err);
	if (r < 0)
		return r;
	*ret = KK_STEAL(list);
	*ret_n = n;
	return 0;
}

int kk_object_ids(const json_t *lists, const struct kk_object_kind *kind, int64_t **ret,
		  size_t *ret_n, struct kk_err *err)
{
	KK_CLEANUP_FREE int64_t *ids = NULL;
	const json_t *array;
	size_t n;
	int r;

	r = find_array(lists, kind, &array, err);
	if (r < 0)
		return r;
	n = json_array_size(array);
	ids = calloc(n ? n : 1, sizeof(*ids));
	if (!ids)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const json_t *value = json_array_get(array, i);

		if (!json_is_integer(value) || json_integer_value(value) < 1)
			return kk_err_set(err, EINVAL, kind->name, "%s[%zu]: is not an id",
					  kind->name, i);
		ids[i] = json_integer_value(value);
	}
	r = refuse_twice(kind, ids, n, sizeof(*ids), err);
	if (r < 0)
		return r;
	*ret = KK_STEAL(ids);
	*ret_n = n;
	return 0;
}
