/* SPDX-License-Identifier: MIT */
/*
 * Lists of the model: plain arrays of structs whose first member is an int64_t id, in order of id. One
 * implementation for gateways, Agents and services; @size is that of one struct.
 */
#ifndef KK_PROTO_LIST_H
#define KK_PROTO_LIST_H

#include <stddef.h>
#include <stdint.h>

/* A copy that the caller frees; never NULL but for want of memory, also of an empty list. */
void *kk_list_copy(const void *list, size_t n, size_t size);
/* The struct with @id, or NULL. */
void *kk_list_find(const void *list, size_t n, size_t size, int64_t id);
/* Puts the list in order. Returns an id that is there twice, or 0. */
int64_t kk_list_sort(void *list, size_t n, size_t size);
/*
 * @list without the @n_remove ids of @remove, and with the structs of @put in place of those with the same
 * id or beside them; all in order. Ids to remove that are not there are passed over. A fresh list of
 * *@ret_n that the caller frees, or NULL for want of memory.
 */
void *kk_list_merge(const void *list, size_t n, const void *put, size_t n_put,
		    const int64_t *remove, size_t n_remove, size_t size, size_t *ret_n);

/* The ids of @put and @remove, in order and each once; freed by the caller, NULL for want of memory. */
int64_t *kk_list_named(const void *put, size_t n_put, const int64_t *remove, size_t n_remove,
		       size_t size, size_t *ret_n);

#endif
