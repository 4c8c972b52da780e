/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sha256.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

static const uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t ror(uint32_t v, int n)
{
	return v >> n | v << (32 - n);
}

static inline uint32_t load(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

/* One round; the caller rotates the names instead of the values, because a
 * launch hashes its plan and moving eight words each round costs half of it. */
#define ROUND(a, b, c, d, e, f, g, h, k)                                                        \
	do {                                                                                    \
		uint32_t t_ = (h) + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) +                     \
			      ((g) ^ ((e) & ((f) ^ (g)))) + (k);                                \
		(d) += t_;                                                                      \
		(h) = t_ + (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) +                              \
		      (((a) & (b)) | ((c) & ((a) | (b))));                                      \
	} while (0)

/* Sixteen rounds, w[n] being what WORD(n) leaves there. Written out, so that
 * every index is a constant. */
#define ROUNDS(WORD, k)                                                                         \
	do {                                                                                    \
		ROUND(a, b, c, d, e, f, g, h, (k)[0] + WORD(0));                                \
		ROUND(h, a, b, c, d, e, f, g, (k)[1] + WORD(1));                                \
		ROUND(g, h, a, b, c, d, e, f, (k)[2] + WORD(2));                                \
		ROUND(f, g, h, a, b, c, d, e, (k)[3] + WORD(3));                                \
		ROUND(e, f, g, h, a, b, c, d, (k)[4] + WORD(4));                                \
		ROUND(d, e, f, g, h, a, b, c, (k)[5] + WORD(5));                                \
		ROUND(c, d, e, f, g, h, a, b, (k)[6] + WORD(6));                                \
		ROUND(b, c, d, e, f, g, h, a, (k)[7] + WORD(7));                                \
		ROUND(a, b, c, d, e, f, g, h, (k)[8] + WORD(8));                                \
		ROUND(h, a, b, c, d, e, f, g, (k)[9] + WORD(9));                                \
		ROUND(g, h, a, b, c, d, e, f, (k)[10] + WORD(10));                              \
		ROUND(f, g, h, a, b, c, d, e, (k)[11] + WORD(11));                              \
		ROUND(e, f, g, h, a, b, c, d, (k)[12] + WORD(12));                              \
		ROUND(d, e, f, g, h, a, b, c, (k)[13] + WORD(13));                              \
		ROUND(c, d, e, f, g, h, a, b, (k)[14] + WORD(14));                              \
		ROUND(b, c, d, e, f, g, h, a, (k)[15] + WORD(15));                              \
	} while (0)

#define FIRST(n) (w[n] = load(p + 4 * (n)))
/* The message schedule, in a ring of sixteen. */
#define NEXT(n)                                                                                 \
	(w[n] += w[((n) + 9) & 15] + SMALL0(w[((n) + 1) & 15]) + SMALL1(w[((n) + 14) & 15]))
#define SMALL0(x) (ror(x, 7) ^ ror(x, 18) ^ (x) >> 3)
#define SMALL1(x) (ror(x, 17) ^ ror(x, 19) ^ (x) >> 10)

static void compress(struct immure_sha256 *s, const unsigned char *p)
{
	uint32_t w[16];
	uint32_t a = s->h[0], b = s->h[1], c = s->h[2], d = s->h[3];
	uint32_t e = s->h[4], f = s->h[5], g = s->h[6], h = s->h[7];

	ROUNDS(FIRST, K);
	for (const uint32_t *k = K + 16; k < K + 64; k += 16)
		ROUNDS(NEXT, k);
	s->h[0] += a;
	s->h[1] += b;
	s->h[2] += c;
	s->h[3] += d;
	s->h[4] += e;
	s->h[5] += f;
	s->h[6] += g;
	s->h[7] += h;
}

void immure_sha256_init(struct immure_sha256 *s)
{
	static const uint32_t h0[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

	memcpy(s->h, h0, sizeof(h0));
	s->len = 0;
}

void immure_sha256_add(struct immure_sha256 *s, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len > 0) {
		size_t have = s->len % 64, n = 64 - have < len ? 64 - have : len;

		memcpy(s->block + have, p, n);
		s->len += n;
		p += n;
		len -= n;
		if (have + n == 64)
			compress(s, s->block);
	}
}

void immure_sha256_done(struct immure_sha256 *s, unsigned char ret[32])
{
	static const unsigned char pad[64] = { 0x80 };
	uint64_t bits = s->len * 8;
	unsigned char tail[8];

	for (int i = 0; i < 8; i++)
		tail[i] = (unsigned char)(bits >> (56 - 8 * i));
	immure_sha256_add(s, pad, (s->len % 64 < 56 ? 56 : 120) - s->len % 64);
	immure_sha256_add(s, tail, 8);
	for (int i = 0; i < 32; i++)
		ret[i] = (unsigned char)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

void immure_sha256_hex(const void *data, size_t len, size_t n, char *ret)
{
	struct immure_sha256 s;
	unsigned char d[32];

	immure_sha256_init(&s);
	immure_sha256_add(&s, data, len);
	immure_sha256_done(&s, d);
	for (size_t i = 0; i < n && i < 32; i++)
		(void)snprintf(ret + 2 * i, 3, "%02x", d[i]);
}
