// SPDX-License-Identifier: MIT
#include "agentd/relay/resolver.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"

struct resolver_job {
	char host[RESOLVER_HOST_MAX];
	char port[8];
	struct sockaddr_storage addrs[RESOLVER_ADDRS];
	size_t n_addrs;
	char error[96];
	struct resolver_query *query; /* the loop's; NULL when nobody wants the answer any more */
	STAILQ_ENTRY(resolver_job) link;
};

STAILQ_HEAD(job_list, resolver_job);

struct resolver {
	struct loop_io io; /* on wake_fd */
	int wake_fd;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t asked;
	struct job_list todo, done;
	bool busy, quit; /* the thread looks something up; it shall end */
	bool left;	 /* by resolver_free(): the thread frees it all when it ends */
};

static void free_jobs(struct job_list *list)
{
	struct resolver_job *job;

	while ((job = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		free(job);
	}
}

/* The thread has ended, or is the caller. */
static void free_all(struct resolver *r)
{
	free_jobs(&r->todo);
	free_jobs(&r->done);
	kk_close(r->wake_fd);
	pthread_cond_destroy(&r->asked);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void look_up(struct resolver_job *job)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	int r = getaddrinfo(job->host, job->port, &hints, &list);

	if (r) {
		snprintf(job->error, sizeof(job->error), "%s",
			 r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
		return;
	}
	for (struct addrinfo *ai = list; ai && job->n_addrs < RESOLVER_ADDRS; ai = ai->ai_next)
		memcpy(&job->addrs[job->n_addrs++], ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(list);
}

static void *work(void *userdata)
{
	struct resolver *r = userdata;
	bool left;

	pthread_mutex_lock(&r->lock);
	for (;;) {
		struct resolver_job *job;
		const uint64_t one = 1;

		while (!r->quit && STAILQ_EMPTY(&r->todo))
			pthread_cond_wait(&r->asked, &r->lock);
		if (r->quit)
			break;
		job = STAILQ_FIRST(&r->todo);
		STAILQ_REMOVE_HEAD(&r->todo, link);
		r->busy = true;
		pthread_mutex_unlock(&r->lock);
		look_up(job);
		pthread_mutex_lock(&r->lock);
		r->busy = false;
		STAILQ_INSERT_TAIL(&r->done, job, link);
		/* An eventfd refuses only when its counter is full, and then it is readable anyway. */
		if (write(r->wake_fd, &one, sizeof(one)) < 0)
			continue;
	}
	left = r->left;
	pthread_mutex_unlock(&r->lock);
	if (left)
		free_all(r);
	return NULL;
}

static struct resolver_job *take_done(struct resolver *r)
{
	struct resolver_job *job;

	pthread_mutex_lock(&r->lock);
	job = STAILQ_FIRST(&r->done);
	if (job)
		STAILQ_REMOVE_HEAD(&r->done, link);
	pthread_mutex_unlock(&r->lock);
	return job;
}

static void ready(struct loop_io *io, uint32_t events)
{
	struct resolver *r = (struct resolver *)io;
	struct resolver_job *job;
	uint64_t count;

	(void)events;
	if (read(r->wake_fd, &count, sizeof(count)) < 0)
		return;
	while ((job = take_done(r))) {
		struct resolver_query *query = job->query;

		if (query) {
			query->job = NULL;
			query->done(query, job->addrs, job->n_addrs, job->error);
		}
		free(job);
	}
}

/* The thread takes no signals: they are the loop's. */
static int start_thread(struct resolver *r)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&r->thread, NULL, work, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -error;
}

int resolver_new(struct loop *loop, struct resolver **ret)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int error;

	if (!r)
		return -ENOMEM;
	r->io.ready = ready;
	STAILQ_INIT(&r->todo);
	STAILQ_INIT(&r->done);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->asked, NULL);
	r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = r->wake_fd < 0 ? -errno : loop_add(loop, r->wake_fd, EPOLLIN, &r->io);
	if (error == 0)
		error = start_thread(r);
	if (error < 0) {
		kk_close(r->wake_fd);
		free(r);
		return error;
	}
	*ret = r;
	return 0;
}

/*
 * Leaves the resolver to its thread, which looks something up and cannot be told to stop; false where it has come to
 * its end meanwhile.
 */
static bool leave(struct resolver *r)
{
	bool busy;

	pthread_mutex_lock(&r->lock);
	busy = r->busy;
	if (busy)
		pthread_detach(r->thread);
	r->left = busy;
	pthread_mutex_unlock(&r->lock);
	return busy;
}

void resolver_free(struct resolver *r)
{
	struct timespec until;

	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->quit = true;
	pthread_cond_signal(&r->asked);
	pthread_mutex_unlock(&r->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	if (pthread_timedjoin_np(r->thread, NULL, &until) != 0) {
		if (leave(r))
			return;
		pthread_join(r->thread, NULL);
	}
	free_all(r);
}

int resolver_ask(struct resolver *r, struct resolver_query *query)
{
	struct resolver_job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	snprintf(job->host, sizeof(job->host), "%s", query->host);
	snprintf(job->port, sizeof(job->port), "%u", query->port);
	job->query = query;
	query->job = job;
	pthread_mutex_lock(&r->lock);
	STAILQ_INSERT_TAIL(&r->todo, job, link);
	pthread_cond_signal(&r->asked);
	pthread_mutex_unlock(&r->lock);
	return 0;
}

void resolver_cancel(struct resolver_query *query)
{
	/* The thread never looks at job->query, so no lock is needed. */
	if (query->job)
		query->job->query = NULL;
	query->job = NULL;
}

int resolver_numeric(const char *host, uint16_t port, struct sockaddr_storage *ret)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *list;
	char service[8];

	snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(host, service, &hints, &list))
		return -EINVAL;
	*ret = (struct sockaddr_storage){0};
	memcpy(ret, list->ai_addr, list->ai_addrlen);
	freeaddrinfo(list);
	return 0;
}
