// SPDX-License-Identifier: MIT
#include "proto/objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/list.h"
#include "util/json.h"

#define AGENT_SUBNET_LEN 24

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

int kk_object_self(const json_t *obj, struct kk_self *ret, struct kk_err *err)
{
	struct fields {
		struct id_name who;
		int64_t index, wg_port;
		const char *address, *pool, *subnet;
	} f = {0};
	static const struct kk_json_field fields[] = {
		ID_NAME_FIELDS,
		KK_JSON_FIELD("index", KK_JSON_INT, 0, struct fields, index, .min = 1, .max = 254),
		KK_JSON_FIELD("wg_port", KK_JSON_INT, 0, struct fields, wg_port, .min = 1,
			      .max = 65535),
		KK_JSON_FIELD("address", KK_JSON_STRING, 0, struct fields, address),
		KK_JSON_FIELD("pool", KK_JSON_STRING, 0, struct fields, pool),
		KK_JSON_FIELD("subnet", KK_JSON_STRING, 0, struct fields, subnet),
	};
	struct kk_self self = {0};
	int r;

	r = kk_json_read_lax(obj, fields, ARRAY_SIZE(fields), &f, err);
	if (r == 0)
		r = read_who(&f.who, &self.id, self.name, err);
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
			r = kk_parse_ip4("address", f.address, &self.address, err);
		if (r == 0)
			r = kk_parse_prefix4("pool", f.pool, &self.pool, err);
	}
	if (r < 0)
		return r;
	*ret = self;
	return 0;
}

static int read_endpoint(const char *text, struct sockaddr_in *ret, struct kk_err *err)
{
	struct sockaddr_in endpoint = {.sin_family = AF_INET};
	char host[INET_ADDRSTRLEN];
	uint16_t port;
	int r;

	r = kk_parse_hostport("endpoint", text, false, host, sizeof(host), &port, err);
	if (r == 0)
		r = kk_parse_ip4("endpoint", host, &endpoint.sin_addr, err);
	if (r < 0)
		return r;
	endpoint.sin_port = htons(port);
	*ret = endpoint;
	return 0;
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

static int read_service(const json_t *obj, void *ret, struct kk_err *err)
{
	struct fields {
		struct id_name who;
		const char *protocol, *target;
		int64_t port, agent_port, agent;
		bool proxy_protocol;
	} f = {0};
	static const struct kk_json_field fields[] = {
		ID_NAME_FIELDS,
		KK_JSON_FIELD("protocol", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields,
			      protocol),
		KK_JSON_FIELD("port", KK_JSON_INT, KK_JSON_REQUIRED, struct fields, port, .min = 1,
			      .max = 65535),
		KK_JSON_FIELD("agent_port", KK_JSON_INT, KK_JSON_REQUIRED, struct fields,
			      agent_port, .min = 1, .max = 65535),
		KK_JSON_FIELD("agent", KK_JSON_INT, 0, struct fields, agent, .min = 1,
			      .max = INT64_MAX),
		KK_JSON_FIELD("target", KK_JSON_STRING, 0, struct fields, target,
			      .max = KK_TARGET_MAX - 1),
		KK_JSON_FIELD("proxy_protocol", KK_JSON_BOOL, 0, struct fields, proxy_protocol),
	};
	struct kk_service *service = ret;
	char host[KK_TARGET_MAX];
	uint16_t port;
	int r;

	r = kk_json_read_lax(obj, fields, ARRAY_SIZE(fields), &f, err);
	if (r == 0)
		r = read_who(&f.who, &service->id, service->name, err);
	if (r == 0)
		r = read_protocol(f.protocol, &service->protocol, err);
	if (r == 0 && f.target)
		r = kk_parse_hostport("target", f.target, false, host, sizeof(host), &port, err);
	if (r < 0)
		return r;
	service->port = (uint16_t)f.port;
	service->agent_port = (uint16_t)f.agent_port;
	service->agent = f.agent;
	service->proxy_protocol = f.proxy_protocol;
	strcpy(service->target, f.target ? f.target : "");
	return 0;
}

#define KIND(name_, struct_, max_, read_)                                                          \
	const struct kk_object_kind kk_object_##name_ = {                                          \
		.name = #name_, .size = sizeof(struct_), .max = (max_), .read = (read_)};          \
	_Static_assert(offsetof(struct_, id) == 0, "lists are ordered by their first member")

KIND(gateways, struct kk_gateway, KK_GATEWAYS_MAX, read_gateway);
KIND(agents, struct kk_agent, KK_AGENTS_MAX, read_agent);
KIND(services, struct kk_service, KK_SERVICES_MAX, read_service);

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
