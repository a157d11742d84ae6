// SPDX-License-Identifier: MIT
/*
 * What a service may ask of a plain WireGuard peer. Nobody there hands connections on: they go to the target's port
 * of the peer's own address, and as many ports lead there as the target has.
 */
#include "controld/store/sql.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "util/parse.h"

/* The peer's own machine: as the user's "8080" is written, by name, or by its address in the tunnel. */
static int check_host(struct kk_store *store, const struct kk_service_row *row, const char *host,
		      struct kk_err *err)
{
	char own[INET_ADDRSTRLEN];
	struct kk_prefix4 subnet;
	struct in_addr address;
	int64_t number;
	int r = kk_sql_number(store, &number, err, "SELECT number FROM agents WHERE id = ?", "i",
			      row->members[0].agent);

	if (r < 0)
		return r;
	subnet = kk_agent_subnet(&store->pool, number);
	address = kk_subnet_host(&subnet, KK_AGENT_HOST);
	inet_ntop(AF_INET, &address, own, sizeof(own));
	if (strcmp(host, "127.0.0.1") == 0 || strcmp(host, "localhost") == 0 ||
	    strcmp(host, own) == 0)
		return 0;
	return kk_err_set(
		err, EINVAL, "target",
		"target: %.200s cannot be reached through the plain peer %s, only ports of "
		"its own (%s)",
		host, row->members[0].name, own);
}

static int check_ports(const struct kk_service_row *row, uint16_t first, uint16_t last,
		       struct kk_err *err)
{
	if (last - first == row->last_port - row->port)
		return 0;
	return kk_err_set(err, EINVAL, "target",
			  "target: %d ports cannot lead to one of the plain peer %s",
			  row->last_port - row->port + 1, row->members[0].name);
}

/* Ranges of one peer never overlap (ports.c), so the one that begins last is the only one in question. */
static int check_free(struct kk_store *store, const struct kk_service_row *row, uint16_t last,
		      struct kk_err *err)
{
	static const char sql[] =
		"SELECT s.name, m.last_port FROM members m JOIN services s ON s.id = m.service "
		"WHERE m.agent = ? AND m.protocol = ? AND m.moving = 0 AND m.port <= ? AND m.service <> ? "
		"ORDER BY m.port DESC LIMIT 1";
	sqlite3_stmt *stmt = kk_sql(store, err, sql, "iiii", row->members[0].agent,
				    (int64_t)row->protocol, (int64_t)last, row->id);
	char name[KK_NAME_MAX + 1], ports[12];
	int r = kk_sql_step(store, stmt, err), taken;

	if (r <= 0)
		return r;
	kk_sql_text(stmt, 0, name, sizeof(name));
	taken = sqlite3_column_int(stmt, 1);
	kk_sql_done(stmt);
	if (taken < row->agent_port)
		return 0;
	return kk_err_set(err, EEXIST, "target",
			  "target: service %s leads to %s/%s of the plain peer %s already", name,
			  kk_ports_text(row->agent_port, last, ports),
			  kk_ports_protocol(row->protocol), row->members[0].name);
}

int kk_plain_settle(struct kk_store *store, struct kk_service_row *row, struct kk_err *err)
{
	char host[KK_TARGET_MAX];
	uint16_t first = 0, last = 0;
	int r = 0;

	if (row->proxy_protocol)
		r = kk_err_set(err, EINVAL, "proxy_protocol",
			       "proxy_protocol: the plain peer %s has nobody who would write it",
			       row->members[0].name);
	if (r == 0)
		r = kk_parse_hostports("target", row->target, false, host, sizeof(host), &first,
				       &last, err);
	if (r == 0)
		r = check_host(store, row, host, err);
	if (r == 0)
		r = check_ports(row, first, last, err);
	if (r < 0)
		return r;
	row->agent_port = first;
	return check_free(store, row, last, err);
}
