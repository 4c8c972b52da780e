/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "session/journal_line.h"
#include "session/registry.h"
#include "session/ticket.h"

static char top[64];
static int dir = -1;

static int setup(void **state)
{
	(void)state;
	memcpy(top, "/tmp/immure-test-journal-XXXXXX", 32);
	assert_non_null(mkdtemp(top));
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0;
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	immure_close(&dir);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", top);
	return system(cmd);
}

/* A life: two cgroups, init, an exec that ended, one that did not, a failure. */
static void write_life(struct immure_journal *j)
{
	uint64_t a, b, init, e1, e2, bad, t;

	assert_int_equal(immure_journal_create(dir, j), 0);
	assert_int_equal(immure_journal_intent(j, IMMURE_JK_CGROUP, "/sys/fs/cgroup/a b", NULL, &a), 0);
	assert_int_equal(immure_journal_result(j, IMMURE_JK_CGROUP, a, 0, NULL), 0);
	assert_int_equal(immure_journal_intent(j, IMMURE_JK_INIT, "", NULL, &init), 0);
	assert_int_equal(immure_journal_result(j, IMMURE_JK_INIT, init, 0, "pid=12 start=345"), 0);
	assert_int_equal(immure_journal_intent(j, IMMURE_JK_EXEC, "key-1", NULL, &e1), 0);
	assert_int_equal(immure_journal_result(j, IMMURE_JK_EXEC, e1, 0, "pid=13"), 0);
	assert_int_equal(immure_journal_intent(j, IMMURE_JK_PORT, "x", NULL, &bad), 0);
	assert_int_equal(immure_journal_result(j, IMMURE_JK_PORT, bad, EADDRINUSE, NULL), 0);
	assert_int_equal(immure_journal_gone(j, IMMURE_JK_EXEC, e1, "status=0"), 0);
	assert_int_equal(immure_journal_intent(j, IMMURE_JK_EXEC, "key-2", NULL, &e2), 0);
	assert_int_equal(immure_journal_note(j, IMMURE_JK_STATE, "RUNNING", ""), 0);
	assert_int_equal(immure_journal_intent(j, IMMURE_JK_CGROUP, "/b", NULL, &b), 0);
	assert_int_equal(immure_journal_result(j, IMMURE_JK_CGROUP, b, 0, NULL), 0);
	assert_int_equal(immure_journal_removing(j, IMMURE_JK_CGROUP, b), 0);
	assert_int_equal(immure_journal_intent(j, IMMURE_JK_TICKET, "h", NULL, &t), 0);
	assert_int_equal(immure_journal_gone(j, IMMURE_JK_TICKET, t, NULL), 0);
}

static void check_standing(void)
{
	struct immure_standing *s;
	uint64_t pid = 0;
	size_t n;

	assert_int_equal(immure_journal_standing(dir, &s, &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(s[0].kind, IMMURE_JK_CGROUP);
	assert_string_equal(s[0].subject, "/sys/fs/cgroup/a b");
	assert_int_equal(s[0].phase, IMMURE_JP_DONE);
	assert_int_equal(s[1].kind, IMMURE_JK_INIT);
	assert_int_equal(immure_detail_uint(s[1].detail, "start", &pid), 0);
	assert_int_equal(pid, 345);
	assert_int_equal(immure_detail_uint(s[1].detail, "tart", &pid), -ENOENT);
	assert_string_equal(s[2].subject, "key-2");
	assert_int_equal(s[2].phase, IMMURE_JP_INTENT);
	assert_string_equal(s[3].subject, "/b");
	assert_int_equal(s[3].phase, IMMURE_JP_REMOVING);
	immure_standing_free(s, n);
}

static char *slurp(size_t *ret_len)
{
	char *text = NULL;

	assert_int_equal(immure_read_file_at(dir, "journal", 1 << 20, &text, ret_len), 0);
	return text;
}

static void put(const char *text, size_t len)
{
	assert_int_equal(immure_file_replace(dir, "journal", text, len, false), 0);
}

static void standing(void **state)
{
	struct immure_journal j;

	(void)state;
	write_life(&j);
	check_standing();
	immure_journal_done(&j);
	assert_int_equal(immure_journal_create(dir, &j), -EEXIST);
	assert_int_equal(immure_journal_open(dir, &j), 0);
	assert_int_equal(j.next, 17);
	assert_int_equal(immure_journal_note(&j, IMMURE_JK_STATE, "EXITED", NULL), 0);
	immure_journal_done(&j);
	check_standing();
}

static int last_seq(void *ctx, const struct immure_journal_record *r)
{
	*(uint64_t *)ctx = r->seq;
	return 0;
}

/* Cut off at every byte: exactly the whole lines before the cut are there, and the
 * next append follows them. */
static void torn_at_every_byte(void **state)
{
	struct immure_journal j;
	size_t len, lines = 0;
	char *text;

	(void)state;
	write_life(&j);
	immure_journal_done(&j);
	text = slurp(&len);
	for (size_t cut = 0; cut <= len; cut++) {
		uint64_t torn = 0, seq = 0;

		if (cut > 0 && text[cut - 1] == '\n')
			lines++;
		put(text, cut);
		assert_int_equal(immure_journal_read(dir, true, last_seq, &seq, &torn), 0);
		assert_int_equal(seq, lines);
		assert_int_equal(torn > 0, cut > 0 && text[cut - 1] != '\n');
		assert_int_equal(immure_journal_open(dir, &j), 0);
		assert_int_equal(j.next, lines + 1);
		assert_int_equal(immure_journal_note(&j, IMMURE_JK_STATE, "AFTER", NULL), 0);
		immure_journal_done(&j);
		assert_int_equal(immure_journal_read(dir, true, last_seq, &seq, &torn), 0);
		assert_int_equal(seq, lines + 1);
		assert_int_equal(torn, 0);
	}
	free(text);
}

/* Every byte changed, in turn: never accepted whole; what is handed out is a
 * beginning of the truth. */
static void forged_at_every_byte(void **state)
{
	struct immure_journal j;
	size_t len, line = 0;
	char *text;

	(void)state;
	write_life(&j);
	immure_journal_done(&j);
	text = slurp(&len);
	for (size_t i = 0; i < len; i++) {
		struct immure_standing *s;
		uint64_t torn = 0, seq = 0;
		size_t n;
		int r;

		text[i] ^= 1;
		put(text, len);
		r = immure_journal_read(dir, true, last_seq, &seq, &torn);
		assert_true(seq <= line);
		if (i == len - 1) /* the last newline: indistinguishable from a torn end */
			assert_true(r == 0 && torn > 0);
		else
			assert_int_equal(r, -EBADMSG);
		if (r == -EBADMSG) {
			assert_int_equal(immure_journal_open(dir, &j), -EBADMSG);
			assert_int_equal(immure_journal_standing(dir, &s, &n), -EBADMSG);
			immure_standing_free(s, n);
		}
		text[i] ^= 1;
		if (text[i] == '\n')
			line++;
	}
	free(text);
}

/* Lines dropped, doubled, swapped. */
static void moved_lines(void **state)
{
	struct immure_journal j;
	char *text, *line[20], other[8192];
	size_t len, n = 0, size[20];

	(void)state;
	write_life(&j);
	immure_journal_done(&j);
	text = slurp(&len);
	for (char *p = text; *p && n < 20; p = strchr(p, '\n') + 1) {
		line[n] = p;
		size[n++] = (size_t)(strchr(p, '\n') + 1 - p);
	}
	assert_int_equal(n, 16);
	for (size_t i = 0; i + 1 < n; i++) {
		size_t at = (size_t)(line[i] - text), out;

		memcpy(other, text, at); /* dropped */
		memcpy(other + at, line[i + 1], len - at - size[i]);
		put(other, len - size[i]);
		assert_int_equal(immure_journal_read(dir, true, NULL, NULL, NULL), -EBADMSG);
		memcpy(other, text, at); /* swapped with the next */
		memcpy(other + at, line[i + 1], size[i + 1]);
		memcpy(other + at + size[i + 1], line[i], size[i]);
		out = at + size[i] + size[i + 1];
		memcpy(other + out, text + out, len - out);
		put(other, len);
		assert_int_equal(immure_journal_read(dir, true, NULL, NULL, NULL), -EBADMSG);
	}
	free(text);
}

static void rotation(void **state)
{
	struct immure_standing *s;
	struct immure_journal j;
	uint64_t keep, seq, e, last = 0;
	struct stat st;
	size_t n;

	(void)state;
	assert_int_equal(immure_journal_create(dir, &j), 0);
	j.rotate_at = 4096;
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_CGROUP, "/keep", NULL, &keep), 0);
	assert_int_equal(immure_journal_result(&j, IMMURE_JK_CGROUP, keep, 0, NULL), 0);
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_EXEC, "open", NULL, &e), 0);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(immure_journal_intent(&j, IMMURE_JK_EXEC, "k", NULL, &seq), 0);
		assert_int_equal(immure_journal_result(&j, IMMURE_JK_EXEC, seq, 0, "pid=1"), 0);
		assert_int_equal(immure_journal_gone(&j, IMMURE_JK_EXEC, seq, "status=0"), 0);
	}
	assert_int_equal(immure_journal_result(&j, IMMURE_JK_EXEC, e, 0, "pid=2"), 0);
	assert_int_equal(fstatat(dir, "journal", &st, 0), 0);
	assert_true(st.st_size < 8192);
	assert_int_equal(fstatat(dir, "journal.1", &st, 0), 0);
	assert_true(st.st_size < 8192);
	assert_int_equal(immure_journal_standing(dir, &s, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(s[0].seq, keep);
	assert_string_equal(s[0].subject, "/keep");
	assert_int_equal(s[1].seq, e);
	assert_string_equal(s[1].subject, "open");
	assert_string_equal(s[1].detail, "pid=2");
	immure_standing_free(s, n);
	assert_int_equal(immure_journal_read(dir, true, last_seq, &last, NULL), 0);
	assert_int_equal(last, j.next - 1);
	/* Killed between the link and the rename: both names are the same file. */
	assert_int_equal(unlinkat(dir, "journal.1", 0), 0);
	assert_int_equal(linkat(dir, "journal", dir, "journal.1", 0), 0);
	assert_int_equal(immure_journal_read(dir, true, last_seq, &last, NULL), 0);
	/* Removed like everything else. */
	assert_int_equal(immure_journal_gone(&j, IMMURE_JK_CGROUP, keep, NULL), 0);
	assert_int_equal(immure_journal_standing(dir, &s, &n), 0);
	assert_int_equal(n, 1);
	immure_standing_free(s, n);
	/* An older file that is not what the newer one says. */
	assert_int_equal(unlinkat(dir, "journal.1", 0), 0);
	assert_int_equal(immure_file_replace(dir, "journal.1", "", 0, false), 0);
	assert_int_equal(immure_journal_read(dir, true, NULL, NULL, NULL), -EBADMSG);
	assert_int_equal(immure_journal_read(dir, false, NULL, NULL, NULL), 0);
	immure_journal_done(&j);
}

/* The disk is full: what was written of the line is taken back, the caller is told,
 * and nothing is acted upon. */
static void full_disk(void **state)
{
	struct immure_journal j;
	uint64_t last = 0;
	int fd;

	(void)state;
	write_life(&j);
	fd = j.fd;
	j.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_INIT, "", NULL, NULL), -ENOSPC);
	(void)close(j.fd);
	j.fd = fd;
	assert_true(j.broken); /* ftruncate of a device does not work */
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_INIT, "", NULL, NULL), -EBADF);
	j.broken = false;
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_INIT, "", NULL, NULL), 0);
	assert_int_equal(immure_journal_read(dir, false, last_seq, &last, NULL), 0);
	assert_int_equal(last, 17);
	immure_journal_done(&j);
}

static void tickets(void **state)
{
	struct immure_entry e = { .id = "2aaaaaaaaaaaaaaa", .dir_fd = dir, .lock_fd = -1 };
	char one[IMMURE_TICKET_LEN + 1], two[IMMURE_TICKET_LEN + 1], id[IMMURE_ID_LEN + 1], wrong[200];
	struct immure_ticket_info info;
	struct immure_standing *s;
	struct immure_journal j;
	size_t n, len;
	char *text;

	(void)state;
	assert_int_equal(immure_journal_create(dir, &j), 0);
	assert_int_equal(immure_ticket_current(&e, &info), -ENOENT);
	assert_int_equal(immure_ticket_issue(&e, &j, 0, one, NULL), 0);
	assert_int_equal(strlen(one), IMMURE_TICKET_LEN);
	assert_true(immure_ticket_parse(one, id));
	assert_string_equal(id, e.id);
	text = slurp(&len); /* the hash is recorded, the ticket is not */
	assert_null(strstr(text, one + 5 + IMMURE_ID_LEN));
	free(text);
	assert_int_equal(immure_ticket_issue(&e, &j, 0, two, NULL), 0);
	assert_string_not_equal(one, two);
	assert_int_equal(immure_ticket_acknowledge(&e, one, NULL), -IMMURE_ERR_NO_SESSION); /* withdrawn */
	assert_int_equal(immure_ticket_current(&e, &info), 0);
	assert_false(info.acknowledged);
	assert_int_equal(immure_ticket_acknowledge(&e, two, NULL), 0);
	assert_int_equal(immure_ticket_acknowledge(&e, two, NULL), 0);
	assert_int_equal(immure_ticket_current(&e, &info), 0);
	assert_true(info.acknowledged);
	for (size_t i = 0; i < strlen(two); i++) {
		memcpy(wrong, two, sizeof(two));
		wrong[i] = wrong[i] == '3' ? '4' : '3';
		assert_int_equal(immure_ticket_use(&e, wrong, NULL), -IMMURE_ERR_NO_SESSION);
	}
	assert_int_equal(immure_ticket_use(&e, "", NULL), -IMMURE_ERR_NO_SESSION);
	assert_int_equal(immure_ticket_use(&e, two, NULL), 0);
	assert_int_equal(immure_ticket_use(&e, two, NULL), -IMMURE_ERR_NO_SESSION);
	assert_int_equal(immure_ticket_acknowledge(&e, two, NULL), -IMMURE_ERR_NO_SESSION);
	assert_int_equal(immure_ticket_use(&e, two, NULL), -IMMURE_ERR_NO_SESSION);
	assert_int_equal(immure_ticket_current(&e, &info), -ENOENT);
	/* Void when nobody takes it in time; not once it was acknowledged. */
	assert_int_equal(immure_ticket_issue(&e, &j, 1, one, NULL), 0);
	assert_int_equal(usleep(5000), 0);
	assert_int_equal(immure_ticket_use(&e, one, NULL), -IMMURE_ERR_NO_SESSION);
	assert_int_equal(immure_ticket_issue(&e, &j, 60000, one, NULL), 0);
	assert_int_equal(immure_ticket_acknowledge(&e, one, NULL), 0);
	/* In the journal exactly the last one is standing. */
	assert_int_equal(immure_journal_standing(dir, &s, &n), 0);
	for (size_t i = 0, found = 0; i < n; i++) {
		found += s[i].kind == IMMURE_JK_TICKET;
		assert_true(found <= 2); /* the used one is recorded by who used it */
	}
	immure_standing_free(s, n);
	immure_journal_done(&j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(standing, setup, teardown),
		cmocka_unit_test_setup_teardown(torn_at_every_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(forged_at_every_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(moved_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(rotation, setup, teardown),
		cmocka_unit_test_setup_teardown(full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(tickets, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
