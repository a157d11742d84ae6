// SPDX-License-Identifier: GPL-2.0
/*
 * Does what a module must not do, one thing for each that the debug kernel looks for, so that it can be seen that it
 * finds them (test_debug.py). Loaded with faults=NAME,...; it stays, for a leak is one only while its module could hold it.
 */
#include <linux/delay.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>

#define FAULTS_MAX 16

static char *faults[FAULTS_MAX];
static int n_faults;
module_param_array(faults, charp, &n_faults, 0);
MODULE_PARM_DESC(faults, "what to do wrong, one after another");

static int volatile far = 70; /* the compiler is not to see what comes of it */

static void slab_overrun(void)
{
	char *at = kmalloc(64, GFP_KERNEL);

	if (at)
		WRITE_ONCE(at[far], 1);
	kfree(at);
}

static void used_after_free(void)
{
	char *at = kmalloc(64, GFP_KERNEL);

	kfree(at);
	if (at)
		WRITE_ONCE(at[far % 64], 1);
}

static void locked_both_ways(void)
{
	static DEFINE_MUTEX(a);
	static DEFINE_MUTEX(b);

	mutex_lock(&a);
	mutex_lock(&b);
	mutex_unlock(&b);
	mutex_unlock(&a);
	mutex_lock(&b);
	mutex_lock(&a);
	mutex_unlock(&a);
	mutex_unlock(&b);
}

static void read_without_rcu(void)
{
	static int __rcu *number;

	WARN_ON(rcu_dereference(number));
}

static void asleep_under_a_spinlock(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	might_sleep();
	spin_unlock(&lock);
}

static void leak(void)
{
	char *at = kmalloc(192, GFP_KERNEL);

	if (at)
		memset(at, far, 192);
}

static void counted_from_zero(void)
{
	refcount_t count = REFCOUNT_INIT(0);

	refcount_inc(&count);
}

static void listed_twice(void)
{
	/* Not LIST_HEAD(), which is sys/queue.h's for those who read this file with the headers of user space. */
	struct list_head list = LIST_HEAD_INIT(list), other = LIST_HEAD_INIT(other);
	struct list_head node;

	list_add(&node, &list);
	list.next = &other;
	list_del(&node);
}

static void on_timer(struct timer_list *timer)
{
}

static void freed_while_armed(void)
{
	struct timer_list *timer = kzalloc(sizeof(*timer), GFP_KERNEL);

	if (!timer)
		return;
	timer_setup(timer, on_timer, 0);
	mod_timer(timer, jiffies + 1000 * HZ);
	kfree(timer);
}

static void shifted_too_far(void)
{
	pr_info("kk_faulty: %d\n", 1 << far);
}

static const struct {
	const char *name;
	void (*do_it)(void);
} known[] = {
	{"asleep", asleep_under_a_spinlock},
	{"rcu", read_without_rcu},
	{"refcount", counted_from_zero},
	{"lockdep", locked_both_ways},
	{"overrun", slab_overrun},
	{"freed", used_after_free},
	{"list", listed_twice},
	{"object", freed_while_armed},
	{"leak", leak},
	{"shift", shifted_too_far},
};

static int __init kk_faulty_init(void)
{
	for (int i = 0; i < n_faults; i++) {
		size_t at = 0;

		while (at < ARRAY_SIZE(known) && strcmp(known[at].name, faults[i]))
			at++;
		if (at == ARRAY_SIZE(known))
			return -EINVAL;
		pr_info("kk_faulty: %s\n", faults[i]);
		known[at].do_it();
	}
	return 0;
}

static void __exit kk_faulty_exit(void)
{
}

module_init(kk_faulty_init);
module_exit(kk_faulty_exit);
MODULE_DESCRIPTION("does what a module must not do, for the tests of scripts/vm debug");
MODULE_LICENSE("GPL");
