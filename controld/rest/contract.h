/* SPDX-License-Identifier: MIT */
/* The contract of the REST interface, doc/openapi.json, as text. */
#ifndef KK_CONTROLD_REST_CONTRACT_H
#define KK_CONTROLD_REST_CONTRACT_H

#include <stddef.h>

extern const char kk_contract_text[];
size_t kk_contract_len(void);

#endif
