// SPDX-License-Identifier: MIT
/* kkctl datapath trace: a packet through the edge and the core, on a copy of the tables. */
#include "ctl/datapath.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/print.h"
#include "util/encode.h"
#include "util/cleanup.h"
#include "util/json.h"
#include "util/parse.h"

static int parse_protocol(const char *text, uint8_t *ret, struct kk_err *err)
{
	if (strcmp(text, "tcp") != 0 && strcmp(text, "udp") != 0)
		return kk_err_set(err, EINVAL, "protocol",
				  "protocol \"%s\" is neither tcp nor udp, nor is it packet", text);
	*ret = text[0] == 't' ? IPPROTO_TCP : IPPROTO_UDP;
	return 0;
}

static int parse_end(const char *field, const char *text, struct kk_address *address,
		     uint16_t *port, struct kk_err *err)
{
	char host[KK_ADDRESS_TEXT];
	int r = kk_parse_hostport(field, text, false, host, sizeof(host), port, err);

	return r < 0 ? r : kk_parse_address(field, host, address, err);
}

/* In the order of their bits, from the lowest (RFC 9293 section 3.1). */
static int parse_flags(const char *text, uint8_t *ret, struct kk_err *err)
{
	static const char letters[] = "FSRPAU";
	uint8_t flags = 0;

	for (const char *c = text; *c; c++) {
		const char *letter = strchr(letters, *c);

		if (!letter)
			return kk_err_set(err, EINVAL, "flags", "flags \"%s\": '%c' is none of %s",
					  text, *c, letters);
		flags |= (uint8_t)(1u << (letter - letters));
	}
	*ret = flags;
	return 0;
}

/* "packet FROM HEX": the packet itself; *@ret_data is freed by the caller. */
static int parse_bytes(const struct ctl *ctl, struct kk_trace_packet *p, uint8_t **ret_data,
		       struct kk_err *err)
{
	const char *from = ctl->words[1], *hex = ctl->words[2];
	size_t len = strlen(hex);

	if (strcmp(from, "public") != 0 && strcmp(from, "tunnel") != 0)
		return kk_err_set(err, EINVAL, "from", "from \"%s\" is neither public nor tunnel",
				  from);
	if (ctl->options.tcp_flags || ctl->options.size)
		return kk_err_set(err, EINVAL, "packet",
				  "--flags and --size are not for a packet that is given");
	if (len == 0 || len % 2 || len / 2 > KK_TRACE_LEN_MAX)
		return kk_err_set(err, EINVAL, "packet",
				  "%zu hexadecimal digits are no packet of 1 to %d bytes", len,
				  KK_TRACE_LEN_MAX);
	*ret_data = malloc(len / 2);
	if (!*ret_data)
		return kk_err_set(err, ENOMEM, NULL, "out of memory");
	if (kk_unhex(hex, *ret_data, len / 2) < 0)
		return kk_err_set(err, EINVAL, "packet", "packet: not all of it is hexadecimal");
	p->data = *ret_data;
	p->len = (uint32_t)(len / 2);
	p->outbound = from[0] == 't';
	return 0;
}

static int parse(const struct ctl *ctl, struct kk_trace_packet *p, uint8_t **ret_data,
		 struct kk_err *err)
{
	const char *flags = ctl->options.tcp_flags;
	int r;

	if (strcmp(ctl->words[0], "packet") == 0)
		return parse_bytes(ctl, p, ret_data, err);
	r = parse_protocol(ctl->words[0], &p->protocol, err);
	if (r == 0)
		r = parse_end("source", ctl->words[1], &p->source, &p->source_port, err);
	if (r == 0)
		r = parse_end("destination", ctl->words[2], &p->dest, &p->dest_port, err);
	if (r == 0 && flags && p->protocol != IPPROTO_TCP)
		r = kk_err_set(err, EINVAL, "flags", "--flags is for tcp");
	if (r == 0)
		r = parse_flags(flags ? flags : "S", &p->tcp_flags, err);
	p->payload = (uint32_t)ctl->options.size;
	return r;
}

static void add_step(void *data, const char *line)
{
	json_array_append_new(data, json_string(line));
}

static json_t *end_json(const struct kk_address *address, uint16_t port)
{
	const union kk_sockaddr end = kk_sockaddr_make(address, port);
	char text[KK_ENDPOINT_TEXT];

	return json_string(port ? kk_sockaddr_text(&end, text) : kk_address_text(address, text));
}

static json_t *answer_json(const struct kk_trace *trace, json_t *steps)
{
	json_t *obj = json_pack("{s:s, s:O, s:s, s:s}", "from",
				trace->outbound ? "tunnel" : "public interface", "steps", steps,
				"verdict", trace->verdict, "reason", trace->reason);

	if (trace->forwarded) {
		json_object_set_new(obj, "source", end_json(&trace->source, trace->source_port));
		json_object_set_new(obj, "destination", end_json(&trace->dest, trace->dest_port));
	}
	return obj;
}

static void print(const json_t *answer)
{
	const json_t *step;
	size_t i;

	printf("From the %s:\n", json_string_value(json_object_get(answer, "from")));
	json_array_foreach(json_object_get(answer, "steps"), i, step) {
		fputs("  ", stdout);
		ctl_print_text(json_string_value(step));
		putchar('\n');
	}
	printf("Verdict: %s (%s)\n", json_string_value(json_object_get(answer, "verdict")),
	       json_string_value(json_object_get(answer, "reason")));
	if (json_object_get(answer, "source"))
		printf("Leaves as: %s to %s\n",
		       json_string_value(json_object_get(answer, "source")),
		       json_string_value(json_object_get(answer, "destination")));
}

int ctl_datapath_trace(struct ctl *ctl)
{
	KK_CLEANUP(ctl_datapath_closep) struct kk_plane *plane = NULL;
	KK_CLEANUP_JSON json_t *steps = json_array(), *answer = NULL;
	KK_CLEANUP_FREE uint8_t *data = NULL;
	struct kk_trace_packet packet = {0};
	struct kk_trace trace;
	struct kk_err err = {0};
	int r;

	if (parse(ctl, &packet, &data, &err) < 0)
		return ctl_fail(CTL_USAGE, "%s", err.msg);
	r = ctl_datapath_open(ctl, &plane);
	if (r != CTL_DONE)
		return r;
	if (kk_plane_trace(plane, &packet, add_step, steps, &trace, &err) < 0)
		return ctl_fail(CTL_REFUSED, "%s", err.msg);
	answer = answer_json(&trace, steps);
	if (ctl->options.json)
		ctl_print_json(answer);
	else
		print(answer);
	return CTL_DONE;
}
