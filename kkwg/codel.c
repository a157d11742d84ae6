// SPDX-License-Identifier: MIT
#include "kkwg/codel.h"

/* Integer square root, rounded down, at least 1. */
static uint64_t root(uint64_t n)
{
	uint64_t r = 1;

	while ((r + 1) * (r + 1) <= n)
		r++;
	return r;
}

static uint64_t control_law(const struct codel *c, uint64_t from)
{
	/* interval / sqrt(count), with four binary digits after the point. */
	return from + CODEL_INTERVAL * 16 / root((uint64_t)c->count * 256);
}

static bool standing(struct codel *c, uint64_t sojourn, uint64_t now)
{
	if (sojourn < CODEL_TARGET) {
		c->above_since = 0;
		return false;
	}
	if (!c->above_since) {
		c->above_since = now + CODEL_INTERVAL;
		return false;
	}
	return now >= c->above_since;
}

bool codel_should_drop(struct codel *c, uint64_t sojourn, uint64_t now)
{
	bool over = standing(c, sojourn, now);

	if (c->dropping) {
		if (!over) {
			c->dropping = false;
			return false;
		}
		if (now < c->drop_next)
			return false;
		if (c->count < 1000)
			c->count++;
		c->drop_next = control_law(c, c->drop_next);
		return true;
	}
	if (!over)
		return false;
	c->dropping = true;
	/* Soon after the last phase the rate that worked then is a good start. */
	c->count = c->count > 2 && now - c->drop_next < 8 * CODEL_INTERVAL ? c->count - 2 : 1;
	c->drop_next = control_law(c, now);
	return true;
}
