/* SPDX-License-Identifier: Apache-2.0 */
#include "base/parse.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

int immure_parse_u64(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10U, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -ERANGE;
	}
	*ret = v;
	return 0;
}

/* Reads "digits[.digits]" at *s as value * unit, exact to the last unit;
 * fractions finer than one unit are refused rather than rounded away. */
static int scaled(const char *s, size_t len, uint64_t unit, uint64_t *ret)
{
	uint64_t whole = 0, frac = 0, scale = 1;
	bool seen = false, point = false;

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '.' && !point && seen) {
			point = true;
			seen = false;
			continue;
		}
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
		seen = true;
		if (point) {
			if (scale > 1000000000U)
				return -EINVAL;
			frac = frac * 10 + (uint64_t)(s[i] - '0');
			scale *= 10;
		} else if (__builtin_mul_overflow(whole, 10U, &whole) ||
			   __builtin_add_overflow(whole, (uint64_t)(s[i] - '0'), &whole)) {
			return -ERANGE;
		}
	}
	if (!seen)
		return -EINVAL;
	if (__builtin_mul_overflow(whole, unit, &whole) ||
	    __builtin_mul_overflow(frac, unit, &frac))
		return -ERANGE;
	if (frac % scale && unit < 1024)
		return -EINVAL;
	if (__builtin_add_overflow(whole, frac / scale, ret))
		return -ERANGE;
	return 0;
}

static size_t number_len(const char *s)
{
	size_t n = 0;

	while (isdigit((unsigned char)s[n]) || s[n] == '.')
		n++;
	return n;
}

int immure_parse_size(const char *s, uint64_t *ret_bytes)
{
	static const char units[] = "KMGT";
	size_t n = number_len(s);
	uint64_t unit = 1;
	const char *suffix = s + n;

	if (*suffix) {
		const char *u = strchr(units, toupper((unsigned char)*suffix));

		if (u) {
			unit = 1ULL << (10 * (u - units + 1));
			suffix++;
			if (*suffix && strcasecmp(suffix, "B") != 0 && strcasecmp(suffix, "iB") != 0)
				return -EINVAL;
		} else if (strcasecmp(suffix, "B") != 0) {
			return -EINVAL;
		}
	}
	return scaled(s, n, unit, ret_bytes);
}

int immure_parse_duration(const char *s, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = { { "", 1000 },	{ "ms", 1 },	    { "s", 1000 },
		      { "m", 60000 },	{ "min", 60000 },   { "h", 3600000 },
		      { "d", 86400000 } };
	size_t n = number_len(s);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(s + n, units[i].name) == 0)
			return scaled(s, n, units[i].ms, ret_ms);
	return -EINVAL;
}

int immure_parse_milli(const char *s, uint64_t *ret_milli)
{
	size_t n = number_len(s);

	if (s[n])
		return -EINVAL;
	return scaled(s, n, 1000, ret_milli);
}

const char *immure_format_size(uint64_t bytes, char *buf, size_t len)
{
	static const char units[] = "TGMK";

	for (int i = 0; i < 4; i++) {
		uint64_t unit = 1ULL << (10 * (4 - i));

		if (bytes && bytes % unit == 0) {
			(void)snprintf(buf, len, "%llu%c", (unsigned long long)(bytes / unit), units[i]);
			return buf;
		}
	}
	(void)snprintf(buf, len, "%llu", (unsigned long long)bytes);
	return buf;
}

const char *immure_format_duration(uint64_t ms, char *buf, size_t len)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 } };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (ms && ms % units[i].ms == 0) {
			(void)snprintf(buf, len, "%llu%s", (unsigned long long)(ms / units[i].ms),
				       units[i].name);
			return buf;
		}
	}
	(void)snprintf(buf, len, "%llums", (unsigned long long)ms);
	return buf;
}
