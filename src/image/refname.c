/* SPDX-License-Identifier: Apache-2.0 */
#include "image/refname.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Labels of letters, digits and hyphens, and a port; or an address in brackets. */
static bool is_host(const char *s)
{
	size_t n = strcspn(s, ":");

	if (*s == '[') {
		n = strspn(s + 1, "0123456789abcdefABCDEF:.") + 1;
		if (s[n] != ']')
			return false;
		n++;
	} else {
		for (size_t i = 0; i < n; i++)
			if (!is_alnum(s[i]) && !(strchr("-.", s[i]) && i > 0 && i + 1 < n && is_alnum(s[i - 1])))
				return false;
	}
	if (n == 0 || (s[n] != ':' && s[n]))
		return false;
	return !s[n] || (strlen(s + n + 1) <= 5 && s[n + 1] && strspn(s + n + 1, "0123456789") == strlen(s + n + 1));
}

/* Parts of small letters and digits with ".", "_", "__" or hyphens between them. */
static bool is_repository(const char *s)
{
	while (*s) {
		size_t gap = strspn(s, "._-");

		if (gap && !(gap == 1 || strspn(s, "-") == gap || strncmp(s, "__", gap) == 0))
			return false;
		s += gap;
		if (!is_lower(*s))
			return false;
		while (is_lower(*s))
			s++;
		if (*s != '/')
			continue;
		s++;
		if (!is_lower(*s))
			return false;
	}
	return true;
}

static bool is_tag(const char *s)
{
	for (const char *p = s; *p; p++)
		if (!is_alnum(*p) && *p != '_' && (p == s || (*p != '.' && *p != '-')))
			return false;
	return *s;
}

/* The part of text behind the last `at`, which is cut off; NULL: none. */
static char *cut(char *text, char at)
{
	char *p = strrchr(text, at);

	if (p)
		*p++ = '\0';
	return p;
}

int immure_refname_parse(const char *text, struct immure_refname *ret, const char **ret_why)
{
	char rest[IMMURE_REFNAME_MAX + IMMURE_REFNAME_TAG + IMMURE_IMAGE_DIGEST + 3];
	char *digest, *tag = NULL, *slash;

	*ret = (struct immure_refname){ 0 };
	if (strncmp(text, "docker://", 9) == 0)
		text += 9;
	*ret_why = "it is too long";
	if (strlen(text) >= sizeof(rest))
		return -EINVAL;
	(void)snprintf(rest, sizeof(rest), "%s", text);
	digest = cut(rest, '@');
	*ret_why = "the digest is not sha256: and 64 digits";
	if (digest && !immure_image_is_digest(digest))
		return -EINVAL;
	slash = strrchr(rest, '/');
	if (strrchr(slash ? slash : rest, ':'))
		tag = cut(rest, ':');
	*ret_why = "that is no tag";
	if (tag && (strlen(tag) > IMMURE_REFNAME_TAG || !is_tag(tag)))
		return -EINVAL;
	*ret_why = "it is too long";
	if (strlen(rest) > IMMURE_REFNAME_MAX - sizeof("docker.io/library/"))
		return -EINVAL;
	slash = strchr(rest, '/');
	if (slash && (memchr(rest, '.', (size_t)(slash - rest)) || memchr(rest, ':', (size_t)(slash - rest)) ||
		      strncmp(rest, "localhost/", 10) == 0)) {
		*slash++ = '\0';
		(void)snprintf(ret->host, sizeof(ret->host), "%s", rest);
		(void)snprintf(ret->repository, sizeof(ret->repository), "%s", slash);
	} else {
		(void)snprintf(ret->host, sizeof(ret->host), "docker.io");
		(void)snprintf(ret->repository, sizeof(ret->repository), "%s%s", slash ? "" : "library/", rest);
	}
	*ret_why = "that is no registry's host";
	if (!is_host(ret->host))
		return -EINVAL;
	*ret_why = "a repository has small letters, digits, and . _ - between them";
	if (!is_lower(*ret->repository) || !is_repository(ret->repository))
		return -EINVAL;
	(void)snprintf(ret->tag, sizeof(ret->tag), "%s", tag ? tag : digest ? "" : "latest");
	(void)snprintf(ret->digest, sizeof(ret->digest), "%s", digest ? digest : "");
	return 0;
}
