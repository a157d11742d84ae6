// SPDX-License-Identifier: MIT
#include "kkwg/park.h"

void park_init(struct park *p)
{
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->changed, NULL);
	atomic_init(&p->wanted, false);
	p->others = p->stopped = 0;
}

void park_ask(struct park *p)
{
	pthread_mutex_lock(&p->mutex);
	atomic_store(&p->wanted, true);
	pthread_mutex_unlock(&p->mutex);
}

void park_wait(struct park *p)
{
	pthread_mutex_lock(&p->mutex);
	while (p->stopped < p->others)
		pthread_cond_wait(&p->changed, &p->mutex);
	pthread_mutex_unlock(&p->mutex);
}

void park_end(struct park *p)
{
	pthread_mutex_lock(&p->mutex);
	atomic_store(&p->wanted, false);
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->mutex);
}

void park_stay(struct park *p)
{
	pthread_mutex_lock(&p->mutex);
	p->stopped++;
	pthread_cond_broadcast(&p->changed);
	while (atomic_load(&p->wanted))
		pthread_cond_wait(&p->changed, &p->mutex);
	p->stopped--;
	pthread_mutex_unlock(&p->mutex);
}

void park_join(struct park *p)
{
	pthread_mutex_lock(&p->mutex);
	p->others++;
	pthread_mutex_unlock(&p->mutex);
}

void park_leave(struct park *p)
{
	pthread_mutex_lock(&p->mutex);
	p->others--;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->mutex);
}
