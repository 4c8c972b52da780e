/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_host.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"

void host_init(struct host *h)
{
	static const char *const dirs[] = { "/",	  "/usr",     "/run", "/sys",
					    "/tmp",	  "/var/tmp", "/opt", "/home",
					    "/home/u",    "/home/u/ws" };

	*h = (struct host){ 0 };
	h->facts = (struct immure_facts){
		.kernel = "6.18.0", .machine = "x86_64", .boot_id = "b", .uid = 1000, .gid = 1000,
		.user = "u", .home = "/home/u", .cwd = "/home/u/ws",
		.runtime_dir = "/run/user/1000/immure", .state_dir = "/home/u/.local/state/immure",
		.config_dir = "/home/u/.config/immure", .landlock_abi = 7, .seccomp = IMMURE_YES,
		.mounts = h->mounts,
	};
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		(void)host_has(h, dirs[i], 'd');
	host_mount(h, 1, "/", "/");
}

static void forget(struct host *h)
{
	immure_plan_destroy(h->plan);
	immure_policy_free(h->policy);
	immure_error_free(h->err);
	h->plan = NULL;
	h->policy = NULL;
	h->err = NULL;
}

void host_done(struct host *h)
{
	forget(h);
	immure_arena_done(&h->facts.arena);
}

struct immure_fact_path *host_has(struct host *h, const char *path, char type)
{
	struct immure_fact_path *p = &h->declared[h->declared_n++];

	assert_true(h->declared_n <= 128);
	*p = (struct immure_fact_path){
		.path = path, .real = path, .type = type, .mode = 0755, .nlink = 1,
		.ino = h->declared_n, .dev = 1,
	};
	return p;
}

struct immure_fact_path *host_link(struct host *h, const char *path, const char *text,
				   const char *real, char type)
{
	struct immure_fact_path *p = host_has(h, path, real ? type : 0);

	p->real = real;
	p->link = true;
	p->link_target = text;
	return p;
}

struct immure_fact_path *host_through(struct host *h, const char *path, const char *real,
				      char type)
{
	struct immure_fact_path *p = host_has(h, path, type);

	p->real = real;
	return p;
}

void host_lists(struct host *h, const char *dir, ...)
{
	struct immure_fact_listing *l = &h->lists[h->lists_n++];
	const char *text;
	va_list ap;

	assert_true(h->lists_n <= 16);
	*l = (struct immure_fact_listing){ .path = dir, .entries = &h->entries[h->entries_n] };
	va_start(ap, dir);
	while ((text = va_arg(ap, const char *))) {
		assert_true(h->entries_n < 128);
		h->entries[h->entries_n++] = (struct immure_fact_entry){ text + 2, text[0] };
		l->n++;
	}
	va_end(ap);
}

static void list(struct host *h, const struct immure_strv *want)
{
	struct immure_facts *f = &h->facts;

	f->listings = immure_arena_alloc(&f->arena, (want->n + 1) * sizeof(*f->listings));
	f->listings_n = want->n;
	for (size_t i = 0; i < want->n; i++) {
		f->listings[i] = (struct immure_fact_listing){
			.path = immure_arena_strdup(&f->arena, want->v[i]),
		};
		for (size_t k = 0; k < h->lists_n; k++)
			if (strcmp(h->lists[k].path, want->v[i]) == 0)
				f->listings[i] = h->lists[k];
	}
}

void host_mount(struct host *h, uint32_t minor, const char *root, const char *target)
{
	size_t i = h->facts.mounts_n++;

	assert_true(i < 32);
	h->mounts[i] = (struct immure_fact_mount){
		.id = (uint32_t)i + 1, .major = 8, .minor = minor, .root = root, .target = target,
		.fstype = "ext4", .super = "rw",
	};
}

void host_socket(struct host *h, const char *path)
{
	(void)immure_strv_add(&h->facts.arena, &h->facts.sockets, path);
}

static int by_path(const void *x, const void *y)
{
	return strcmp(((const struct immure_fact_path *)x)->path,
		      ((const struct immure_fact_path *)y)->path);
}

/* What immure_facts_examine() does, from what was declared. */
static void examine(struct host *h, const struct immure_strv *want)
{
	struct immure_fact_path *all =
		immure_arena_alloc(&h->facts.arena, (want->n + 1) * sizeof(*all));
	size_t out = 0;

	for (size_t i = 0; i < want->n; i++) {
		assert_true(immure_path_is_normal(want->v[i]));
		all[i] = (struct immure_fact_path){
			.path = immure_arena_strdup(&h->facts.arena, want->v[i]),
		};
		for (size_t k = 0; k < h->declared_n; k++)
			if (strcmp(h->declared[k].path, want->v[i]) == 0)
				all[i] = h->declared[k];
	}
	qsort(all, want->n, sizeof(*all), by_path);
	for (size_t i = 0; i < want->n; i++)
		if (out == 0 || strcmp(all[out - 1].path, all[i].path) != 0)
			all[out++] = all[i];
	h->facts.paths = all;
	h->facts.paths_n = out;
}

/* Whatever can be started can be handed to another process. */
static void travels(const struct immure_plan *plan)
{
	struct immure_plan *copy = NULL;
	struct immure_error *err = NULL;
	void *bytes = NULL;
	size_t len = 0;

	if (immure_plan_startable(plan, NULL) < 0)
		return;
	assert_int_equal(immure_plan_seal_bytes(plan, &bytes, &len, NULL), 0);
	if (immure_plan_unseal(bytes, len, &copy, &err) < 0)
		fail_msg("%s", immure_error_text(err));
	immure_plan_destroy(copy);
	free(bytes);
}

/* on: with what was settled when it was asked for listings; otherwise from the start. */
static int32_t plan_once(struct host *h, const struct immure_command *cmd, bool on,
			 struct immure_plan **ret, struct immure_error **err)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_compile *begun = NULL;
	struct immure_strv want = { 0 }, dirs = { 0 };
	int32_t r;

	assert_int_equal(immure_plan_interest(h->policy, &h->facts, &a, &want, NULL), 0);
	examine(h, &want);
	assert_int_equal(immure_plan_listings(h->policy, &h->facts, cmd, &a, &dirs,
					      on ? &begun : NULL, NULL), 0);
	list(h, &dirs);
	r = immure_plan_make(h->policy, &h->facts, cmd, &begun, ret, err);
	immure_arena_done(&a);
	return r;
}

/* What the planner is told of a directory's names saves work and changes nothing; nor does
 * it whether it goes on with what it settled before. */
static void same_with_names(struct host *h, const struct immure_command *cmd, int32_t r)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	const char *dir = immure_plan_names(h->policy, &h->facts, &a);
	struct immure_plan *plan = NULL;
	struct immure_error *err = NULL;
	size_t n = dir ? strlen(dir) : 0;

	for (size_t i = 0; dir && i < h->declared_n; i++) {
		const char *path = h->declared[i].path;
		char name[256];

		if (strncmp(path, dir, n) == 0 && path[n] == '/') {
			(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(path + n + 1, "/"),
				       path + n + 1);
			immure_dirset_add(&h->facts.names, name);
		}
	}
	h->facts.names.complete = true;
	h->facts.names_dir = dir;
	assert_int_equal(plan_once(h, cmd, false, &plan, &err), r);
	if (r == 0)
		assert_string_equal(immure_plan_hash_of(plan), immure_plan_hash_of(h->plan));
	else
		assert_string_equal(immure_error_text(err), immure_error_text(h->err));
	memset(&h->facts.names, 0, sizeof(h->facts.names));
	h->facts.names_dir = NULL;
	immure_plan_destroy(plan);
	immure_error_free(err);
	immure_arena_done(&a);
}

int32_t host_plan(struct host *h, const char *profile, ...)
{
	static const char *const argv[] = { "/bin/prog", "arg", NULL };
	static const char *const env[] = { "HOME=/home/u", "PATH=/usr/bin", "TERM=xterm",
					   "SECRET=hunter2", "LD_PRELOAD=/evil.so", NULL };
	struct immure_setting settings[24];
	char keys[24][64];
	struct immure_policy_options o = {
		.size = sizeof(o), .profile = profile, .settings = settings, .file = h->file,
		.flags = IMMURE_POLICY_NO_DISCOVERY,
	};
	struct immure_command cmd = { .argv = argv, .env = env, .cwd = h->cwd,
				      .no_workspace = h->no_workspace };
	const char *text;
	va_list ap;
	int32_t r;

	forget(h);
	va_start(ap, profile);
	while ((text = va_arg(ap, const char *))) {
		const char *eq = strchr(text, '=');
		size_t n = (size_t)(eq - text), i = o.settings_n++;

		memcpy(keys[i], text, n);
		keys[i][n] = '\0';
		settings[i] = (struct immure_setting){ keys[i], eq + 1, "test" };
	}
	va_end(ap);
	if (immure_policy_load(&o, &h->policy, &h->err) < 0)
		fail_msg("policy: %s", immure_error_text(h->err));
	if (h->change)
		h->change(h->policy);
	r = plan_once(h, &cmd, true, &h->plan, &h->err);
	same_with_names(h, &cmd, r);
	assert_true(r < 0 ? !h->plan && h->err : h->plan && !h->err);
	if (r == 0)
		travels(h->plan);
	return r;
}

void host_said(struct host *h, const char *word)
{
	if (!strstr(immure_error_text(h->err), word))
		fail_msg("\"%s\" lacks \"%s\"", immure_error_text(h->err), word);
}

const struct immure_op *host_at(const struct host *h, const char *dst, uint32_t kind)
{
	for (size_t i = 0; i < h->plan->ops_n; i++) {
		const struct immure_op *op = &h->plan->ops[i];

		if (strcmp(op->dst, dst) == 0 &&
		    (kind == IMMURE_OP_MAX ? op->stage == IMMURE_STAGE_MOUNT : op->kind == kind))
			return op;
	}
	return NULL;
}

size_t host_count(const struct host *h, uint32_t kind)
{
	size_t n = 0;

	for (size_t i = 0; i < h->plan->ops_n; i++)
		n += h->plan->ops[i].kind == kind;
	return n;
}

const struct immure_op *host_watch(const struct host *h, const char *dir, const char *pattern)
{
	for (size_t i = 0; i < h->plan->ops_n; i++) {
		const struct immure_op *op = &h->plan->ops[i];

		if (op->kind == IMMURE_OP_WATCH && strcmp(op->src, dir) == 0 &&
		    strcmp(op->dst, pattern) == 0)
			return op;
	}
	return NULL;
}

const struct immure_gap *host_gap(const struct host *h, const char *dimension)
{
	for (size_t i = 0; i < h->plan->gaps_n; i++)
		if (strcmp(h->plan->gaps[i].dimension, dimension) == 0)
			return &h->plan->gaps[i];
	return NULL;
}

int host_position(const struct host *h, uint32_t kind, const char *dst)
{
	for (size_t i = 0; i < h->plan->ops_n; i++)
		if (h->plan->ops[i].kind == kind && strcmp(h->plan->ops[i].dst, dst) == 0)
			return (int)i;
	return -1;
}

void host_shows(const struct host *h, const char *dst, uint32_t kind)
{
	const struct immure_op *op = host_at(h, dst, IMMURE_OP_MAX);

	if (!op || op->kind != kind)
		fail_msg("%s is %s, not %s", dst, op ? immure_op_name(op->kind) : "nothing",
			 immure_op_name(kind));
}

void host_lacks(const struct host *h, const char *dst)
{
	const struct immure_op *op = host_at(h, dst, IMMURE_OP_MAX);

	if (op)
		fail_msg("%s is %s, not nothing", dst, immure_op_name(op->kind));
}

int host_setup(void **state)
{
	static struct host h;

	host_init(&h);
	*state = &h;
	return 0;
}

int host_teardown(void **state)
{
	host_done(*state);
	return 0;
}
