/* SPDX-License-Identifier: Apache-2.0 */
/* immure-image, the image worker: started by the library with the store as descriptor 3 and
 * what is to be imported as 4, one act each time. Its answer goes to standard output:
 * a line "0" and the text, or a line with an errno, one that says what, one with a hint. Of no
 * use by hand. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "image/worker.h"
#include "kernel/sys.h"

#define BYTES_MAX (UINT64_C(64) << 30)
enum { ENTRIES_MAX = 2000000 };

int image_fail(struct image_worker *w, int errnum, const char *fmt, ...)
{
	va_list ap;

	if (!w->why[0]) {
		va_start(ap, fmt);
		(void)vsnprintf(w->why, sizeof(w->why), fmt, ap);
		va_end(ap);
	}
	return errnum > 0 ? -errnum : -EIO;
}

/* Nothing of whoever started us stays but the two and the answer. */
static int only_ours(void)
{
	struct stat st;
	int null;

	if (fstat(IMAGE_STORE_FD, &st) < 0 || !S_ISDIR(st.st_mode) || fcntl(IMAGE_INPUT_FD, F_GETFD) < 0)
		return -EBADF;
	if (immure_sys_close_range(IMAGE_INPUT_FD + 1, ~0U, 0) < 0)
		return -ENOSYS;
	null = immure_open_null();
	if (null < 0)
		return null;
	if (dup2(null, 0) < 0)
		return -errno;
#ifndef __SANITIZE_ADDRESS__
	if (dup2(null, 2) < 0)
		return -errno;
#endif
	immure_close(&null);
	return 0;
}

static int option(struct image_worker *w, struct image_request *q, const char *key, const char *value)
{
	const struct {
		const char *key;
		const char **at;
	} texts[] = { { "--ref", &q->ref }, { "--name", &q->name }, { "--platform", &q->platform },
		      { "--which", &q->which } };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(key, texts[i].key) == 0) {
			*texts[i].at = value;
			return 0;
		}
	if (strcmp(key, "--max-size") == 0)
		return immure_parse_u64(value, &w->max_bytes) < 0 || w->max_bytes == 0 ? -EINVAL : 0;
	if (strcmp(key, "--json") == 0) {
		w->json = strcmp(value, "1") == 0;
		return 0;
	}
	return -EINVAL;
}

static int request(struct image_worker *w, int argc, char **argv, struct image_request *q)
{
	*q = (struct image_request){ .verb = argc > 1 ? argv[1] : "", .platform = image_host_platform() };
	for (int i = 2; i < argc; i += 2)
		if (i + 1 == argc || option(w, q, argv[i], argv[i + 1]) < 0)
			return image_fail(w, EINVAL, "%.60s: no option of the image worker's", argv[i]);
	if (q->name && !immure_image_is_name(q->name))
		return image_fail(w, EINVAL, "%.100s: not a name for an image", q->name);
	return 0;
}

static int act(struct image_worker *w, const struct image_request *q, struct immure_buf *out)
{
	if (strcmp(q->verb, "import") == 0)
		return image_import(w, q, out);
	if (strcmp(q->verb, "ls") == 0)
		return image_list(w, out);
	if (strcmp(q->verb, "gc") == 0)
		return image_gc(w, out);
	if (!q->ref)
		return image_fail(w, EINVAL, "no image was named");
	if (strcmp(q->verb, "inspect") == 0)
		return image_inspect(w, q, out);
	if (strcmp(q->verb, "verify") == 0)
		return image_verify(w, q, out);
	if (strcmp(q->verb, "rm") == 0)
		return image_remove(w, q, out);
	return image_fail(w, EINVAL, "%.60s: no act of the image worker's", q->verb);
}

static int run(struct image_worker *w, int argc, char **argv, struct immure_buf *out)
{
	struct image_request q;
	int r = only_ours();

	if (r < 0)
		return image_fail(w, -r, "not started by immure: descriptors 3 and 4 are not what they are to be; "
				  "it is not for use by hand");
	/* Names in archives are UTF-8 where they say what they are; without a locale that the C
	 * library has built in it would look for tables to convert them. */
	if (!setlocale(LC_CTYPE, "C.UTF-8") && !setlocale(LC_CTYPE, "C.utf8"))
		return image_fail(w, ENOENT, "the locale C.UTF-8 is missing");
	if (image_hash_warm() < 0)
		return image_fail(w, ENOSYS, "SHA-256 is not to be had of this OpenSSL");
	r = request(w, argc, argv, &q);
	if (r == 0)
		r = image_confine(w);
	(void)umask(0);
	if (r == 0)
		r = act(w, &q, out);
	image_keep_end(w);
	return r;
}

int main(int argc, char **argv)
{
	struct image_worker w = { .store_fd = IMAGE_STORE_FD, .tmp_fd = -1, .max_bytes = BYTES_MAX,
				  .max_entries = ENTRIES_MAX };
	struct immure_buf out = IMMURE_BUF_INIT, why = IMMURE_BUF_INIT;
	int r;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return 1;
	r = run(&w, argc, argv, &out);
	if (r == 0 && out.failed)
		r = image_fail(&w, ENOMEM, "out of memory");
	if (r < 0) {
		immure_buf_printf(&why, "%d\n", -r);
		immure_buf_put_printable(&why, w.why, strlen(w.why));
		immure_buf_putc(&why, '\n');
		immure_buf_put_printable(&why, w.hint, strlen(w.hint));
		immure_buf_putc(&why, '\n');
	}
	if (r == 0 && immure_write_all(1, "0\n", 2) < 0)
		r = -EPIPE;
	if (immure_write_all(1, r < 0 ? why.data : out.data ? out.data : "", r < 0 ? why.len : out.len) < 0)
		r = -EIO;
	immure_buf_done(&out);
	immure_buf_done(&why);
	immure_arena_done(&w.arena);
	return r < 0 ? 1 : 0;
}
