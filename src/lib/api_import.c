/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/error.h"

#ifdef IMMURE_LEAN

int32_t immure_policy_import(const char *format, const char *text, uint64_t len, const char *name,
			     immure_imported **ret, immure_error **err)
{
	(void)format;
	(void)text;
	(void)len;
	(void)name;
	(void)ret;
	return immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "json", "", "import: not in this build");
}

void immure_imported_free(immure_imported *imported)
{
	(void)imported;
}

const char *immure_imported_policy(const immure_imported *imported)
{
	(void)imported;
	return "";
}

int32_t immure_imported_note(const immure_imported *imported, uint64_t index,
			     struct immure_import_note *ret)
{
	(void)imported;
	(void)index;
	(void)ret;
	return -IMMURE_ERR_INVALID;
}

#else

#include "policy/import/import.h"

/* The public type is the internal one under another name. */
static struct immure_import *internal(immure_imported *i)
{
	return (struct immure_import *)(void *)i;
}

static const struct immure_import *look(const immure_imported *i)
{
	return (const struct immure_import *)(const void *)i;
}

int32_t immure_policy_import(const char *format, const char *text, uint64_t len, const char *name,
			     immure_imported **ret, immure_error **err)
{
	struct immure_import *im;
	int32_t r;

	if (!format || !text || !ret || len > SIZE_MAX / 2)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "import", "",
				   "import: no format, no text, or no place for the result");
	r = immure_import_run(format, text, (size_t)len, name && *name ? name : "settings", &im, err);
	if (r == 0)
		*ret = (immure_imported *)(void *)im;
	return r;
}

void immure_imported_free(immure_imported *imported)
{
	immure_import_destroy(internal(imported));
}

const char *immure_imported_policy(const immure_imported *imported)
{
	return look(imported)->text;
}

int32_t immure_imported_note(const immure_imported *imported, uint64_t index,
			     struct immure_import_note *ret)
{
	const struct immure_import *im = imported ? look(imported) : NULL;
	struct immure_import_note note;

	if (!im || index >= im->lines_n || !ret || ret->size < sizeof(ret->size))
		return -IMMURE_ERR_INVALID;
	note = (struct immure_import_note){
		.size = ret->size,
		.what = im->lines[index].what,
		.why = im->lines[index].why,
		.line = im->lines[index].line,
		.kind = im->lines[index].kind,
	};
	memcpy(ret, &note, ret->size < sizeof(note) ? ret->size : sizeof(note));
	return 0;
}

#endif
