/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a git config that the command wrote can be left to the host's git. */
#ifndef IMMURE_SESSION_GITCONFIG_H
#define IMMURE_SESSION_GITCONFIG_H

#include <stdbool.h>
#include <stddef.h>

/* True when every line is understood and every variable is known to start no
 * program, to include no file and to lead git to no other place. depth: how many
 * directories lie between the watched tree's top and the file, 0 for a file at
 * the top: as far up core.worktree may point. */
bool immure_gitconfig_harmless(const char *text, size_t len, size_t depth);

/* The same of where a directory of git's, open as dir, says by its file commondir that config
 * and hooks are. True for what git writes for a worktree, "../..", where that is a repository
 * that whoever walks the tree knows for one. */
bool immure_gitcommon_harmless(int dir);

#endif
