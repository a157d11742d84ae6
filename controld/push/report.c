// SPDX-License-Identifier: MIT
#include "controld/push/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "util/cleanup.h"
#include "util/json.h"

#define SHORT 1024 /* bytes that are kept as they are */
#define LEVEL 1	   /* of zlib: it is seldom read */

int kk_report_keep(struct kk_report *report, const char *text, size_t len)
{
	uLongf size = len < SHORT ? len : compressBound(len);
	void *data = malloc(size ? size : 1), *smaller;

	if (!data)
		return -ENOMEM;
	if (len < SHORT) {
		memcpy(data, text, len);
	} else if (compress2(data, &size, (const Bytef *)text, len, LEVEL) != Z_OK) {
		free(data);
		return -ENOMEM;
	}
	smaller = realloc(data, size ? size : 1);
	kk_report_clean(report);
	*report = (struct kk_report){.data = smaller ? smaller : data, .size = size, .len = len};
	return 0;
}

json_t *kk_report_json(const struct kk_report *report)
{
	KK_CLEANUP_FREE char *text = report->data ? malloc(report->len + 1) : NULL;
	uLongf len = report->len;
	json_t *obj;

	if (!text)
		return NULL;
	if (report->len < SHORT)
		memcpy(text, report->data, report->len);
	else if (uncompress((Bytef *)text, &len, report->data, report->size) != Z_OK)
		return NULL;
	obj = kk_json_parse(text, len, NULL);
	json_object_del(obj, "type");
	return obj;
}

void kk_report_clean(struct kk_report *report)
{
	free(report->data);
	*report = (struct kk_report){0};
}
