/* SPDX-License-Identifier: MIT */
/* What a node said of itself last, kept small: a gateway of thousands of Agents tells half a MiB, over and over. */
#ifndef KK_CONTROLD_PUSH_REPORT_H
#define KK_CONTROLD_PUSH_REPORT_H

#include <jansson.h>
#include <stddef.h>

struct kk_report {
	void *data;	  /* NULL: it has said nothing */
	size_t size, len; /* bytes of @data, and of the text that it stands for */
};

/* Keeps the message in place of the one before. -ENOMEM, and that one stays. */
int kk_report_keep(struct kk_report *report, const char *text, size_t len);
/* The message without its "type", a new reference; NULL if there is none, or no memory. */
json_t *kk_report_json(const struct kk_report *report);
void kk_report_clean(struct kk_report *report);

#endif
