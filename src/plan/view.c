/* SPDX-License-Identifier: Apache-2.0 */
/* What the root is made of, before the policy's own paths: the host's tree with
 * its shared and volatile places replaced, or an empty one with the system
 * directories bound in. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"

static const char KEY_ALWAYS[] = "(always)";

static struct immure_point *tmpfs(struct immure_compile *b, enum immure_rank rank,
				  const char *path, uint32_t mode, const char *key)
{
	struct immure_point *pt = immure_compile_point(b, IMMURE_POINT_TMPFS, rank, path, key);

	if (pt)
		pt->mode = mode;
	return pt;
}

static void text(struct immure_compile *b, const char *path, const char *contents)
{
	struct immure_point *pt = immure_compile_point(b, IMMURE_POINT_TEXT, IMMURE_RANK_STRUCTURE,
						     path, "files.view");

	if (pt) {
		pt->src = contents;
		pt->mode = 0644;
		pt->file = true;
	}
}

/* The caller's name in a file of colon-separated fields: anything unusual in it
 * must not become a second line or field. */
static const char *safe_user(const struct immure_compile *b)
{
	const char *u = b->f->user;

	if (!u || !*u || strlen(u) > 32 || isdigit((unsigned char)*u))
		return "user";
	for (const char *c = u; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("_-.", *c))
			return "user";
	if (*u == '-' || strcmp(u, "root") == 0 || strcmp(u, "nobody") == 0)
		return "user";
	return u;
}

/* Accounts inside: root, nobody and the caller; not the host's list. */
static void accounts(struct immure_compile *b)
{
	const char *home = b->home && !strpbrk(b->home, ":\n") ? b->home : "/";
	const char *user = safe_user(b);
	const char *root_home = b->f->uid == 0 || b->p->identity == IMMURE_IDENTITY_ROOT ?
				home : "/root";
	const char *passwd = "", *group = "";

	if (b->p->identity == IMMURE_IDENTITY_CALLER && b->f->uid != 0 && b->f->uid != 65534)
		passwd = immure_arena_printf(b->a, "%s:x:%u:%u:%s:%s:/bin/sh\n", user, b->f->uid,
					     b->f->gid, user, home);
	if (b->p->identity == IMMURE_IDENTITY_CALLER && b->f->gid != 0 && b->f->gid != 65534)
		group = immure_arena_printf(b->a, "%s:x:%u:\n", user, b->f->gid);
	text(b, "/etc/passwd",
	     immure_arena_printf(b->a, "root:x:0:0:root:%s:/bin/sh\n%s"
				 "nobody:x:65534:65534:nobody:%s:/usr/sbin/nologin\n",
				 root_home, passwd ? passwd : "",
				 b->p->identity == IMMURE_IDENTITY_NOBODY ? home : "/nonexistent"));
	text(b, "/etc/group", immure_arena_printf(b->a, "root:x:0:\n%snogroup:x:65534:\n",
						  group ? group : ""));
}

/* A system path as the host has it: a link stays a link when what it leads to
 * is bound as well, which holds for everything below /usr and /etc. */
static void system_path(struct immure_compile *b, const char *path)
{
	const struct immure_fact_path *s = immure_facts_path(b->f, path);
	struct immure_point *pt;

	if (!s || !s->real || s->errnum)
		return;
	if (s->link && s->link_target && strcmp(s->real, path) != 0 &&
	    (immure_path_is_under(s->real, "/usr") || immure_path_is_under(s->real, "/etc"))) {
		pt = immure_compile_point(b, IMMURE_POINT_SYMLINK, IMMURE_RANK_STRUCTURE, path,
					"files.view");
		if (pt)
			pt->src = s->link_target;
		return;
	}
	pt = immure_compile_point(b, IMMURE_POINT_READ, IMMURE_RANK_STRUCTURE, path, "files.view");
	if (pt) {
		pt->src = s->real;
		pt->file = s->type != 'd';
		pt->optional = true;
	}
}

static void system_view(struct immure_compile *b)
{
	struct immure_point *run;

	for (size_t i = 0; immure_system_dirs[i]; i++)
		system_path(b, immure_system_dirs[i]);
	for (size_t i = 0; immure_system_etc[i]; i++)
		system_path(b, immure_system_etc[i]);
	accounts(b);
	if (b->p->network != IMMURE_NETWORK_LIMITED)
		text(b, "/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\n"
		     "hosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n");
	if (b->netns) {
		if (b->p->network == IMMURE_NETWORK_NONE)
			text(b, "/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
	} else {
		system_path(b, "/etc/hosts");
		system_path(b, "/etc/resolv.conf");
	}
	(void)tmpfs(b, IMMURE_RANK_STRUCTURE, "/tmp", 01777, "files.view");
	run = tmpfs(b, IMMURE_RANK_STRUCTURE, "/run", 0755, KEY_ALWAYS);
	if (run)
		run->ro = true;
}

static void host_view(struct immure_compile *b)
{
	const struct immure_fact_path *run = immure_facts_path(b->f, "/run");
	const struct immure_fact_path *sys = immure_facts_path(b->f, "/sys");
	const struct immure_fact_path *resolv = immure_facts_path(b->f, "/etc/resolv.conf");
	struct immure_point *pt;

	/* Sockets and state of every service live here. Not examined: assume it. */
	if (!run || run->type == 'd') {
		pt = tmpfs(b, IMMURE_RANK_STRUCTURE, run ? run->real : "/run", 0755, KEY_ALWAYS);
		if (pt)
			pt->ro = true;
	}
	/* Names are resolved by a file that often lies among the services' state. */
	if (!b->netns && resolv && resolv->real && resolv->type == 'f' &&
	    immure_path_is_under(resolv->real, "/run")) {
		pt = immure_compile_point(b, IMMURE_POINT_READ, IMMURE_RANK_STRUCTURE, resolv->real,
					  "network.mode");
		if (pt)
			pt->file = pt->optional = true;
	}
	/* A new sysfs can be mounted only by the owner of a network namespace. */
	if (!sys || (sys->type == 'd' && !sys->link))
		(void)immure_compile_point(b, b->netns ? IMMURE_POINT_SYSFS : IMMURE_POINT_SYS,
					 IMMURE_RANK_STRUCTURE, "/sys", KEY_ALWAYS);
}

/* What the image has is there already. */
static void image_view(struct immure_compile *b)
{
	if (b->netns)
		(void)immure_compile_point(b, IMMURE_POINT_SYSFS, IMMURE_RANK_STRUCTURE, "/sys", KEY_ALWAYS);
	(void)tmpfs(b, IMMURE_RANK_STRUCTURE, "/tmp", 01777, "files.view");
	(void)tmpfs(b, IMMURE_RANK_STRUCTURE, "/run", 0755, KEY_ALWAYS);
}

static int32_t tmp_areas(struct immure_compile *b)
{
	for (size_t i = 0; i < b->p->tmp.n; i++) {
		const char *path = immure_compile_path(b->a, b->p, b->f, b->p->tmp.v[i]);
		const struct immure_fact_path *s = path ? immure_facts_path(b->f, path) : NULL;

		if (immure_compile_awaits(b, b->p->tmp.v[i]))
			continue;
		if (!path)
			return immure_compile_refuse(b, "files.tmp", "%s: cannot be made absolute",
						   b->p->tmp.v[i]);
		if (strcmp(path, "/dev/shm") == 0)
			continue; /* part of /dev, private already */
		if (strcmp(path, "/") == 0 || immure_path_is_under(path, "/proc") ||
		    immure_path_is_under(path, "/sys") || immure_path_is_under(path, "/dev"))
			return immure_compile_refuse(b, "files.tmp", "%s: cannot be a private area",
						   path);
		if (s && s->real && s->type != 'd')
			return immure_compile_refuse(b, "files.tmp", "%s: not a directory", path);
		if (b->p->view == IMMURE_VIEW_HOST && s && !s->real) {
			/* Nothing there to hide; an area cannot be made in a read-only tree. */
			if (strcmp(path, "/tmp") == 0 || strcmp(path, "/var/tmp") == 0)
				continue;
			(void)immure_compile_refuse(b, "files.tmp", "%s: no such directory", path);
			immure_compile_hint(b, "create it, or take it out of files.tmp");
			return -IMMURE_ERR_POLICY;
		}
		(void)tmpfs(b, IMMURE_RANK_TMP, s && s->real ? s->real : path, 01777, "files.tmp");
	}
	return 0;
}

int32_t immure_compile_view(struct immure_compile *b)
{
	const struct immure_fact_path *home = b->f->home ? immure_facts_path(b->f, b->f->home) :
							   NULL;
	bool host = b->p->view == IMMURE_VIEW_HOST;

	if (b->home && strcmp(b->home, "/") != 0) {
		bool there = !home || home->type == 'd';

		if (b->p->home == IMMURE_HOME_EMPTY && (there || !host))
			(void)tmpfs(b, IMMURE_RANK_STRUCTURE, b->home, 0700, "files.home");
		else if (b->p->home == IMMURE_HOME_HOST && !host && there)
			(void)immure_compile_point(b, IMMURE_POINT_READ, IMMURE_RANK_STRUCTURE,
						 b->home, "files.home");
	}
	if (host)
		host_view(b);
	else if (b->p->view == IMMURE_VIEW_IMAGE)
		image_view(b);
	else
		system_view(b);
	(void)immure_compile_point(b, IMMURE_POINT_DEV, IMMURE_RANK_STRUCTURE, "/dev", KEY_ALWAYS);
	(void)immure_compile_point(b, IMMURE_POINT_PROC, IMMURE_RANK_STRUCTURE, "/proc",
				 KEY_ALWAYS);
	immure_compile_lookup(b);
	immure_compile_trust_files(b);
	return tmp_areas(b);
}
