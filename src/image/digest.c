/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "image/worker.h"

/* Whatever the library opens, it opens now; its configuration is none of ours. */
int image_hash_warm(void)
{
	char digest[IMMURE_IMAGE_DIGEST + 1];

	if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		return -ENOSYS;
	return image_hash_text("", 0, digest);
}

int image_hash_begin(struct image_hash *h)
{
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx)
		return -ENOMEM;
	return EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

int image_hash_add(struct image_hash *h, const void *data, size_t len)
{
	return EVP_DigestUpdate(h->ctx, data, len) == 1 ? 0 : -EIO;
}

int image_hash_end(struct image_hash *h, char ret[IMMURE_IMAGE_DIGEST + 1])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	if (EVP_DigestFinal_ex(h->ctx, sum, &n) != 1 || n != IMMURE_IMAGE_HEX / 2)
		return -EIO;
	memcpy(ret, "sha256:", 7);
	for (unsigned int i = 0; i < n; i++)
		(void)snprintf(ret + 7 + 2 * i, 3, "%02x", sum[i]);
	return 0;
}

void image_hash_done(struct image_hash *h)
{
	EVP_MD_CTX_free(h->ctx);
	h->ctx = NULL;
}

int image_hash_text(const void *data, size_t len, char ret[IMMURE_IMAGE_DIGEST + 1])
{
	struct image_hash h = { 0 };
	int r = image_hash_begin(&h);

	if (r == 0)
		r = image_hash_add(&h, data, len);
	if (r == 0)
		r = image_hash_end(&h, ret);
	image_hash_done(&h);
	return r;
}
