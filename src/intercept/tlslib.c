/* SPDX-License-Identifier: Apache-2.0 */
#include "intercept/tlslib.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "intercept/certs.h"

/* Names whose certificate is kept. A name more takes the oldest one's place. */
enum { LEAVES = 256 };

struct leaf {
	char name[IMMURE_ENDPOINT_TEXT];
	X509 *cert;
};

struct immure_tls_lib {
	EVP_PKEY *ca_key, *leaf_key;
	X509 *ca;
	unsigned int days;
	SSL_CTX *server, *client;
	char *roots; /* PEM that is not yet read */
	size_t roots_len;
	struct leaf leaf[LEAVES];
	size_t leaves_n, next_leaf;
};

struct immure_tls_end {
	struct immure_tls_lib *lib;
	SSL *ssl;
	struct immure_endpoint to;
	bool is_server, gave_up;
	unsigned int waits;
	const char *refused; /* by our callback */
	char why[256];
};

/* ---- certificates ---- */

static const char *host_text(const struct immure_endpoint *to, char *buf)
{
	if (to->kind == IMMURE_HOST_NAME)
		return to->name;
	return immure_address_print(to->kind, to->address, buf);
}

static X509 *leaf_for(struct immure_tls_lib *l, const struct immure_endpoint *to)
{
	char buf[IMMURE_ADDRESS_TEXT];
	const char *name = host_text(to, buf);
	struct leaf *f;
	X509 *x;

	for (size_t i = 0; i < l->leaves_n; i++)
		if (strcmp(l->leaf[i].name, name) == 0)
			return l->leaf[i].cert;
	x = immure_tls_leaf(l->ca_key, l->ca, l->leaf_key, l->days, to->kind == IMMURE_HOST_NAME, name);
	if (!x)
		return NULL;
	f = &l->leaf[l->next_leaf];
	l->next_leaf = (l->next_leaf + 1) % LEAVES;
	if (l->leaves_n < LEAVES)
		l->leaves_n++;
	X509_free(f->cert);
	f->cert = x;
	(void)snprintf(f->name, sizeof(f->name), "%s", name);
	return x;
}

/* ---- contexts ---- */

static int refuse(struct immure_tls_end *e, const char *why, int alert, int *ret_alert)
{
	e->refused = why;
	*ret_alert = alert;
	return SSL_CLIENT_HELLO_ERROR;
}

/* The name of the SNI extension, when it has one and no other. */
static bool sni_is(SSL *ssl, const char *name)
{
	size_t want = strlen(name), len;
	const unsigned char *p;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &len) != 1)
		return want == 0;
	if (want == 0 || len < 5 || (size_t)(p[0] << 8 | p[1]) != len - 2 || p[2] != 0 ||
	    (size_t)(p[3] << 8 | p[4]) != len - 5 || len - 5 != want)
		return false;
	return OPENSSL_strncasecmp((const char *)p + 5, name, want) == 0;
}

static int on_hello(SSL *ssl, int *alert, void *unused)
{
	struct immure_tls_end *e = SSL_get_app_data(ssl);
	X509 *leaf;

	(void)unused;
	if (e->gave_up)
		return refuse(e, "", SSL_AD_CERTIFICATE_UNKNOWN, alert);
	if (!sni_is(ssl, e->to.kind == IMMURE_HOST_NAME ? e->to.name : ""))
		return refuse(e, "the SNI names another host, or none", SSL_AD_UNRECOGNIZED_NAME, alert);
	leaf = leaf_for(e->lib, &e->to);
	if (!leaf || SSL_use_certificate(ssl, leaf) != 1 ||
	    SSL_use_PrivateKey(ssl, e->lib->leaf_key) != 1)
		return refuse(e, "its certificate could not be made", SSL_AD_INTERNAL_ERROR, alert);
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* Only this is read. A client that can do nothing else would not understand the answer. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		   const unsigned char *in, unsigned int in_len, void *unused)
{
	struct immure_tls_end *e = SSL_get_app_data(ssl);

	(void)unused;
	for (unsigned int i = 0; i < in_len; i += 1U + in[i])
		if (in[i] == 8 && i + 9 <= in_len && memcmp(in + i + 1, "http/1.1", 8) == 0) {
			*out = in + i + 1;
			*out_len = 8;
			return SSL_TLSEXT_ERR_OK;
		}
	e->refused = "the client offers no HTTP/1.1 (ALPN), and HTTP/1.1 is all that is spoken here";
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *context(const SSL_METHOD *method)
{
	SSL_CTX *c = SSL_CTX_new(method);

	if (!c || SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1) {
		SSL_CTX_free(c);
		return NULL;
	}
	/* No tickets and no cache: each connection is judged and verified by itself. */
	(void)SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	(void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
	return c;
}

static bool contexts(struct immure_tls_lib *l)
{
	static const unsigned char alpn[] = "\x08http/1.1";

	l->server = context(TLS_server_method());
	l->client = context(TLS_client_method());
	if (!l->server || !l->client)
		return false;
	SSL_CTX_set_client_hello_cb(l->server, on_hello, NULL);
	SSL_CTX_set_alpn_select_cb(l->server, on_alpn, NULL);
	(void)SSL_CTX_set_num_tickets(l->server, 0);
	SSL_CTX_set_verify(l->client, SSL_VERIFY_PEER, NULL);
	return SSL_CTX_set_alpn_protos(l->client, alpn, sizeof(alpn) - 1) == 0;
}

int immure_tls_lib_new(unsigned int days, int memory, char *ret_pem, size_t len,
		       struct immure_tls_lib **ret, const char **ret_why)
{
	struct immure_tls_lib *l;
	BIO *out = NULL;
	int n = -1;

	*ret_why = "OpenSSL";
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS |
			     OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL) != 1)
		return -EIO;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->days = days;
	l->leaf_key = EVP_EC_gen("P-256");
	if (l->leaf_key && immure_tls_authority(memory, days, &l->ca_key, &l->ca) == 0 && contexts(l))
		out = BIO_new(BIO_s_mem());
	if (out && PEM_write_bio_X509(out, l->ca) == 1)
		n = BIO_read(out, ret_pem, (int)len - 1);
	BIO_free(out);
	if (n <= 0 || n == (int)len - 1) {
		immure_tls_lib_free(l);
		*ret_why = "the session's authority";
		return -EIO;
	}
	ret_pem[n] = '\0';
	*ret = l;
	return 0;
}

void immure_tls_lib_free(struct immure_tls_lib *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->leaves_n; i++)
		X509_free(l->leaf[i].cert);
	SSL_CTX_free(l->server);
	SSL_CTX_free(l->client);
	X509_free(l->ca);
	EVP_PKEY_free(l->ca_key);
	EVP_PKEY_free(l->leaf_key);
	free(l->roots);
	free(l);
}

void immure_tls_lib_roots(struct immure_tls_lib *l, char *pem, size_t len)
{
	free(l->roots);
	l->roots = pem;
	l->roots_len = len;
}

/* Costs some ten milliseconds, so not before somebody needs it. What cannot be read is not
 * trusted; without any nobody is. */
static void read_roots(struct immure_tls_lib *l)
{
	X509_STORE *store = SSL_CTX_get_cert_store(l->client);
	BIO *in = l->roots ? BIO_new_mem_buf(l->roots, (int)l->roots_len) : NULL;
	X509 *x;

	while (in && (x = PEM_read_bio_X509(in, NULL, NULL, NULL))) {
		(void)X509_STORE_add_cert(store, x);
		X509_free(x);
	}
	ERR_clear_error();
	BIO_free(in);
	free(l->roots);
	l->roots = NULL;
}

/* ---- ends ---- */

static int end_new(struct immure_tls_lib *l, SSL_CTX *c, int fd, const struct immure_endpoint *to,
		   struct immure_tls_end **ret)
{
	struct immure_tls_end *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->lib = l;
	e->to = *to;
	e->is_server = c == l->server;
	e->ssl = SSL_new(c);
	if (!e->ssl || SSL_set_fd(e->ssl, fd) != 1) {
		immure_tls_end_free(e);
		return -ENOMEM;
	}
	SSL_set_app_data(e->ssl, e);
	*ret = e;
	return 0;
}

int immure_tls_server(struct immure_tls_lib *l, int fd, const struct immure_endpoint *to,
		      struct immure_tls_end **ret)
{
	int r = end_new(l, l->server, fd, to, ret);

	if (r == 0)
		SSL_set_accept_state((*ret)->ssl);
	return r;
}

int immure_tls_client(struct immure_tls_lib *l, int fd, const struct immure_endpoint *to,
		      struct immure_tls_end **ret)
{
	struct immure_tls_end *e;
	X509_VERIFY_PARAM *v;
	bool ok;
	int r;

	if (l->roots)
		read_roots(l);
	r = end_new(l, l->client, fd, to, &e);
	if (r < 0)
		return r;
	SSL_set_connect_state(e->ssl);
	v = SSL_get0_param(e->ssl);
	X509_VERIFY_PARAM_set_hostflags(v, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
						X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (to->kind == IMMURE_HOST_NAME)
		ok = SSL_set_tlsext_host_name(e->ssl, to->name) == 1 &&
		     X509_VERIFY_PARAM_set1_host(v, to->name, 0) == 1;
	else
		ok = X509_VERIFY_PARAM_set1_ip(v, to->address,
					       to->kind == IMMURE_HOST_NET6 ? 16 : 4) == 1;
	if (!ok) {
		immure_tls_end_free(e);
		return -ENOMEM;
	}
	*ret = e;
	return 0;
}

void immure_tls_end_free(struct immure_tls_end *e)
{
	if (!e)
		return;
	SSL_free(e->ssl);
	free(e);
}

void immure_tls_give_up(struct immure_tls_end *e)
{
	e->gave_up = true;
}

static void say_why(struct immure_tls_end *e)
{
	long verified = e->is_server ? X509_V_OK : SSL_get_verify_result(e->ssl);
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	if (e->refused)
		(void)snprintf(e->why, sizeof(e->why), "%s", e->refused);
	else if (verified != X509_V_OK)
		(void)snprintf(e->why, sizeof(e->why), "the server's certificate: %s",
			       X509_verify_cert_error_string(verified));
	else
		(void)snprintf(e->why, sizeof(e->why), "TLS with the %s: %s",
			       e->is_server ? "client" : "server", reason ? reason : "it left");
}

/* What an error means: 0 it waits, else it is over. */
static int judge_error(struct immure_tls_end *e, int result)
{
	switch (SSL_get_error(e->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		e->waits = IMMURE_TLS_READ;
		return 0;
	case SSL_ERROR_WANT_WRITE:
		e->waits = IMMURE_TLS_WRITE;
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return 1;
	default:
		say_why(e);
		return -EPROTO;
	}
}

int immure_tls_handshake(struct immure_tls_end *e)
{
	int r;

	ERR_clear_error();
	r = SSL_do_handshake(e->ssl);
	if (r == 1)
		return 1;
	r = judge_error(e, r);
	return r == 1 ? -EPROTO : r;
}

ssize_t immure_tls_read(struct immure_tls_end *e, void *buf, size_t len)
{
	int n, r;

	ERR_clear_error();
	n = SSL_read(e->ssl, buf, (int)len);
	if (n > 0)
		return n;
	r = judge_error(e, n);
	return r == 0 ? -EAGAIN : r == 1 ? 0 : -ECONNRESET;
}

ssize_t immure_tls_write(struct immure_tls_end *e, const void *data, size_t len)
{
	int n;

	ERR_clear_error();
	n = SSL_write(e->ssl, data, (int)len);
	if (n > 0)
		return n;
	return judge_error(e, n) == 0 ? -EAGAIN : -ECONNRESET;
}

void immure_tls_bye(struct immure_tls_end *e)
{
	ERR_clear_error();
	(void)SSL_shutdown(e->ssl); /* the other side need not answer */
	ERR_clear_error();
}

unsigned int immure_tls_waits(const struct immure_tls_end *e)
{
	return e->waits;
}

const char *immure_tls_why(const struct immure_tls_end *e)
{
	return e->why;
}
