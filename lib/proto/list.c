// SPDX-License-Identifier: MIT
#include "proto/list.h"

#include <stdbool.h>
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

/* How many of the first elements of @list have an id below @id. */
static size_t count_below(const void *list, size_t n, size_t size, int64_t id)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (id_of(at(list, middle, size)) < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * A change is small beside the list that it changes: what lies between two ids that it names is copied in
 * one piece.
 */
void *kk_list_merge(const void *list, size_t n, const void *put, size_t n_put,
		    const int64_t *remove, size_t n_remove, size_t size, size_t *ret_n)
{
	char *merged = malloc((n + n_put ? n + n_put : 1) * size);
	size_t i = 0, j = 0, k = 0, out = 0;

	if (!merged)
		return NULL;
	for (;;) {
		int64_t next_put = j < n_put ? id_of(at(put, j, size)) : INT64_MAX;
		int64_t next_gone = k < n_remove ? remove[k] : INT64_MAX;
		int64_t id = next_put < next_gone ? next_put : next_gone;
		bool named = j < n_put || k < n_remove;
		size_t run = named ? count_below(at(list, i, size), n - i, size, id) : n - i;

		if (run)
			memcpy(merged + size * out, at(list, i, size), run * size);
		out += run;
		i += run;
		if (!named)
			break;
		/* What is named is not taken from the old list, put or removed. */
		if (i < n && id_of(at(list, i, size)) == id)
			i++;
		if (k < n_remove && remove[k] == id)
			k++;
		if (j < n_put && next_put == id) {
			memcpy(merged + size * out++, at(put, j, size), size);
			j++;
		}
	}
	*ret_n = out;
	return merged;
}

int64_t *kk_list_named(const void *put, size_t n_put, const int64_t *remove, size_t n_remove,
		       size_t size, size_t *ret_n)
{
	int64_t *ids = malloc((n_put + n_remove + 1) * sizeof(*ids));
	size_t i = 0, j = 0, n = 0;

	while (ids && (i < n_put || j < n_remove)) {
		int64_t a = i < n_put ? id_of(at(put, i, size)) : INT64_MAX;
		int64_t b = j < n_remove ? remove[j] : INT64_MAX;

		ids[n++] = a < b ? a : b;
		i += i < n_put && a <= b;
		j += j < n_remove && b <= a;
	}
	*ret_n = n;
	return ids;
}
