// SPDX-License-Identifier: MIT
/* The ports that gateways' hosts serve themselves: a service there would take them away. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controld/push/wire.h"
#include "controld/rest/operations.h"

struct host_port {
	uint8_t protocol;
	uint16_t port;
	char gateway[KK_NAME_MAX + 1];
};

struct kk_host_ports {
	struct host_port *ports; /* in order of protocol, port and, since it was read so, gateway */
	size_t n, size;
};

static int add(struct kk_host_ports *all, uint8_t protocol, uint16_t port, const char *gateway)
{
	struct host_port *p;

	if (all->n == all->size) {
		size_t size = all->size ? all->size * 2 : 64;
		struct host_port *bigger = reallocarray(all->ports, size, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		all->ports = bigger;
		all->size = size;
	}
	p = &all->ports[all->n++];
	*p = (struct host_port){.protocol = protocol, .port = port};
	strcpy(p->gateway, gateway);
	return 0;
}

/* What a gateway has reported; what is no port is passed over. */
static int add_gateway(const char *name, const char *text, void *userdata)
{
	KK_CLEANUP_JSON json_t *list = kk_json_parse(text, strlen(text), NULL);
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		const char *protocol = json_string_value(json_object_get(item, "protocol"));
		json_int_t port = json_integer_value(json_object_get(item, "port"));
		bool udp = protocol && strcmp(protocol, "udp") == 0;
		int r;

		if (port < 1 || port > UINT16_MAX ||
		    (!udp && (!protocol || strcmp(protocol, "tcp") != 0)))
			continue;
		r = add(userdata, udp ? IPPROTO_UDP : IPPROTO_TCP, (uint16_t)port, name);
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct host_port *x = a, *y = b;

	if (x->protocol != y->protocol)
		return x->protocol < y->protocol ? -1 : 1;
	return (x->port > y->port) - (x->port < y->port);
}

int kk_host_ports_read(struct kk_control *control, struct kk_host_ports **ret, struct kk_err *err)
{
	struct kk_host_ports *all = calloc(1, sizeof(*all));
	int r = all ? kk_store_gateway_list_ports(control->store, add_gateway, all, err) : -ENOMEM;

	if (r == -ENOMEM)
		kk_err_set(err, ENOMEM, NULL, "out of memory");
	if (r < 0) {
		kk_host_ports_free(all);
		return r;
	}
	if (all->n)
		qsort(all->ports, all->n, sizeof(*all->ports), compare);
	*ret = all;
	return 0;
}

void kk_host_ports_free(struct kk_host_ports *all)
{
	if (!all)
		return;
	free(all->ports);
	free(all);
}

int kk_host_ports_check(const struct kk_host_ports *all, const struct kk_service_row *row,
			struct kk_err *err)
{
	const struct host_port wanted = {.protocol = row->protocol, .port = row->port};
	size_t low = 0, high = all->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(&all->ports[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == all->n || all->ports[low].protocol != row->protocol ||
	    all->ports[low].port > row->last_port)
		return 0;
	return kk_err_set(err, EEXIST, "port", "port: %u/%s is used by gateway %s itself",
			  all->ports[low].port, kk_wire_protocol(row->protocol),
			  all->ports[low].gateway);
}
