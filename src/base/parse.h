/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, sizes and durations: the whole string or -EINVAL, never a guess;
 * -ERANGE on overflow. */
#ifndef IMMURE_BASE_PARSE_H
#define IMMURE_BASE_PARSE_H

#include <stddef.h>
#include <stdint.h>

int immure_parse_u64(const char *s, uint64_t *ret);
/* "512", "64K", "2G", "1.5G", "10MiB": powers of 1024; units K M G T, with
 * optional "B" or "iB", either case. */
int immure_parse_size(const char *s, uint64_t *ret_bytes);
/* "500ms", "30s", "10m", "2h", "1d", bare number = seconds, "1.5h". */
int immure_parse_duration(const char *s, uint64_t *ret_ms);
/* CPUs in thousandths: "2", "0.5", "1.25". */
int immure_parse_milli(const char *s, uint64_t *ret_milli);
/* Writes the shortest exact form ("2G", "10m") into buf of at least 32 bytes. */
const char *immure_format_size(uint64_t bytes, char *buf, size_t len);
const char *immure_format_duration(uint64_t ms, char *buf, size_t len);

#endif
