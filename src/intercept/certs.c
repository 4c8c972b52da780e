/* SPDX-License-Identifier: Apache-2.0 */
#include "intercept/certs.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "policy/netrule.h"

static int extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX c;
	int ok;

	X509V3_set_ctx_nodb(&c);
	X509V3_set_ctx(&c, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &c, nid, value);
	ok = ext && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static int set_serial(X509 *x)
{
	unsigned char bytes[16];
	BIGNUM *n;
	int ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return 0;
	bytes[0] = (unsigned char)((bytes[0] & 0x3f) | 0x40); /* positive, and of this length */
	n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
	BN_free(n);
	return ok;
}

/* A day back: clocks inside may be behind, and ours was not asked. */
static X509 *blank(EVP_PKEY *key, const char *cn, unsigned int days)
{
	X509 *x = X509_new();
	X509_NAME *name = x ? X509_get_subject_name(x) : NULL;

	if (name && X509_set_version(x, 2) == 1 && set_serial(x) &&
	    X509_gmtime_adj(X509_getm_notBefore(x), -24L * 3600) &&
	    X509_gmtime_adj(X509_getm_notAfter(x), (long)days * 24 * 3600) &&
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1,
				       0) == 1 &&
	    X509_set_pubkey(x, key) == 1)
		return x;
	X509_free(x);
	return NULL;
}

static X509 *make_authority(EVP_PKEY *key, unsigned int days)
{
	unsigned char word[4];
	char cn[64];
	X509 *x;

	/* Two sessions' authorities are told apart by their names as well. */
	if (RAND_bytes(word, sizeof(word)) != 1)
		return NULL;
	(void)snprintf(cn, sizeof(cn), "immure session %02x%02x%02x%02x", word[0], word[1], word[2],
		       word[3]);
	x = blank(key, cn, days);
	if (x && X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 &&
	    extend(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	    extend(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    extend(x, x, NID_subject_key_identifier, "hash") && X509_sign(x, key, EVP_sha256()))
		return x;
	X509_free(x);
	return NULL;
}

X509 *immure_tls_leaf(EVP_PKEY *ca_key, X509 *ca, EVP_PKEY *key, unsigned int days, bool is_name,
		      const char *host)
{
	char san[IMMURE_HOST_NAME_MAX + 8];
	X509 *x;

	(void)snprintf(san, sizeof(san), "%s:%s", is_name ? "DNS" : "IP", host);
	/* A common name has 64 bytes at most, and nobody looks at it any more. */
	x = blank(key, strlen(host) <= 64 ? host : "immure", days);
	if (x && X509_set_issuer_name(x, X509_get_subject_name(ca)) == 1 &&
	    extend(x, ca, NID_basic_constraints, "critical,CA:FALSE") &&
	    extend(x, ca, NID_key_usage, "critical,digitalSignature") &&
	    extend(x, ca, NID_ext_key_usage, "serverAuth") &&
	    extend(x, ca, NID_subject_alt_name, san) &&
	    extend(x, ca, NID_authority_key_identifier, "keyid") &&
	    X509_sign(x, ca_key, EVP_sha256()))
		return x;
	X509_free(x);
	return NULL;
}

/* ---- the authority ---- */

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, SAVED_MAX = 8192 };

static int save(int memory, EVP_PKEY *key, X509 *x)
{
	BIO *b = BIO_new(BIO_s_secmem()); /* which is wiped */
	char *text;
	long len = 0;
	int r = -EIO;

	if (b && PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1 &&
	    PEM_write_bio_X509(b, x) == 1)
		len = BIO_get_mem_data(b, &text);
	if (len > 0 && len < SAVED_MAX)
		r = immure_write_all(memory, text, (size_t)len);
	if (r == 0)
		r = fcntl(memory, F_ADD_SEALS, SEALS) < 0 ? -errno : 0;
	BIO_free(b);
	return r;
}

/* What nobody can have changed since one of us left it. */
static int load(int memory, EVP_PKEY **ret_key, X509 **ret_x)
{
	char text[SAVED_MAX];
	ssize_t len = pread(memory, text, sizeof(text), 0);
	BIO *b = NULL;

	if (len > 0 && fcntl(memory, F_GET_SEALS) == SEALS)
		b = BIO_new_mem_buf(text, (int)len);
	if (b) {
		*ret_key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
		*ret_x = PEM_read_bio_X509(b, NULL, NULL, NULL);
	}
	BIO_free(b);
	immure_wipe(text, sizeof(text));
	return *ret_key && *ret_x && X509_check_private_key(*ret_x, *ret_key) == 1 ? 0 : -EIO;
}

int immure_tls_authority(int memory, unsigned int days, EVP_PKEY **ret_key, X509 **ret_x)
{
	struct stat st;

	*ret_key = NULL;
	*ret_x = NULL;
	if (fstat(memory, &st) < 0)
		return -errno;
	if (st.st_size > 0)
		return load(memory, ret_key, ret_x);
	*ret_key = EVP_EC_gen("P-256");
	if (*ret_key)
		*ret_x = make_authority(*ret_key, days);
	return *ret_x ? save(memory, *ret_key, *ret_x) : -EIO;
}
