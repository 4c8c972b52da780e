/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images from registries. skopeo(1) fetches, sealed in by this library: it reaches the
 * registry's hosts and no others, and writes into one directory. It is not believed:
 *
 *   1  the manifest as the registry has it, whose digest is computed here; of an index,
 *      the entry for the platform
 *   2  the image of exactly that digest, as it is kept there ("dir:")
 *   3  that directory as an OCI layout, whose index names the digest
 *   4  the import, which verifies every byte against it
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/names.h"
#include "base/sha256.h"
#include "facts/facts.h"
#include "image/refname.h"
#include "image/store.h"
#include "lib/options.h"
#include "session/rmtree.h"

#define NAME_BYTES ((size_t)IMMURE_REFNAME_MAX * 2 + IMMURE_IMAGE_DIGEST + IMMURE_REFNAME_TAG)

enum { MANIFEST_MAX = 4 << 20, WORDS_MAX = 16 << 10, SETTINGS = 48, FILES_MAX = 1000 };

struct pull {
	struct immure_image_options o;
	struct immure_refname ref;
	struct immure_error **err;
	const char *skopeo;
	int lock_fd;
	char dir[4096]; /* where it is fetched to; "" = not made yet */
	char platform[64];
	char digest[IMMURE_IMAGE_DIGEST + 1]; /* of the manifest that is fetched */
	char from[NAME_BYTES];
};

static int32_t fail(const struct pull *p, int32_t code, int errnum, const char *what)
{
	return immure_fail(p->err, code, errnum, "image", p->ref.repository, "image: %s/%s: %s", p->ref.host,
			   p->ref.repository, what);
}

/* ---- before ---- */

static void name_platform(struct pull *p)
{
	static const char *const names[][2] = { { "x86_64", "amd64" }, { "aarch64", "arm64" } };
	struct utsname u;

	if (p->o.platform) {
		(void)snprintf(p->platform, sizeof(p->platform), "%s", p->o.platform);
		return;
	}
	(void)uname(&u); /* cannot fail with memory of ours */
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(u.machine, names[i][0]) == 0)
			(void)snprintf(u.machine, sizeof(u.machine), "%s", names[i][1]);
	(void)snprintf(p->platform, sizeof(p->platform), "linux/%.50s", u.machine);
}

static int32_t find_skopeo(struct pull *p)
{
	static const char *const places[] = { "/usr/bin/skopeo", "/usr/local/bin/skopeo" };
	int32_t r;

	p->skopeo = p->o.puller;
	for (size_t i = 0; !p->skopeo && i < sizeof(places) / sizeof(places[0]); i++)
		if (access(places[i], X_OK) == 0)
			p->skopeo = places[i];
	if (p->skopeo)
		return 0;
	r = immure_fail(p->err, IMMURE_ERR_UNSUPPORTED, ENOENT, "image", "skopeo", "image: skopeo, which fetches images, is not installed");
	if (p->err && *p->err)
		immure_error_set_hint(*p->err, "install the package skopeo, or import a layout or an archive");
	return r;
}

static const char *variable(const struct pull *p, const char *name)
{
	size_t n = strlen(name);

	for (const char *const *e = p->o.env; e && *e; e++)
		if (strncmp(*e, name, n) == 0 && (*e)[n] == '=' && (*e)[n + 1] == '/')
			return *e + n + 1;
	return NULL;
}

/* What pulls left that were killed: nobody holds its lock. */
static void sweep(const char *top)
{
	IMMURE_CLEANUP_FD int dir = open(top, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct immure_names names = { 0 };
	char path[4096];

	if (dir >= 0 && immure_names_read(dir, FILES_MAX, &names) == 0)
		for (size_t i = 0; i < names.n; i++) {
			IMMURE_CLEANUP_FD int one = openat(dir, names.v[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (one < 0 || flock(one, LOCK_EX | LOCK_NB) < 0)
				continue;
			(void)snprintf(path, sizeof(path), "%.3000s/%.255s", top, names.v[i]);
			(void)immure_rmtree(path); /* else the next one tries */
		}
	immure_names_done(&names);
}

/* Not below our own state, which no command may have for a workspace. */
static int32_t make_dir(struct pull *p)
{
	const char *cache = variable(p, "XDG_CACHE_HOME"), *home = variable(p, "HOME");
	unsigned char random[8];
	struct stat st;
	char top[3072];
	int e;

	if ((!cache && !home) || strlen(cache ? cache : home) > 2048)
		return fail(p, IMMURE_ERR_IO, 0, "there is no place to fetch it to: neither HOME nor XDG_CACHE_HOME is set");
	(void)snprintf(top, sizeof(top), "%.2048s%s/immure/pulls", cache ? cache : home, cache ? "" : "/.cache");
	e = immure_make_dirs(top);
	if (e == 0 && (stat(top, &st) < 0 || st.st_uid != geteuid() || st.st_mode & 022))
		e = -EPERM; /* others could put something in its place */
	if (e < 0)
		return immure_fail(p->err, IMMURE_ERR_IO, e, "image", top, "image: %s: %s", top, strerror(-e));
	sweep(top);
	if (syscall(SYS_getrandom, random, sizeof(random), 0) != sizeof(random))
		return fail(p, IMMURE_ERR_IO, errno, strerror(errno));
	(void)snprintf(p->dir, sizeof(p->dir), "%s/", top);
	for (size_t i = 0; i < sizeof(random); i++)
		(void)snprintf(p->dir + strlen(top) + 1 + 2 * i, 3, "%02x", random[i]);
	if (mkdir(p->dir, 0700) < 0) {
		e = errno;
		p->dir[0] = '\0';
	} else {
		p->lock_fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		e = p->lock_fd < 0 || flock(p->lock_fd, LOCK_SH | LOCK_NB) < 0 ? errno : 0;
	}
	return e ? fail(p, IMMURE_ERR_IO, e, strerror(e)) : 0;
}

/* ---- the sandbox of skopeo ---- */

struct settings {
	struct immure_setting v[SETTINGS];
	size_t n;
};

static void set(struct settings *s, const char *key, const char *value)
{
	if (s->n < SETTINGS)
		s->v[s->n++] = (struct immure_setting){ key, value, "image pull" };
}

/* Where registries of this name keep things elsewhere. One that is not known is denied, and named. */
static void allow_hosts(const struct pull *p, struct settings *s, char own[IMMURE_REFNAME_MAX + 8])
{
	static const char *const elsewhere[][2] = {
		{ "docker.io", "registry-1.docker.io:443" }, { "docker.io", "auth.docker.io:443" },
		{ "docker.io", "production.cloudflare.docker.com:443" }, { "quay.io", "*.quay.io:443" },
		{ "ghcr.io", "pkg-containers.githubusercontent.com:443" },
	};
	const char *port = strrchr(p->ref.host, ':');

	(void)snprintf(own, IMMURE_REFNAME_MAX + 8, "%s%s", p->ref.host, port && !strchr(port, ']') ? "" :
		       p->o.flags & IMMURE_IMAGE_PLAIN_HTTP ? ":80" : ":443");
	set(s, "network.allow", own);
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
		if (strcmp(p->ref.host, elsewhere[i][0]) == 0)
			set(s, "network.allow", elsewhere[i][1]);
	for (const char *const *h = p->o.hosts; h && *h; h++)
		set(s, "network.allow", *h);
}

static int32_t make_plan(const struct pull *p, const char *const *argv, immure_plan **ret)
{
	static const char *const read[] = { "/etc/containers", "/etc/docker/certs.d" };
	struct immure_policy_options po = { .size = sizeof(po), .profile = "strict", .workspace = p->dir, .env = p->o.env,
					    .flags = IMMURE_POLICY_NO_DISCOVERY };
	struct immure_plan_options lo = { .size = sizeof(lo), .argv = argv, .env = p->o.env, .cwd = p->dir };
	char own[IMMURE_REFNAME_MAX + 8];
	struct settings s = { .n = 0 };
	immure_policy *policy = NULL;
	size_t hosts = 0;
	int32_t r;

	while (p->o.hosts && p->o.hosts[hosts])
		hosts++;
	if (hosts > SETTINGS / 2)
		return fail(p, IMMURE_ERR_INVALID, E2BIG, "more hosts than can be allowed");
	set(&s, "network.mode", "limited");
	allow_hosts(p, &s, own);
	for (size_t i = 0; i < 2; i++)
		if (access(read[i], F_OK) == 0)
			set(&s, "files.read", read[i]);
	if (p->o.puller)
		set(&s, "files.read", p->o.puller);
	if (p->o.auth_file)
		set(&s, "files.read", p->o.auth_file);
	set(&s, "limits.wall_time", "2h");
	po.settings = s.v;
	po.settings_n = s.n;
	r = immure_policy_load(&po, &policy, p->err);
	if (r == 0)
		r = immure_plan_create(policy, &lo, ret, p->err);
	immure_policy_free(policy);
	return r;
}

/* What it said last, and what it was refused. */
static int32_t told(const struct pull *p, int words, const immure_result *result)
{
	const char *notices = immure_result_notices(result), *line;
	char text[WORDS_MAX], *end;
	ssize_t n = lseek(words, 0, SEEK_END);
	int32_t r;

	n = pread(words, text, sizeof(text) - 1, n > (ssize_t)sizeof(text) - 1 ? n - ((ssize_t)sizeof(text) - 1) : 0);
	text[n > 0 ? n : 0] = '\0';
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	end = strrchr(text, '\n');
	line = n > 0 ? (end ? end + 1 : text) : "it ended and said nothing";
	for (char *c = text; *c; c++) /* of strangers, into a terminal */
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	r = immure_fail(p->err, IMMURE_ERR_NO_IMAGE, 0, "image", p->from, "image: skopeo: %.1500s", line);
	if (p->err && *p->err && *notices)
		immure_error_set_hint(*p->err, "%.600s", notices);
	return r;
}

/* Runs it with what it writes to standard output in *ret_out, which the caller closes. */
static int32_t run(const struct pull *p, const char *const *argv, int *ret_out)
{
	IMMURE_CLEANUP_FD int words = memfd_create("words", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
	struct immure_run_options how = { .size = sizeof(how), .stdin_fd = -1, .stdout_fd = out, .stderr_fd = words,
					  .supervisor = p->o.supervisor, .egress = p->o.egress };
	immure_result *result = NULL;
	immure_plan *plan = NULL;
	int32_t r;

	if (words < 0 || out < 0)
		return fail(p, IMMURE_ERR_IO, errno, strerror(errno));
	r = make_plan(p, argv, &plan);
	if (r == 0)
		r = immure_plan_check(plan, p->err);
	if (r == 0)
		r = immure_run(plan, &how, &result, p->err);
	if (r == 0 && immure_result_exit_status(result) != 0)
		r = told(p, words, result);
	if (r == 0)
		*ret_out = immure_take_fd(&out);
	immure_result_free(result);
	immure_plan_free(plan);
	return r;
}

/* `skopeo VERB... SOURCE [TARGET]` with what a registry may need. */
static int32_t fetch(const struct pull *p, const char *const *verb, const char *tls, const char *auth, const char *target,
		     int *ret_out)
{
	const char *argv[16];
	size_t n = 0;

	argv[n++] = p->skopeo;
	/* Whose signatures count is the administrator's to say; where nothing is said, nobody's. */
	if (access("/etc/containers/policy.json", F_OK) < 0)
		argv[n++] = "--insecure-policy";
	while (*verb)
		argv[n++] = *verb++;
	if (p->o.flags & IMMURE_IMAGE_PLAIN_HTTP)
		argv[n++] = tls;
	if (p->o.auth_file) {
		argv[n++] = auth;
		argv[n++] = p->o.auth_file;
	}
	argv[n++] = p->from;
	if (target)
		argv[n++] = target;
	argv[n] = NULL;
	return run(p, argv, ret_out);
}

/* ---- the manifest ---- */

static const char *text_of(const struct immure_json *o, const char *key)
{
	const struct immure_json *v = o && immure_json_type(o) == IMMURE_JSON_OBJECT ? immure_json_get(o, key) : NULL;

	return v && immure_json_type(v) == IMMURE_JSON_STRING ? immure_json_string(v) : "";
}

static bool is_for(const struct pull *p, const struct immure_json *entry)
{
	const struct immure_json *where = immure_json_get(entry, "platform");
	const char *variant = text_of(where, "variant");
	char plain[64], full[64];

	(void)snprintf(plain, sizeof(plain), "%.20s/%.20s", text_of(where, "os"), text_of(where, "architecture"));
	(void)snprintf(full, sizeof(full), "%.40s/%.20s", plain, variant);
	/* arm64 has one variant, which some write down. */
	return strcmp(p->platform, full) == 0 ||
	       (strcmp(p->platform, plain) == 0 && (!*variant || strcmp(variant, "v8") == 0));
}

static int32_t choose(struct pull *p, const struct immure_json *doc)
{
	const struct immure_json *all = immure_json_type(doc) == IMMURE_JSON_OBJECT ? immure_json_get(doc, "manifests") : NULL;

	if (!all)
		return 0; /* it is the manifest itself */
	for (size_t i = 0; immure_json_type(all) == IMMURE_JSON_ARRAY && i < immure_json_size(all); i++) {
		const struct immure_json *e = immure_json_element(all, i);

		if (immure_json_type(e) != IMMURE_JSON_OBJECT || !is_for(p, e))
			continue;
		if (!immure_image_is_digest(text_of(e, "digest")))
			return fail(p, IMMURE_ERR_TRUST, 0, "its index has no digest for this platform");
		(void)snprintf(p->digest, sizeof(p->digest), "%s", text_of(e, "digest"));
		return 0;
	}
	return immure_fail(p->err, IMMURE_ERR_NO_IMAGE, 0, "image", p->platform, "image: %s/%s: it has none for %s",
			   p->ref.host, p->ref.repository, p->platform);
}

static int32_t resolve(struct pull *p)
{
	static const char *const verb[] = { "inspect", "--raw", NULL };
	IMMURE_CLEANUP_FREE char *text = NULL;
	IMMURE_CLEANUP_FD int out = -1;
	struct immure_json_failure why;
	struct immure_json *doc = NULL;
	size_t len = 0;
	int32_t r;
	int k;

	(void)snprintf(p->from, sizeof(p->from), "docker://%s/%s%s%s", p->ref.host, p->ref.repository,
		       *p->ref.digest ? "@" : ":", *p->ref.digest ? p->ref.digest : p->ref.tag);
	r = fetch(p, verb, "--tls-verify=false", "--authfile", NULL, &out);
	if (r < 0)
		return r;
	if (lseek(out, 0, SEEK_SET) < 0 || (k = immure_read_all(out, MANIFEST_MAX, &text, &len)) < 0)
		return fail(p, IMMURE_ERR_IO, 0, "its manifest is too large, or cannot be read");
	memcpy(p->digest, "sha256:", 7);
	immure_sha256_hex(text, len, 32, p->digest + 7);
	if (*p->ref.digest && strcmp(p->ref.digest, p->digest) != 0)
		return fail(p, IMMURE_ERR_TRUST, 0, "the registry's answer is not what the digest says");
	k = immure_json_parse(text, len, &doc, &why);
	if (k < 0)
		return fail(p, k == -ENOSYS ? IMMURE_ERR_UNSUPPORTED : IMMURE_ERR_TRUST, 0,
			    k == -ENOSYS ? "this build reads no manifests" : "its manifest is no JSON");
	r = choose(p, doc);
	immure_json_free(doc);
	return r;
}

/* ---- as a layout ---- */

static int put_text(int dir, const char *name, const char *text)
{
	IMMURE_CLEANUP_FD int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : immure_write_all(fd, text, strlen(text));
}

/* "dir:" has manifest.json, and blobs called by the digits of their digests. */
static int lay_out(const struct pull *p, int dir)
{
	static const char *const dirs[] = { "layout", "layout/blobs", "layout/blobs/sha256" };
	char from[IMMURE_IMAGE_HEX + 8], to[IMMURE_IMAGE_HEX + 24], index[400];
	struct immure_names names;
	struct stat st;
	int r = 0;

	for (size_t i = 0; i < 3 && r == 0; i++)
		r = mkdirat(dir, dirs[i], 0700) < 0 ? -errno : 0;
	IMMURE_CLEANUP_FD int fetched = openat(dir, "fetched", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (r < 0 || fetched < 0)
		return r < 0 ? r : -errno;
	r = immure_names_read(fetched, FILES_MAX, &names);
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		if (strlen(names.v[i]) != IMMURE_IMAGE_HEX || strspn(names.v[i], "0123456789abcdef") != IMMURE_IMAGE_HEX)
			continue;
		(void)snprintf(from, sizeof(from), "%s", names.v[i]);
		(void)snprintf(to, sizeof(to), "layout/blobs/sha256/%s", names.v[i]);
		r = renameat(fetched, from, dir, to) < 0 ? -errno : 0;
	}
	immure_names_done(&names);
	(void)snprintf(to, sizeof(to), "layout/blobs/sha256/%s", p->digest + 7);
	if (r == 0 && (renameat(fetched, "manifest.json", dir, to) < 0 || fstatat(dir, to, &st, AT_SYMLINK_NOFOLLOW) < 0))
		r = -errno;
	if (r < 0)
		return r;
	(void)snprintf(index, sizeof(index), "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":"
		       "\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\",\"size\":%llu}]}", p->digest,
		       (unsigned long long)st.st_size);
	r = put_text(dir, "layout/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
	return r < 0 ? r : put_text(dir, "layout/index.json", index);
}

/* What it is called here: as it was asked for. "": by its digest alone. */
static void name_it(const struct pull *p, char ret[NAME_BYTES])
{
	const char *repository = p->ref.repository;
	bool hub = strcmp(p->ref.host, "docker.io") == 0;

	if (hub && strncmp(repository, "library/", 8) == 0)
		repository += 8;
	*ret = '\0';
	if (*p->ref.tag)
		(void)snprintf(ret, NAME_BYTES, "%s%s%s:%s", hub ? "" : p->ref.host, hub ? "" : "/", repository, p->ref.tag);
}

static int32_t fetch_and_import(struct pull *p, char **ret)
{
	static const char *const verb[] = { "copy", "--quiet", NULL };
	char target[4200], layout[4200], name[NAME_BYTES];
	struct immure_image_options o = p->o;
	IMMURE_CLEANUP_FD int out = -1;
	int32_t r;
	int k;

	(void)snprintf(p->from, sizeof(p->from), "docker://%s/%s@%s", p->ref.host, p->ref.repository, p->digest);
	(void)snprintf(target, sizeof(target), "dir:%s/fetched", p->dir);
	r = fetch(p, verb, "--src-tls-verify=false", "--src-authfile", target, &out);
	if (r < 0)
		return r;
	IMMURE_CLEANUP_FD int dir = open(p->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	k = dir < 0 ? -errno : lay_out(p, dir);
	if (k < 0)
		return fail(p, IMMURE_ERR_IO, k, strerror(-k));
	if (!o.name) {
		name_it(p, name);
		o.name = *name ? name : NULL;
	}
	o.flags &= ~(uint32_t)IMMURE_IMAGE_PLAIN_HTTP;
	o.hosts = NULL;
	o.auth_file = o.puller = o.supervisor = o.egress = o.which = NULL;
	(void)snprintf(layout, sizeof(layout), "%s/layout", p->dir);
	return immure_image_import(layout, &o, ret, p->err);
}

int32_t immure_image_pull(const char *ref, const struct immure_image_options *options, char **ret, immure_error **err)
{
	const struct immure_image_options none = { .size = sizeof(none) };
	struct pull p = { .err = err, .lock_fd = -1 };
	const char *why = "there is none";
	int32_t r;
	int k;

	if (!ret || !ref || immure_refname_parse(ref, &p.ref, &why) < 0)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "image", ref ? ref : "", "image: %s: %s", ref ? ref : "pull",
				   ret ? why : "no place for the answer");
	r = immure_options_copy(&p.o, sizeof(p.o), options ? options : &none, "pull", err);
	if (r == 0 && p.o.which)
		r = immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "which", "a registry's images are named by ref");
	if (r == 0 && p.o.auth_file && p.o.auth_file[0] != '/')
		r = immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "auth_file", "image: auth_file: %s: must be absolute", p.o.auth_file);
	if (r == 0)
		r = find_skopeo(&p);
	if (r == 0) {
		name_platform(&p);
		r = make_dir(&p);
	}
	if (r == 0)
		r = resolve(&p);
	if (r == 0)
		r = fetch_and_import(&p, ret);
	k = p.dir[0] ? immure_rmtree(p.dir) : 0;
	if (k < 0 && r == 0) { /* it is imported all the same */
		immure_string_free(*ret);
		*ret = NULL;
		r = fail(&p, IMMURE_ERR_IO, k, "what was fetched cannot be removed");
	}
	immure_close(&p.lock_fd);
	return r;
}
