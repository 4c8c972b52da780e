/* SPDX-License-Identifier: Apache-2.0 */
/* policy import: settings of other sandboxes as a policy. The policy goes to
 * standard output and what is to be known about it to standard error; a
 * restriction that is not in it makes the exit status 1. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/jsonw.h"
#include "base/opt.h"

enum { OPT_FROM = 1, OPT_JSON, OPT_QUIET, OPT_HELP };
enum { FILE_MAX = 1024 * 1024 };

static const struct immure_opt options[] = {
	{ "from", 0, "FORMAT", "whose settings they are", "srt|claude|codex|firejail", OPT_FROM },
	{ "json", 0, NULL, "print policy and notes as one JSON object", NULL, OPT_JSON },
	{ "quiet", 'q', NULL, "of the notes, print only what is lost", NULL, OPT_QUIET },
	{ "help", 'h', NULL, "print this and exit", NULL, OPT_HELP },
};
enum { OPTIONS = sizeof(options) / sizeof(options[0]) };

struct import {
	const char *from, *file;
	bool json, quiet;
};

static const char *const kinds[] = {
	[IMMURE_IMPORT_DROPPED] = "dropped",
	[IMMURE_IMPORT_TIGHTENED] = "tightened",
	[IMMURE_IMPORT_LOST] = "LOST",
	[IMMURE_IMPORT_MOOT] = "holds anyway",
};

static int take(void *ctx, int id, const char *value)
{
	struct import *i = ctx;

	switch (id) {
	case OPT_FROM:
		i->from = value;
		break;
	case OPT_JSON:
		i->json = true;
		break;
	case OPT_QUIET:
		i->quiet = true;
		break;
	default:
		return -ECANCELED;
	}
	return 0;
}

static int help(void)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	char *text;
	int status;

	immure_buf_puts(&out, "usage: immure policy import --from FORMAT FILE\n\n"
			"Turns FILE (- for standard input) into a policy on standard output. What has no\n"
			"equivalent is listed on standard error, by line. The exit status is 1 when a\n"
			"restriction of theirs is not in the policy.\n\nOptions:\n");
	immure_opt_help(options, OPTIONS, &out);
	text = immure_buf_take(&out);
	status = immure_cli_print(text);
	free(text);
	return status;
}

static bool lost_any(const immure_imported *imported)
{
	struct immure_import_note note = { .size = sizeof(note) };

	for (uint64_t i = 0; immure_imported_note(imported, i, &note) == 0; i++)
		if (note.kind == IMMURE_IMPORT_LOST)
			return true;
	return false;
}

static void say_notes(const struct import *im, const immure_imported *imported)
{
	struct immure_import_note note = { .size = sizeof(note) };

	for (uint64_t i = 0; immure_imported_note(imported, i, &note) == 0; i++) {
		if (im->quiet && note.kind != IMMURE_IMPORT_LOST)
			continue;
		if (note.line)
			immure_cli_say("%s:%llu: %s: %s: %s", im->file, (unsigned long long)note.line,
				       note.what, kinds[note.kind], note.why);
		else
			immure_cli_say("%s: %s: %s: %s", im->file, note.what, kinds[note.kind],
				       note.why);
	}
}

static char *as_json(const immure_imported *imported)
{
	struct immure_import_note note = { .size = sizeof(note) };
	struct immure_buf out = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_jsonw_init(&w, &out, 2);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "policy", immure_imported_policy(imported));
	immure_jsonw_array(&w, "notes");
	for (uint64_t i = 0; immure_imported_note(imported, i, &note) == 0; i++) {
		immure_jsonw_object(&w, NULL);
		immure_jsonw_str(&w, "kind",
				 note.kind == IMMURE_IMPORT_LOST ? "lost" :
				 note.kind == IMMURE_IMPORT_MOOT ? "moot" : kinds[note.kind]);
		immure_jsonw_uint(&w, "line", note.line);
		immure_jsonw_str(&w, "what", note.what);
		immure_jsonw_str(&w, "why", note.why);
		immure_jsonw_end(&w, '}');
	}
	immure_jsonw_end(&w, ']');
	immure_jsonw_end(&w, '}');
	return immure_buf_take(&out);
}

static int print(const struct import *im, const immure_imported *imported)
{
	char *json = im->json ? as_json(imported) : NULL;
	int status = immure_cli_print(im->json ? json : immure_imported_policy(imported));

	free(json);
	if (status)
		return status;
	if (!im->json)
		say_notes(im, imported);
	return lost_any(imported) ? IMMURE_EXIT_NO : 0;
}

static int import(const struct import *im)
{
	bool standard = !strcmp(im->file, "-");
	IMMURE_CLEANUP_FD int fd = standard ? -1 : open(im->file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	IMMURE_CLEANUP_FREE char *text = NULL;
	struct immure_error *err = NULL;
	immure_imported *imported = NULL;
	size_t len = 0;
	int status, r = standard || fd >= 0 ? 0 : -errno;

	if (r == 0)
		r = immure_read_all(standard ? STDIN_FILENO : fd, FILE_MAX, &text, &len);
	if (r < 0) {
		immure_cli_say("policy import: %s: %s", im->file, strerror(-r));
		return IMMURE_EXIT_FAILED;
	}
	if (immure_policy_import(im->from, text, len, standard ? "(standard input)" : im->file,
				 &imported, &err) < 0)
		return immure_cli_fail(err);
	status = print(im, imported);
	immure_imported_free(imported);
	return status;
}

int immure_cli_policy_import(int argc, char **argv)
{
	struct import im = { 0 };
	char *error = NULL;
	int r = immure_opt_parse(options, OPTIONS, argc, argv, take, &im, &error);

	if (r == -ECANCELED)
		return help();
	if (r < 0)
		immure_cli_say("policy import: %s", error ? error : strerror(-r));
	else if (!im.from)
		immure_cli_say("policy import: --from is missing: srt, claude, codex or firejail");
	else if (argc - r != 1)
		immure_cli_say("policy import: expected one file");
	free(error);
	if (r < 0 || !im.from || argc - r != 1)
		return IMMURE_EXIT_FAILED;
	im.file = argv[r];
	return import(&im);
}
