// SPDX-License-Identifier: MIT
/*
 * Which ports are taken. The ranges of one address, or of one Agent, never overlap: so the one that begins last before
 * a port's end is the only one that can reach into it, and an index finds it.
 */
#include "controld/store/sql.h"

#include <errno.h>
#include <stdio.h>

const char *kk_ports_protocol(uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? "udp" : "tcp";
}

const char *kk_ports_text(uint16_t first, uint16_t last, char out[12])
{
	if (first == last)
		snprintf(out, 12, "%u", first);
	else
		snprintf(out, 12, "%u-%u", first, last);
	return out;
}

/* The other service that has one of @row's ports among those with @address in the database. */
static int check_address(struct kk_store *store, const struct kk_service_row *row,
			 const char *address, struct kk_err *err)
{
	static const char sql[] =
		"SELECT name, port, last_port FROM services WHERE org = ? AND protocol = ? AND address = ? AND "
		"moving = 0 AND port <= ? AND id <> ? ORDER BY port DESC LIMIT 1";
	sqlite3_stmt *stmt = kk_sql(store, err, sql, "iitii", store->org, (int64_t)row->protocol,
				    address, (int64_t)row->last_port, row->id);
	char name[KK_NAME_MAX + 1], wanted[12], taken[12], where[KK_ADDRESS_TEXT + 4] = "";
	uint16_t first, last;
	int r = kk_sql_step(store, stmt, err);

	if (r <= 0)
		return r;
	kk_sql_text(stmt, 0, name, sizeof(name));
	first = (uint16_t)sqlite3_column_int(stmt, 1);
	last = (uint16_t)sqlite3_column_int(stmt, 2);
	kk_sql_done(stmt);
	if (last < row->port)
		return 0;
	if (address[0])
		snprintf(where, sizeof(where), " of %s", address);
	kk_ports_text(row->port, row->last_port, wanted);
	kk_ports_text(first, last, taken);
	if (row->port == row->last_port && first == last)
		return kk_err_set(err, EEXIST, "port", "port: %s/%s%s is taken by service %s",
				  wanted, kk_ports_protocol(row->protocol), where, name);
	return kk_err_set(err, EEXIST, "port",
			  "port: %s/%s of service %s overlaps %s%s of service %s", wanted,
			  kk_ports_protocol(row->protocol), row->name, taken, where, name);
}

/* Services that have an address of their own that is the first of a gateway stand beside those that have none. */
static int check_first_addresses(struct kk_store *store, const struct kk_service_row *row,
				 struct kk_err *err)
{
	/* The index has only what has an address of its own: one look each, and none where nothing has. */
	static const char next[] =
		"SELECT address, EXISTS (SELECT 1 FROM gateway_addresses g WHERE g.org = ? AND "
		"g.address = s.address AND g.is_first) FROM services s INDEXED BY services_address "
		"WHERE address <> '' AND address > ? ORDER BY address LIMIT 1";
	char address[KK_ADDRESS_TEXT] = "";
	int r = 0;

	while (r == 0) {
		sqlite3_stmt *stmt = kk_sql(store, err, next, "it", store->org, address);
		bool first;

		r = kk_sql_step(store, stmt, err);
		if (r <= 0)
			return r;
		kk_sql_text(stmt, 0, address, sizeof(address));
		first = sqlite3_column_int(stmt, 1);
		kk_sql_done(stmt);
		r = first ? check_address(store, row, address, err) : 0;
	}
	return r;
}

static int check_services(struct kk_store *store, const struct kk_service_row *row,
			  struct kk_err *err)
{
	char address[KK_ADDRESS_TEXT];
	int64_t first = 0;
	int r;

	kk_address_text(&row->address, address);
	r = check_address(store, row, address, err);
	if (r < 0)
		return r;
	if (!row->address.family)
		return check_first_addresses(store, row, err);
	r = kk_sql_number(
		store, &first, err,
		"SELECT max(is_first) FROM gateway_addresses WHERE org = ? AND address = ?", "it",
		store->org, address);
	return r == 0 && first ? check_address(store, row, "", err) : r;
}

static int check_wireguard(struct kk_store *store, const struct kk_service_row *row,
			   struct kk_err *err)
{
	sqlite3_stmt *stmt;
	char name[KK_NAME_MAX + 1];
	int port, r;

	if (row->protocol != IPPROTO_UDP)
		return 0;
	stmt = kk_sql(
		store, err,
		"SELECT name, wg_port FROM gateways WHERE org = ? AND wg_port BETWEEN ? AND ? "
		"ORDER BY id LIMIT 1",
		"iii", store->org, (int64_t)row->port, (int64_t)row->last_port);
	r = kk_sql_step(store, stmt, err);
	if (r <= 0)
		return r;
	kk_sql_text(stmt, 0, name, sizeof(name));
	port = sqlite3_column_int(stmt, 1);
	kk_sql_done(stmt);
	return kk_err_set(err, EEXIST, "port", "port: %d/udp is used by gateway %s for WireGuard",
			  port, name);
}

int kk_ports_check(struct kk_store *store, const struct kk_service_row *row, struct kk_err *err)
{
	int r = check_services(store, row, err);

	return r < 0 ? r : check_wireguard(store, row, err);
}

/* Where the range that begins at @first is taken on @agent: the port behind what takes it, else 0. */
static int taken_until(struct kk_store *store, const struct kk_service_row *row, int64_t agent,
		       int64_t first, int64_t *ret, struct kk_err *err)
{
	static const char sql[] =
		"SELECT last_port FROM members WHERE agent = ? AND protocol = ? AND moving = 0 AND "
		"port <= ? AND service <> ? ORDER BY port DESC LIMIT 1";
	int64_t last = 0;
	int r = kk_sql_number(store, &last, err, sql, "iiii", agent, (int64_t)row->protocol,
			      first + row->last_port - row->port, row->id);

	if (r < 0 && r != -ENOENT)
		return r;
	*ret = r == 0 && last >= first ? last + 1 : 0;
	return 0;
}

/* The first port from @first on from which the range is free on all members. */
static int find_free(struct kk_store *store, const struct kk_service_row *row, int64_t first,
		     int64_t *ret, struct kk_err *err)
{
	size_t settled = 0;

	for (size_t i = 0; settled < row->n_members; i = (i + 1) % row->n_members) {
		int64_t next;
		int r = taken_until(store, row, row->members[i].agent, first, &next, err);

		if (r < 0)
			return r;
		settled = next ? 0 : settled + 1;
		if (next)
			first = next;
	}
	*ret = first;
	return 0;
}

#define FIRST_PORT 1024 /* where the public port is not free */

int kk_ports_choose(struct kk_store *store, struct kk_service_row *row, struct kk_err *err)
{
	const int n = row->last_port - row->port;
	int64_t port;
	int r = find_free(store, row, row->agent_port ? row->agent_port : row->port, &port, err);

	if (r == 0 && port == row->agent_port)
		return 0;
	if (r == 0 && row->agent_port)
		r = find_free(store, row, row->port, &port, err);
	/* The public port keeps the data plane's tables small. */
	if (r == 0 && port != row->port)
		r = find_free(store, row, FIRST_PORT, &port, err);
	if (r < 0)
		return r;
	if (port + n > UINT16_MAX)
		return kk_err_set(err, ENOSPC, "agent",
				  "agent: %s has no %d free ports in a row for service %s",
				  row->members[0].name, n + 1, row->name);
	row->agent_port = (uint16_t)port;
	return 0;
}
