/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_SESSION_RMTREE_H
#define IMMURE_SESSION_RMTREE_H

/* Removes a directory of ours with all that a command left in it: links are never
 * followed, any depth, whatever modes it set. 0 when it is gone (or was not
 * there), else -errno of what could not be removed. */
int immure_rmtree(const char *path);

#endif
