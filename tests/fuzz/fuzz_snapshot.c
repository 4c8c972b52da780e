/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots from a stranger. The first byte chooses:
 *
 *   m   what is said of it, and the requests that are made of that; its hash is made right first,
 *       or nothing past it would ever be reached
 *   p   its files, into a private area;  c  into the changes of a workspace;  s  passed over
 *
 * Whatever they say, nothing is made outside of the area. What was made can be saved, and what
 * comes of that is the same again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sha256.h"
#include "fuzz.h"
#include "lib/pool.h"
#include "lib/snapshot.h"
#include "session/rmtree.h"
#include "session/snapfiles.h"

enum { VALUES = 64 };

static const char head[] = "immure-snapshot 1 ", canary[] = "canary of the fuzzer\n";

static void must(bool so)
{
	if (!so)
		abort();
}

/* ---- what is said of it ---- */

static void policy(const struct immure_jsonr *json, const struct immure_jsonr_value *about)
{
	const struct immure_jsonr_value *list = immure_jsonr_get(json, about, "policy");
	struct immure_pool_policy p = { .arena = IMMURE_ARENA_INIT };

	if (list && immure_carried_read(json, list, "the fuzzer's", &p, NULL) == 0) {
		must(p.profile != NULL);
		for (size_t i = 0; i < p.settings_n; i++)
			must(p.settings[i].key && p.settings[i].value);
	}
	immure_arena_done(&p.arena);
}

/* What is asked is one request that a server can read. */
static void request(int32_t said_so, struct immure_buf *b)
{
	struct immure_jsonr_value *v = calloc(4096, sizeof(*v));
	struct immure_jsonr json;

	if (v && said_so == 0 && b->len)
		must(immure_jsonr_parse(&json, b->data, b->len, v, 4096) != -EINVAL);
	free(v);
	immure_buf_done(b);
}

static void network(const struct immure_jsonr *json, const struct immure_jsonr_value *about)
{
	char now[] = "{\"allow\":[\"a.example:443\",\"b.example:80\"],\"deny\":[\"c.example\"]}";
	struct immure_jsonr_value v[VALUES];
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonr is;
	int32_t r;

	must(immure_jsonr_parse(&is, now, sizeof(now) - 1, v, VALUES) == 0);
	r = immure_said_narrowed(json, immure_jsonr_get(json, about, "network"), &is, v, &b, NULL);
	if (r == 0 && b.len)
		must(strstr(b.data, "c.example") != NULL); /* what is denied now stays so */
	request(r, &b);
}

static void said(const char *text, size_t len)
{
	struct immure_snapshot_read s = IMMURE_SNAPSHOT_READ_INIT;
	const struct immure_jsonr_value *about;
	struct immure_buf b = IMMURE_BUF_INIT;
	char hex[65];
	int r;

	immure_sha256_hex(text, len, 32, hex);
	immure_buf_printf(&b, "%s%s\n", head, hex);
	immure_buf_put(&b, text, len);
	must(immure_buf_ok(&b));
	r = immure_snapshot_parse(b.data, b.len, &s);
	must(r == 0 || r == -EBADMSG);
	immure_buf_done(&b);
	if (r == 0) {
		about = immure_jsonr_get(&s.json, s.v, "about");
		must(immure_snapstore_verify(&s, NULL) < 0); /* it has no files */
		immure_buf_done(&b);
		request(immure_said_tightened(&s.json, about, &b, NULL), &b);
		network(&s.json, about);
		policy(&s.json, about);
	}
	immure_snapshot_read_done(&s);
}

/* ---- its files ---- */

static int directory(const char *base, const char *name)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", base, name);
	must(mkdir(path, 0700) == 0);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	must(fd >= 0);
	return fd;
}

static struct immure_snap_area area(const char *base, const char *name, char kind)
{
	return (struct immure_snap_area){ .kind = (uint8_t)kind, .label = "/tmp", .uid = geteuid(), .gid = getegid(),
					  .fd = directory(base, name) };
}

static int bytes(const void *data, size_t len)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	must(fd >= 0 && immure_write_all(fd, data, len) == 0);
	return fd;
}

static void is_as_it_was(const char *base)
{
	char path[64], text[sizeof(canary)] = "";
	struct stat st;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/canary", base);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	must(fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && (st.st_mode & 07777) == 0600);
	must(read(fd, text, sizeof(text)) == sizeof(canary) - 1 && strcmp(text, canary) == 0);
	immure_close(&fd);
	must(stat(base, &st) == 0 && st.st_nlink <= 5 && (st.st_mode & 07777) == 0700);
}

/* Saved, made again in another place, and saved again. Who is not root may not be able to. */
static void again(const char *base, const struct immure_snap_area *made)
{
	struct immure_snap_area other = area(base, "again", (char)made->kind);
	struct immure_snap_count once, read, twice;
	int a = bytes("", 0), b = bytes("", 0);
	int r = immure_snap_write(made, 1, a, &once);

	must(r == 0 || geteuid() != 0 || r == -ENAMETOOLONG);
	if (r == 0) {
		must(immure_snap_read(a, "pc", &other, 1, &read) == 0);
		must(immure_snap_write(&other, 1, b, &twice) == 0);
		must(read.entries == once.entries && twice.entries == once.entries && twice.bytes == once.bytes &&
		     twice.left_out == once.left_out);
	}
	immure_close(&other.fd);
	immure_close(&a);
	immure_close(&b);
}

static void files(char kind, const uint8_t *data, size_t len)
{
	const char *tmp = getenv("TMPDIR"); /* in memory it is quicker */
	char base[32], path[64];
	struct immure_snap_area a;
	struct immure_snap_count count;
	int from = bytes(data, len), fd, r;

	must(snprintf(base, sizeof(base), "%s/immure-fuzz-XXXXXX", tmp && strlen(tmp) < 12 ? tmp : "/tmp") > 0);
	must(mkdtemp(base) != NULL);
	(void)snprintf(path, sizeof(path), "%s/canary", base);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	must(fd >= 0 && immure_write_all(fd, canary, sizeof(canary) - 1) == 0);
	immure_close(&fd);
	a = area(base, "area", kind == 's' ? 'p' : kind);
	r = immure_snap_read(from, kind == 's' ? "" : kind == 'p' ? "p" : "c", &a, 1, &count);
	must(r <= 0 && r > -4096);
	must(!a.filled || kind != 's');
	is_as_it_was(base);
	if (r == 0 && a.filled)
		again(base, &a);
	immure_close(&a.fd);
	immure_close(&from);
	must(immure_rmtree(base) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	if (data[0] == 'm')
		said((const char *)data + 1, len - 1);
	else if (data[0] == 'p' || data[0] == 'c' || data[0] == 's')
		files((char)data[0], data + 1, len - 1);
	return 0;
}
