/* SPDX-License-Identifier: Apache-2.0 */
/* The session's authority and what it certifies. By OpenSSL, for tlslib.c alone. */
#ifndef IMMURE_INTERCEPT_CERTS_H
#define IMMURE_INTERCEPT_CERTS_H

#include <openssl/x509v3.h>
#include <stdbool.h>

/* What is in the memfd, or, when that is empty, what is put there: a key and its certificate, which
 * the caller frees also when it fails. 0, -EIO or -errno. */
int immure_tls_authority(int memory, unsigned int days, EVP_PKEY **ret_key, X509 **ret_x);
/* For one name or address; NULL: it failed. */
X509 *immure_tls_leaf(EVP_PKEY *ca_key, X509 *ca, EVP_PKEY *key, unsigned int days, bool is_name,
		      const char *host);

#endif
