/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4). Fingerprints of policies and plans only, so that the
 * hot path needs no library; signing and TLS use OpenSSL. */
#ifndef IMMURE_BASE_SHA256_H
#define IMMURE_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct immure_sha256 {
	uint32_t h[8];
	uint64_t len;
	unsigned char block[64];
};

void immure_sha256_init(struct immure_sha256 *s);
void immure_sha256_add(struct immure_sha256 *s, const void *data, size_t len);
void immure_sha256_done(struct immure_sha256 *s, unsigned char ret[32]);
/* Lower-case hex of the first n bytes (n <= 32) of the digest of data. */
void immure_sha256_hex(const void *data, size_t len, size_t n, char *ret);

#endif
