// SPDX-License-Identifier: MIT
#include <string.h>

#include "controld/push/wire.h"
#include "controld/rest/call.h"
#include "util/parse.h"

struct fields {
	const char *name;
};

static const struct kk_json_field agent_fields[] = {
	KK_JSON_FIELD("name", KK_JSON_STRING, KK_JSON_REQUIRED, struct fields, name),
};

json_t *kk_agent_json(struct kk_control *control, const struct kk_agent_row *row)
{
	struct kk_push_state state;

	kk_push_state(control->push, KK_AGENT, row->id, &state);
	return json_pack("{s:I, s:s, s:o, s:o, s:b, s:b, s:o, s:I}", "id", (json_int_t)row->id,
			 "name", row->name, "subnet", kk_wire_prefix(&row->subnet), "public_key",
			 kk_wire_key(row->has_key, row->public_key), "joined", (int)row->joined,
			 "connected", (int)state.connected, "acked_generation",
			 state.acked < 0 ? json_null() : json_integer(state.acked), "generation",
			 (json_int_t)row->generation);
}

int kk_agent_read(struct kk_control *control, const json_t *obj, struct kk_agent_row *row,
		  struct kk_err *err)
{
	struct fields f = {0};
	int r = kk_json_read(obj, agent_fields, ARRAY_SIZE(agent_fields), &f, err);

	(void)control;
	if (r == 0)
		r = kk_parse_name("name", f.name, err);
	if (r == 0)
		strcpy(row->name, f.name);
	return r;
}
