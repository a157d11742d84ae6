/* SPDX-License-Identifier: MIT */
/* Control's REST interface (doc/protocol.md) and the way in for the nodes' WebSockets. */
#ifndef KK_CONTROLD_REST_REST_H
#define KK_CONTROLD_REST_REST_H

#include "controld/control.h"

#define KK_REST_BODY_MAX  (64u << 10)
#define KK_REST_LARGE_MAX (16u << 20) /* of what a whole world is described in */

/* The callbacks of the HTTP server; @userdata is a struct kk_control. */
void kk_rest_handle(struct kk_httpd_request *req, void *userdata);
void kk_rest_refuse(struct kk_httpd_request *req, unsigned int status, void *userdata);
void kk_rest_gone(struct kk_httpd_request *req, void *userdata);
size_t kk_rest_body_max(struct kk_httpd_request *req, void *userdata);

#endif
