/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/describe.h"

#include <stdio.h>
#include <string.h>

#include "base/jsonw.h"
#include "base/parse.h"
#include "policy/keys.h"

static const void *member(const struct immure_policy *p, const struct immure_key *k)
{
	return (const char *)p + k->offset;
}

/* A number as a policy would write it; NULL when there is none. */
static const char *number_text(const struct immure_key *k, uint64_t v, char *buf, size_t len)
{
	if (v == 0)
		return NULL;
	if (k->type == IMMURE_KEY_SIZE)
		return immure_format_size(v, buf, len);
	if (k->type == IMMURE_KEY_DURATION)
		return immure_format_duration(v, buf, len);
	if (k->type == IMMURE_KEY_MILLI && v % 1000) {
		(void)snprintf(buf, len, "%llu.%03llu", (unsigned long long)v / 1000,
			       (unsigned long long)v % 1000);
		while (buf[strlen(buf) - 1] == '0')
			buf[strlen(buf) - 1] = '\0';
	} else {
		(void)snprintf(buf, len, "%llu",
			       (unsigned long long)v / (k->type == IMMURE_KEY_MILLI ? 1000 : 1));
	}
	return buf;
}

/* As immure_key_write(), but numbers as a policy would write them, so that what
 * is shown can be put into one. */
static void write_value(struct immure_jsonw *w, const struct immure_key *k,
			const struct immure_policy *p)
{
	char buf[40];
	const char *text;

	if (!immure_key_is_number(k)) {
		immure_key_write(w, "value", k, p);
		return;
	}
	text = number_text(k, *(const uint64_t *)member(p, k), buf, sizeof(buf));
	if (!text)
		immure_jsonw_null(w, "value");
	else if (k->type == IMMURE_KEY_SIZE || k->type == IMMURE_KEY_DURATION)
		immure_jsonw_str(w, "value", text);
	else
		immure_jsonw_raw(w, "value", text);
}

static char *show_json(const struct immure_policy *p)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_jsonw_init(&w, &b, 2);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "policy_version", p->version);
	immure_jsonw_str(&w, "profile", p->profile);
	immure_jsonw_object(&w, "keys");
	for (size_t i = 0; i < immure_keys_n; i++) {
		immure_jsonw_object(&w, immure_keys[i].path);
		write_value(&w, &immure_keys[i], p);
		immure_jsonw_str(&w, "source", p->sources[i]);
		immure_jsonw_end(&w, '}');
	}
	immure_jsonw_end(&w, '}');
	immure_jsonw_end(&w, '}');
	immure_buf_putc(&b, '\n');
	return immure_buf_take(&b);
}

static void put(struct immure_buf *b, const char *s)
{
	immure_buf_put_printable(b, s, strlen(s));
}

static void put_list(struct immure_buf *b, const struct immure_strv *l)
{
	for (size_t i = 0; i < l->n; i++) {
		immure_buf_puts(b, "    ");
		put(b, l->v[i]);
		immure_buf_putc(b, '\n');
	}
}

static void put_env(struct immure_buf *b, const struct immure_policy *p)
{
	for (size_t i = 0; i < p->env_set_n; i++) {
		immure_buf_puts(b, "    ");
		put(b, p->env_set[i].name);
		immure_buf_putc(b, '=');
		put(b, p->env_set[i].value);
		immure_buf_putc(b, '\n');
	}
}

static void put_secrets(struct immure_buf *b, const struct immure_policy *p)
{
	for (size_t i = 0; i < p->secrets_n; i++) {
		const struct immure_secret *s = &p->secrets[i];

		immure_buf_puts(b, "    ");
		put(b, s->name);
		immure_buf_puts(b, " from ");
		put(b, s->from);
		immure_buf_puts(b, " as ");
		put(b, s->as);
		for (size_t j = 0; j < s->to.n; j++) {
			immure_buf_puts(b, j ? ", " : " to ");
			put(b, s->to.v[j]);
		}
		immure_buf_putc(b, '\n');
	}
}

/* The value when it fits on the key's line; "" when it follows below. */
static const char *one_line(const struct immure_key *k, const struct immure_policy *p, char *buf,
			    size_t len)
{
	const void *m = member(p, k);
	const char *text;
	size_t n = 0;

	switch (k->type) {
	case IMMURE_KEY_TEXT:
	case IMMURE_KEY_CHOICE:
		text = *(const char *const *)m;
		return text ? text : "-";
	case IMMURE_KEY_ENUM:
		return k->names[*(const unsigned int *)m];
	case IMMURE_KEY_BOOL:
		return *(const bool *)m ? "true" : "false";
	case IMMURE_KEY_SIZE:
	case IMMURE_KEY_DURATION:
	case IMMURE_KEY_COUNT:
	case IMMURE_KEY_MILLI:
		text = number_text(k, *(const uint64_t *)m, buf, len);
		return text ? text : "-";
	case IMMURE_KEY_PATHS:
	case IMMURE_KEY_STRINGS:
		n = ((const struct immure_strv *)m)->n;
		break;
	case IMMURE_KEY_ENV:
		n = p->env_set_n;
		break;
	case IMMURE_KEY_SECRETS:
		n = p->secrets_n;
		break;
	case IMMURE_KEY_DOWNGRADE:
		return k->names[p->downgrade];
	case IMMURE_KEY_TYPE_MAX:
		break;
	}
	return n ? "" : "-";
}

static char *show_text(const struct immure_policy *p)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	immure_buf_printf(&b, "%s, profile %s\n\n", p->version, p->profile);
	for (size_t i = 0; i < immure_keys_n; i++) {
		const struct immure_key *k = &immure_keys[i];
		struct immure_buf value = IMMURE_BUF_INIT;
		char buf[40];

		put(&value, one_line(k, p, buf, sizeof(buf)));
		immure_buf_printf(&b, "%-22s %-16s ", k->path, value.data ? value.data : "");
		put(&b, p->sources[i]);
		immure_buf_putc(&b, '\n');
		immure_buf_done(&value);
		if (immure_key_is_list(k))
			put_list(&b, member(p, k));
		else if (k->type == IMMURE_KEY_ENV)
			put_env(&b, p);
		else if (k->type == IMMURE_KEY_SECRETS)
			put_secrets(&b, p);
		else if (k->type == IMMURE_KEY_DOWNGRADE)
			put_list(&b, &p->downgrades);
	}
	return immure_buf_take(&b);
}

char *immure_policy_describe(const struct immure_policy *p, bool json)
{
	return json ? show_json(p) : show_text(p);
}
