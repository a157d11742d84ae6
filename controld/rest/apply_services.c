// SPDX-License-Identifier: MIT
/* Services, as apply brings them about: they may take each other's ports. */
#include <errno.h>
#include <stdlib.h>

#include "controld/rest/apply.h"

static int note(struct kk_apply *a, const char *action, const char *kind, const char *name,
		json_t *before, json_t *after)
{
	return kk_apply_note(a->changes, action, kind, name, before, after, &a->call->err);
}

static int note_undo(struct kk_apply *a, int64_t service, const struct kk_service_row *before)
{
	struct kk_push_undo *undo =
		kk_apply_room((void **)&a->undo, a->n_undo, &a->undo_size, sizeof(*undo));

	if (!undo)
		return kk_apply_no_memory(a);
	*undo = (struct kk_push_undo){.service = service, .existed = before != NULL};
	if (before)
		undo->before = *before;
	a->n_undo++;
	return 0;
}

static int remove_service(struct kk_apply *a, const struct kk_service_row *row)
{
	int r = kk_store_service_remove(a->control->store, row->name, &a->call->err);

	if (r == 0)
		r = note_undo(a, row->id, row);
	return r < 0 ? r : note(a, "remove", "service", row->name, kk_service_said_json(row), NULL);
}

static int add_service(struct kk_apply *a, struct kk_service_row *row)
{
	int r = kk_store_service_add(a->control->store, row, &a->call->err);

	if (r == 0)
		r = note_undo(a, row->id, NULL);
	return r < 0 ? r : note(a, "add", "service", row->name, NULL, kk_service_said_json(row));
}

/* Room for @row, which is done after all others have given up their ports. */
static int put_off(struct kk_apply *a, const struct kk_service_row *row, size_t undo)
{
	struct kk_apply_later *later;

	later = kk_apply_room((void **)&a->later, a->n_later, &a->later_size, sizeof(*later));
	if (!later)
		return kk_apply_no_memory(a);
	a->n_later++;
	later->row = *row;
	later->undo = undo;
	return 0;
}

static int set_service(struct kk_apply *a, const struct kk_service_row *now,
		       struct kk_service_row *row)
{
	int r = kk_store_service_replace(a->control->store, now, row, &a->call->err);

	return r < 0 ? r
		     : note(a, "set", "service", row->name, kk_service_said_json(now),
			    kk_service_said_json(row));
}

/* Services may take each other's ports: those that move give up theirs first. */
static int move_service(struct kk_apply *a, const struct kk_service_row *now,
			struct kk_service_row *row)
{
	int r = kk_store_service_release(a->control->store, now->id, &a->call->err);

	return r < 0 ? r : put_off(a, row, a->n_undo - 1);
}

static int change_service(struct kk_apply *a, const struct kk_service_row *now,
			  struct kk_service_row *row)
{
	int r;

	if (kk_service_row_same(now, row))
		return 0;
	/* What a service cannot be changed in is changed by removing it and making it anew. */
	if (now->protocol != row->protocol) {
		r = remove_service(a, now);
		return r < 0 ? r : put_off(a, row, KK_APPLY_NEW);
	}
	r = note_undo(a, now->id, now);
	if (r < 0)
		return r;
	return kk_service_row_moves(now, row) ? move_service(a, now, row)
					      : set_service(a, now, row);
}

static int want_service(struct kk_apply *a, const json_t *obj)
{
	struct kk_service_row row = {0}, now;
	int r = kk_service_read(obj, &row, &a->call->err);

	if (r < 0)
		return r;
	r = kk_store_service_get(a->control->store, row.name, &now, NULL);
	if (r == -ENOENT)
		return put_off(a, &row, KK_APPLY_NEW);
	return r < 0 ? r : change_service(a, &now, &row);
}

int kk_apply_services_later(struct kk_apply *a)
{
	struct kk_host_ports *ports = NULL;
	int r = a->n_later ? kk_host_ports_read(a->control, &ports, &a->call->err) : 0;

	for (size_t i = 0; i < a->n_later && r == 0; i++) {
		struct kk_apply_later *later = &a->later[i];

		r = kk_host_ports_check(ports, &later->row, &a->call->err);
		if (r == 0)
			r = later->undo == KK_APPLY_NEW
				    ? add_service(a, &later->row)
				    : set_service(a, &a->undo[later->undo].before, &later->row);
	}
	kk_host_ports_free(ports);
	return r;
}

/* ---- those that are not wanted any more ---- */

struct look {
	const json_t *wanted;
	json_t *found;
};

static int look_at(const struct kk_service_row *row, void *userdata)
{
	struct look *look = userdata;

	return kk_apply_unwanted(look->wanted, look->found, row->name);
}

static int find_services(struct kk_apply *a, const json_t *wanted, json_t *found)
{
	struct look look = {wanted, found};

	return kk_store_service_list(a->control->store, 0, look_at, &look, &a->call->err);
}

static int prune_service(struct kk_apply *a, const char *name)
{
	struct kk_service_row row;
	int r = kk_store_service_get(a->control->store, name, &row, &a->call->err);

	return r < 0 ? r : remove_service(a, &row);
}

const struct kk_apply_kind kk_apply_services = {want_service, find_services, prune_service};
