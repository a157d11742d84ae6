// SPDX-License-Identifier: MIT
#include "proto/list.h"

#include <stdlib.h>
#include <string.h>

static int64_t id_of(const void *element)
{
	return *(const int64_t *)element;
}

static int compare(const void *a, const void *b)
{
	return (id_of(a) > id_of(b)) - (id_of(a) < id_of(b));
}

static const void *at(const void *list, size_t i, size_t size)
{
	return (const char *)list + i * size;
}

void *kk_list_copy(const void *list, size_t n, size_t size)
{
	void *copy = calloc(n ? n : 1, size);

	if (copy && n)
		memcpy(copy, list, n * size);
	return copy;
}

void *kk_list_find(const void *list, size_t n, size_t size, int64_t id)
{
	return n ? bsearch(&id, list, n, size, compare) : NULL;
}

int64_t kk_list_sort(void *list, size_t n, size_t size)
{
	if (n)
		qsort(list, n, size, compare);
	for (size_t i = 1; i < n; i++)
		if (id_of(at(list, i - 1, size)) == id_of(at(list, i, size)))
			return id_of(at(list, i, size));
	return 0;
}

void *kk_list_merge(const void *list, size_t n, const void *put, size_t n_put,
		    const int64_t *remove, size_t n_remove, size_t size, size_t *ret_n)
{
	char *merged = calloc(n + n_put ? n + n_put : 1, size);
	size_t i = 0, j = 0, k = 0, out = 0;

	if (!merged)
		return NULL;
	while (i < n || j < n_put) {
		const void *old = i < n ? at(list, i, size) : NULL;
		const void *new = j < n_put ? at(put, j, size) : NULL;
		int order = !old ? 1 : !new ? -1 : compare(old, new);

		if (order < 0) {
			while (k < n_remove && remove[k] < id_of(old))
				k++;
			if (k == n_remove || remove[k] != id_of(old))
				memcpy(merged + size * out++, old, size);
			i++;
			continue;
		}
		memcpy(merged + size * out++, new, size);
		j++;
		if (order == 0)
			i++;
	}
	*ret_n = out;
	return merged;
}
