/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/keys.h"

#include <stddef.h>
#include <string.h>

#include "policy/checks.h"
#include "policy/policy.h"

#define AT(member) offsetof(struct immure_policy, member)
#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define KEY(p) .path = (p), .plus = "+" p
#define RANK(...) ((const unsigned char[]){ __VA_ARGS__ })

/* Largest numbers a limit may have: what the kernel's interfaces take. */
#define MAX_BYTES ((uint64_t)INT64_MAX)
#define MAX_MS (366ULL * 86400 * 1000)
#define MAX_IDLE_MS (30ULL * 86400 * 1000)
#define MAX_HANDSHAKE_MS (3600ULL * 1000)

const struct immure_key immure_keys[] = {
	{
		KEY("workspace.path"), .type = IMMURE_KEY_TEXT, .offset = AT(workspace),
		.check = immure_check_path, .fallback = ".",
		.tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "workspace", .argument = "DIR",
		.help = "the directory the command works in",
		.doc = "The directory that the command may work in and where it starts. Relative "
		       "paths in a policy count from here; \".\" is the caller's directory. It must "
		       "exist. It is never the answer to what the command itself asks for: only "
		       "the caller and the policy choose it.",
		.enforced_by = "file_write", .example = "\".\"",
	},
	{
		KEY("workspace.mode"), .type = IMMURE_KEY_ENUM, .offset = AT(workspace_mode),
		.names = NAMES("rw", "ro", "cow", "none", "scratch"),
		.choices = "rw|ro|cow|none|scratch",
		.rank = RANK(0, 2, 1, 3, 2), .fallback = "rw",
		.tighten = IMMURE_TIGHTEN_RANK,
		.flag = "workspace-mode", .argument = "MODE",
		.help = "whether the workspace can be changed",
		.doc = "rw: changes reach the host's files, except protected ones. ro: nothing in the "
		       "workspace can be changed. cow: the command changes a copy-on-write view; what "
		       "it changed is kept in a directory of ours, told by immure diff, and lands by immure "
		       "apply (docs/WORKSPACES.md). limits.disk does not bound it. Backend native; others have a "
		       "gap. files.write below the workspace is written for good. none: there is no workspace; the directory is what the view "
		       "makes of it, and the command starts in /. scratch: an empty private directory "
		       "in memory stands in its place and vanishes with the command.",
		.enforced_by = "file_write", .example = "\"rw\"",
	},
	{
		KEY("workspace.target"), .type = IMMURE_KEY_TEXT, .offset = AT(workspace_target),
		.check = immure_check_target, .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "workspace-target", .argument = "PATH",
		.help = "where the workspace stands inside, when not at its own path",
		.doc = "The path of the workspace inside, such as \"/workspace\". At its own path the "
		       "workspace is then what the view makes of it. Rules for TARGET of files.mounts "
		       "hold. Denials and protected files name the host's paths, or the paths inside.",
		.enforced_by = "file_write", .example = "\"/workspace\"",
	},
	{
		KEY("files.view"), .type = IMMURE_KEY_ENUM, .offset = AT(view),
		.names = NAMES("host", "system", "image"),
		.choices = "host|system|image",
		.rank = RANK(0, 1, 0), .fallback = "host",
		.tighten = IMMURE_TIGHTEN_RANK,
		.flag = "view", .argument = "VIEW",
		.help = "what of the file system is there at all",
		.doc = "host: the whole host tree, read-only, with masked paths answering permission "
		       "denied. system: only the system's program and library directories and the "
		       "few files of /etc that programs need; everything else is absent unless "
		       "files.read, files.write or the workspace brings it. image: the root comes "
		       "from the key image.",
		.enforced_by = "file_read", .example = "\"host\"",
	},
	{
		KEY("files.root"), .type = IMMURE_KEY_ENUM, .offset = AT(root),
		.names = NAMES("ro", "layer"),
		.choices = "ro|layer",
		.rank = RANK(1, 0), .fallback = "ro",
		.tighten = IMMURE_TIGHTEN_RANK,
		.flag = "root", .argument = "MODE",
		.help = "what can be changed of an image's files",
		.doc = "ro: an image's files cannot be changed. layer: changes go to a layer in memory "
		       "that only this session sees and that is gone with it (limits.disk); the "
		       "image itself is never changed. Means nothing with another files.view.",
		.enforced_by = "writable_layer", .example = "\"layer\"",
	},
	{
		KEY("files.home"), .type = IMMURE_KEY_ENUM, .offset = AT(home),
		.names = NAMES("host", "empty"),
		.choices = "host|empty",
		.rank = RANK(0, 1), .fallback = "host",
		.tighten = IMMURE_TIGHTEN_RANK,
		.flag = "home", .argument = "HOME",
		.help = "the host's home directory, or an empty one",
		.doc = "host: the caller's home is visible as the view says, read-only and masked. "
		       "empty: home is a private, writable, empty directory in memory; the "
		       "workspace and listed paths below it are still there.",
		.enforced_by = "secret_read", .example = "\"host\"",
	},
	{
		KEY("files.read"), .type = IMMURE_KEY_PATHS, .offset = AT(read),
		.check = immure_check_path, .tighten = IMMURE_TIGHTEN_FEWER,
		.flag = "read", .argument = "PATH",
		.help = "may be read although the view would hide or mask it",
		.doc = "Paths that can be read, never written. A path below a denied one is readable "
		       "again: the deeper rule wins, and at equal depth a denial wins. A path that "
		       "the built-in table of sensitive places names is readable when this key names "
		       "exactly that path or one below it. As long as anything can be written, a "
		       "workspace's own file may not take from this list: what is read-only below a "
		       "writable place would become writable.",
		.enforced_by = "file_read", .example = "[\"/opt/toolchain\", \"~/.config/app\"]",
	},
	{
		KEY("files.write"), .type = IMMURE_KEY_PATHS, .offset = AT(write),
		.check = immure_check_write, .tighten = IMMURE_TIGHTEN_FEWER,
		.flag = "write", .argument = "PATH",
		.help = "may be read and written",
		.doc = "Paths whose files can be changed on the host, besides the workspace. Protected "
		       "files below them stay protected. Policy files, this tool's own state and "
		       "configuration are never writable, whatever this key says. A path that is missing "
		       "is refused; written ?PATH it is left out instead, and written ?PATH/ it is made "
		       "as a directory (0700), where the one above it exists.",
		.enforced_by = "file_write", .example = "[\"~/.cache/build\", \"?~/.cache/tool/\"]",
	},
	{
		KEY("files.presets"), .type = IMMURE_KEY_STRINGS, .offset = AT(presets),
		.check = immure_check_preset, .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "preset", .argument = "NAME",
		.help = "places of a home to read: toolchains, package_config, package_cache",
		.doc = "Names that stand for paths of files.read: toolchains (compilers and interpreters "
		       "that live in a home, and /nix/store), package_config (settings of package managers "
		       "and git that hold no password), package_cache (what they downloaded). Those that "
		       "do not exist are left out. Of use where the view or an empty home would hide them; "
		       "a directory that denials mask stays masked.",
		.enforced_by = "file_read", .example = "[\"toolchains\"]",
	},
	{
		KEY("files.mounts"), .type = IMMURE_KEY_STRINGS, .offset = AT(mounts),
		.check = immure_check_mount, .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "bind", .argument = "SOURCE:TARGET[:ro|rw]",
		.help = "a path of the host at another path inside",
		.doc = "A file or directory of the host that is shown at another path inside: ro (read "
		       "only, unless said otherwise) or rw. TARGET is absolute and covers what the host "
		       "has there; one that is missing is made in the view, never on the host, except "
		       "in a writable place, where it must exist. Denied, sensitive and protected paths "
		       "below SOURCE are denied and protected below TARGET as well. Paths with a colon "
		       "cannot be named. Needs a backend with mounts; elsewhere it is a gap.",
		.enforced_by = "file_read", .example = "[\"/srv/data:/data\", \"~/out:/mnt/session/outputs:rw\"]",
	},
	{
		KEY("files.links"), .type = IMMURE_KEY_ENUM, .offset = AT(links),
		.names = NAMES("follow", "deny_escapes"), .choices = "follow|deny_escapes",
		.rank = RANK(0, 1), .fallback = "follow", .tighten = IMMURE_TIGHTEN_RANK,
		.flag = "links", .argument = "LINKS",
		.help = "what a symbolic link in a path of the policy may lead to",
		.doc = "follow: a path of files.read, files.write or files.mounts that is a link, or goes "
		       "through one, means what it leads to. deny_escapes: one that leads out of the "
		       "directory that it is named in is refused. What the command itself finds behind a "
		       "link is what the view has there, either way.",
		.enforced_by = "file_read", .example = "\"follow\"",
	},
	{
		KEY("files.deny"), .type = IMMURE_KEY_PATHS, .offset = AT(deny),
		.check = immure_check_path, .tighten = IMMURE_TIGHTEN_MORE,
		.flag = "deny", .argument = "PATH",
		.help = "answers permission denied, whatever else says",
		.doc = "Paths that can be neither read nor written nor listed. They answer permission "
		       "denied and never look absent, under every name that leads to them. A path "
		       "that does not exist when the command starts is denied as soon as it would.",
		.enforced_by = "secret_read", .example = "[\"~/private\"]",
	},
	{
		KEY("files.tmp"), .type = IMMURE_KEY_PATHS, .offset = AT(tmp),
		.check = immure_check_path, .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "tmp", .argument = "PATH",
		.help = "a private, empty, writable directory in memory",
		.doc = "Directories that are private to the command and vanish with it. What the host "
		       "has there is not visible. They count against limits.disk and "
		       "limits.memory (tmpfs(5)).",
		.enforced_by = "file_write", .example = "[\"/tmp\", \"/var/tmp\"]",
	},
	{
		KEY("files.protect"), .type = IMMURE_KEY_PATHS, .offset = AT(protect),
		.check = immure_check_path, .tighten = IMMURE_TIGHTEN_MORE,
		.flag = "protect", .argument = "PATH",
		.help = "stays read-only inside a writable place",
		.doc = "Files and directories below a writable place that must not change: they "
		       "cannot be written, replaced, renamed or linked over. One that does not exist "
		       "yet is watched: when the command ends, a created one is reported and moved "
		       "out of the tree.",
		.enforced_by = "file_write", .example = "[\"deploy.sh\"]",
	},
	{
		KEY("files.sensitive"), .type = IMMURE_KEY_BOOL, .offset = AT(sensitive),
		.fallback = "true", .tighten = IMMURE_TIGHTEN_TRUE,
		.flag = "sensitive", .argument = "BOOL", .choices = "true|false",
		.help = "mask the built-in table of places where secrets live",
		.doc = "Whether the built-in table of sensitive paths is denied: keys, tokens, "
		       "browser profiles, keyrings, shell histories, host sockets. The table is in "
		       "the reference.",
		.enforced_by = "secret_read", .example = "true",
	},
	{
		KEY("files.protected"), .type = IMMURE_KEY_BOOL, .offset = AT(protected_table),
		.fallback = "true", .tighten = IMMURE_TIGHTEN_TRUE,
		.flag = "protected", .argument = "BOOL", .choices = "true|false",
		.help = "protect the built-in table of files the host executes",
		.doc = "Whether the built-in table of files that some program on the host obeys by "
		       "itself (hooks, editor tasks, agents' settings) is protected in writable "
		       "places, and watched where such a file does not exist yet. A writable place "
		       "inside the home counts as that part of a home. The table is in the reference.",
		.enforced_by = "file_write", .example = "true",
	},
	{
		KEY("files.created"), .type = IMMURE_KEY_STRINGS, .offset = AT(created),
		.check = immure_check_created, .tighten = IMMURE_TIGHTEN_FEWER,
		.flag = "created", .argument = "ENTRY",
		.help = "an entry of the protected table that the command may create",
		.doc = "Entries of the built-in protected table that the command may create: they "
		       "are reported when it ends and left where they are. Existing ones are not "
		       "affected by this key.",
		.enforced_by = "file_write", .example = "[\"Makefile\", \"package.json\"]",
	},
	{
		KEY("files.executables"), .type = IMMURE_KEY_ENUM, .offset = AT(executables),
		.names = NAMES("any", "listed"), .choices = "any|listed",
		.rank = RANK(0, 1), .fallback = "any", .tighten = IMMURE_TIGHTEN_RANK,
		.flag = "executables", .argument = "WHICH",
		.help = "whether only the files of files.execute can be executed",
		.doc = "any: what can be read can be executed. listed: only the files and directories of "
		       "files.execute, and the dynamic loader; everything else answers permission "
		       "denied to execve(2). Enforced by Landlock from inside, for every program that "
		       "the command starts; memory files cannot be executed then, and what the command "
		       "writes lies on mounts without execution where there are mounts. It is a list of "
		       "programs, not of code: an interpreter that is listed runs any script, and the "
		       "dynamic loader, which programs need, maps any file that may be read.",
		.enforced_by = "process_rlimits", .example = "\"any\"",
	},
	{
		KEY("files.execute"), .type = IMMURE_KEY_PATHS, .offset = AT(execute),
		.check = immure_check_path, .tighten = IMMURE_TIGHTEN_FEWER,
		.flag = "execute", .argument = "PATH",
		.help = "may be executed, with files.executables listed",
		.doc = "Programs, or directories of programs, that may be executed with files.executables "
		       "listed; beside any it is an error. A link means what it leads to. Interpreters "
		       "of scripts must be listed as well. An empty list executes nothing, so the run "
		       "refuses. What lies in a place that the command can write is refused.",
		.enforced_by = "process_rlimits", .example = "[\"/usr/bin/git\", \"/usr/lib/git-core\"]",
	},
	{
		KEY("network.mode"), .type = IMMURE_KEY_ENUM, .offset = AT(network),
		.names = NAMES("none", "limited", "host"),
		.choices = "none|limited|host",
		.rank = RANK(2, 1, 0), .fallback = "none",
		.tighten = IMMURE_TIGHTEN_RANK,
		.flag = "net", .argument = "MODE",
		.help = "no network, only allowed hosts, or the host's network",
		.doc = "none: a network of its own with nothing but loopback. limited: only what "
		       "network.allow names, judged by a gatekeeper outside; where no gatekeeper can "
		       "be had it is a gap and the run refuses. host: the host's network, "
		       "unfiltered; network rules would not be enforced and are refused beside it.",
		.enforced_by = "network_egress", .example = "\"none\"",
	},
	{
		KEY("network.allow"), .type = IMMURE_KEY_STRINGS, .offset = AT(net_allow),
		.nullable = true, .check = immure_check_host_rule, .tighten = IMMURE_TIGHTEN_FEWER,
		.flag = "allow", .argument = "RULE",
		.help = "a host the command may reach (network.mode limited)",
		.doc = "HOST, HOST:PORT, HOST:LOW-HIGH, SCHEME://HOST[:PORT] with scheme tcp, tls, http, "
		       "https or ssh, and for http and https [METHOD[,METHOD] ]SCHEME://HOST[:PORT]/PATH "
		       "where PATH may end in *. HOST is a name, *.name for everything below a name, "
		       "an address, or a network in CIDR form; IPv6 in brackets when a port follows. "
		       "Without a port: 443 and 80 only. An empty, missing or null list allows nothing. "
		       "Names are compared without case and without a final dot; names with bytes "
		       "outside ASCII must be given in their xn-- form.",
		.enforced_by = "network_egress",
		.example = "[\"pypi.org:443\", \"*.github.com:443\", \"ssh://git.example.com:22\"]",
	},
	{
		KEY("network.deny"), .type = IMMURE_KEY_STRINGS, .offset = AT(net_deny),
		.check = immure_check_host_rule, .tighten = IMMURE_TIGHTEN_MORE,
		.flag = "deny-host", .argument = "RULE",
		.help = "a host the command may not reach although an allowed rule covers it",
		.doc = "Rules as in network.allow; a denial beats every allowance.",
		.enforced_by = "network_egress", .example = "[\"uploads.github.com\"]",
	},
	{
		KEY("network.publish"), .type = IMMURE_KEY_STRINGS, .offset = AT(publish),
		.check = immure_check_publish, .tighten = IMMURE_TIGHTEN_FEWER,
		.flag = "publish", .argument = "[ADDR:]HOSTPORT[:PORT]",
		.help = "a port inside that the host can connect to",
		.doc = "PORT, HOSTPORT:PORT or ADDRESS:HOSTPORT:PORT (IPv6 in brackets). The address is "
		       "the host's and 127.0.0.1 unless given. Each host port once.",
		.enforced_by = "network_ingress", .example = "[\"8080\", \"127.0.0.1:9000:80\"]",
	},
	{
		KEY("network.private"), .type = IMMURE_KEY_BOOL, .offset = AT(net_private),
		.fallback = "false", .tighten = IMMURE_TIGHTEN_FALSE,
		.flag = "private", .argument = "BOOL", .choices = "true|false",
		.help = "allowed names may resolve to private addresses",
		.doc = "Whether a name allowed by network.allow may lead to a private address (RFC 1918, "
		       "RFC 4193). Loopback, link-local and cloud metadata addresses are refused "
		       "either way unless a rule names the address itself.",
		.enforced_by = "network_egress", .example = "false",
	},
	{
		KEY("network.prefix"), .type = IMMURE_KEY_TEXT, .offset = AT(net_prefix),
		.check = immure_check_prefix, .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "prefix", .argument = "CIDR",
		.help = "the range that names resolve to inside",
		.doc = "The range of synthetic addresses that names resolve to inside, in CIDR form, "
		       "for networks where the built-in range is in use.",
		.enforced_by = "network_egress", .example = "\"198.18.0.0/15\"",
	},
	{
		KEY("network.connections"), .type = IMMURE_KEY_COUNT, .offset = AT(net_connections),
		.min = 1, .max = 65536, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "connections", .argument = "N", .help = "connections open at one time",
		.doc = "How many connections may be open at one time with network.mode limited; more "
		       "are reset. 4096 unless given.",
		.enforced_by = "network_egress", .example = "256",
	},
	{
		KEY("network.bandwidth"), .type = IMMURE_KEY_SIZE, .offset = AT(net_bandwidth),
		.min = 1024, .max = MAX_BYTES, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "bandwidth", .argument = "SIZE", .help = "bytes a second over the network",
		.doc = "How many bytes a second pass with network.mode limited, both directions "
		       "and all connections together.",
		.enforced_by = "network_egress", .example = "\"10M\"",
	},
	{
		KEY("network.idle_time"), .type = IMMURE_KEY_DURATION, .offset = AT(net_idle),
		.min = 100, .max = MAX_IDLE_MS, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "idle-time", .argument = "TIME",
		.help = "how long a connection may be silent",
		.doc = "How long nothing may pass on a connection, in either direction, with network.mode "
		       "limited; then it is reset. 2h unless given.",
		.enforced_by = "network_egress", .example = "\"10m\"",
	},
	{
		KEY("network.handshake_time"), .type = IMMURE_KEY_DURATION, .offset = AT(net_handshake),
		.min = 100, .max = MAX_HANDSHAKE_MS, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "handshake-time", .argument = "TIME",
		.help = "how long the first bytes of a connection may take",
		.doc = "How long it may take until what is looked at of a connection is whole, with "
		       "network.mode limited: the ClientHello where a rule says tls or https, the first "
		       "request where it says http, what is said to the proxy. Then it is reset. 10s "
		       "unless given.",
		.enforced_by = "network_egress", .example = "\"3s\"",
	},
	{
		KEY("network.ech"), .type = IMMURE_KEY_BOOL, .offset = AT(net_ech),
		.fallback = "true", .tighten = IMMURE_TIGHTEN_FALSE,
		.flag = "ech", .argument = "BOOL", .choices = "true|false",
		.help = "a name in TLS may be hidden where a rule looks at it",
		.doc = "Whether a ClientHello may have the extension encrypted_client_hello where a rule "
		       "says tls or https. With it the name that the rule saw may be a cover for another "
		       "of the same server. Browsers send it filled with nothing, so false keeps them "
		       "out; other programs rarely do.",
		.enforced_by = "network_egress", .example = "false",
	},
	{
		KEY("network.trust"), .type = IMMURE_KEY_ENUM, .offset = AT(net_trust),
		.names = NAMES("append_system_roots", "sole"), .choices = "append_system_roots|sole",
		.rank = RANK(0, 1), .fallback = "append_system_roots", .tighten = IMMURE_TIGHTEN_RANK,
		.flag = "trust", .argument = "WHOM",
		.help = "whose certificates are trusted where TLS ends outside",
		.doc = "Where TLS ends outside, for https rules with methods or paths and for secrets, "
		       "programs inside are told to trust an authority of the session's own: by the "
		       "system's files of certificates, which are covered, and by variables. "
		       "append_system_roots: beside the system's, so that other hosts are reached as "
		       "ever. sole: nobody else.",
		.enforced_by = "network_egress", .example = "\"sole\"",
	},
	{
		KEY("network.proxy"), .type = IMMURE_KEY_BOOL, .offset = AT(net_proxy),
		.fallback = "true", .tighten = IMMURE_TIGHTEN_FALSE,
		.flag = "proxy", .argument = "BOOL", .choices = "true|false",
		.help = "with network.mode limited, set proxy variables",
		.doc = "Whether, with network.mode limited, HTTPS_PROXY points at the gatekeeper, "
		       "which takes CONNECT and SOCKS5 there, for programs that look up no names "
		       "themselves; no program needs it. The same rules hold there. Variables that "
		       "environment.set or environment.pass give are left as they are.",
		.enforced_by = "network_egress", .example = "true",
	},
	{
		KEY("network.sockets"), .type = IMMURE_KEY_PATHS, .offset = AT(sockets),
		.check = immure_check_socket, .tighten = IMMURE_TIGHTEN_FEWER,
		.flag = "socket", .argument = "PATH",
		.help = "a unix socket of the host that the command may connect to",
		.doc = "Unix sockets of the host that the command may connect to, whatever "
		       "network.mode says; all others answer permission denied. PATH is one socket. "
		       "PATH/ is all that lie below a directory, now and later, which is then readable "
		       "too; denied and sensitive paths below it stay denied. $SSH_AUTH_SOCK is the "
		       "caller's agent, and the variable is passed. What is missing at the start is "
		       "refused; written with ? in front it is left out instead. Who may connect to a "
		       "socket may ask of the service behind it whatever it does for the caller.",
		.enforced_by = "ipc", .example = "[\"$SSH_AUTH_SOCK\", \"/run/app/api.sock\"]",
	},
	{
		KEY("environment.pass"), .type = IMMURE_KEY_STRINGS, .offset = AT(env_pass),
		.check = immure_check_pass, .tighten = IMMURE_TIGHTEN_FEWER,
		.flag = "pass", .argument = "NAME",
		.help = "a variable to hand through from the caller",
		.doc = "Variables the command gets from the caller's environment; everything else is "
		       "absent. A final * stands for any rest of the name. Variables that make "
		       "loaders and interpreters run other code (LD_*, GLIBC_TUNABLES, BASH_ENV, "
		       "NODE_OPTIONS, PYTHONPATH, GIT_CONFIG_* and the like) are never passed, also "
		       "not by a pattern; environment.set can give them.",
		.enforced_by = "secret_isolation", .example = "[\"LANG\", \"LC_*\"]",
	},
	{
		KEY("environment.set"), .type = IMMURE_KEY_ENV, .offset = AT(env_set),
		.tighten = IMMURE_TIGHTEN_FEWER,
		.flag = "env", .argument = "NAME=VALUE",
		.help = "a variable to set",
		.doc = "Variables the command gets with these values; they win over passed ones. A "
		       "workspace's own file may not take out one that would then be passed.",
		.enforced_by = "secret_isolation", .example = "{\"CI\": \"1\"}",
	},
	{
		KEY("secrets"), .type = IMMURE_KEY_SECRETS, .offset = AT(secrets),
		.tighten = IMMURE_TIGHTEN_FEWER,
		.help = "secrets used on the command's behalf, never shown to it",
		.doc = "A map from a secret's name to where it comes from (from: env:NAME, file:PATH or "
		       "fd:N), the hosts it may be sent to (to: rules as in network.allow), and how "
		       "(as: bearer, basic, header:NAME, query:NAME or env:NAME; bearer unless given). "
		       "It is put, outside, into every request to those hosts by TLS, in the place of "
		       "what the command put there; the value never enters the sandbox, where NAME of "
		       "env:NAME holds a placeholder. basic takes a value of the form USER:PASSWORD. "
		       "It takes network.mode limited; fd:, query: and as env: are gaps, and the run "
		       "refuses.",
		.enforced_by = "secret_isolation",
		.example = "{\"openai\": {\"from\": \"env:OPENAI_API_KEY\", \"to\": [\"api.openai.com\"], "
			   "\"as\": \"bearer\"}}",
	},
	{
		KEY("limits.memory"), .type = IMMURE_KEY_SIZE, .offset = AT(limits.memory),
		.min = 1 << 20, .max = MAX_BYTES, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "memory", .argument = "SIZE", .help = "memory of all processes together",
		.doc = "Memory of the command and everything it starts, its private directories "
		       "included. Beyond it the kernel kills inside the sandbox and the verdict is "
		       "out of memory. Held by a cgroup (memory.max, cgroups(7)) or, without one, by "
		       "watching the process tree; the plan says which. At least 1M.",
		.enforced_by = "resources", .example = "\"2G\"",
	},
	{
		KEY("limits.processes"), .type = IMMURE_KEY_COUNT, .offset = AT(limits.processes),
		.min = 1, .max = 4194304, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "processes", .argument = "N", .help = "processes and threads at one time",
		.doc = "How many processes and threads may exist at one time. Beyond it fork fails "
		       "inside. Held by a cgroup (pids.max) or RLIMIT_NPROC (getrlimit(2)).",
		.enforced_by = "resources", .example = "256",
	},
	{
		KEY("limits.cpus"), .type = IMMURE_KEY_MILLI, .offset = AT(limits.cpus),
		.min = 10, .max = 1024 * 1000, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "cpus", .argument = "N", .help = "CPUs' worth of time; may be a fraction",
		.doc = "How much CPU time per second of wall time all processes get together, in CPUs. "
		       "Held by a cgroup (cpu.max) or by binding to that many CPUs. At least 0.01.",
		.enforced_by = "resources", .example = "1.5",
	},
	{
		KEY("limits.wall_time"), .type = IMMURE_KEY_DURATION, .offset = AT(limits.wall_time),
		.min = 1, .max = MAX_MS, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "timeout", .argument = "TIME", .help = "how long the command may take",
		.doc = "Wall-clock time until everything is ended: first SIGTERM, after a grace period "
		       "SIGKILL. The exit status is then 124.",
		.enforced_by = "process_timeout", .example = "\"10m\"",
	},
	{
		KEY("limits.cpu_time"), .type = IMMURE_KEY_DURATION, .offset = AT(limits.cpu_time),
		.min = 1000, .max = MAX_MS, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "cpu-time", .argument = "TIME", .help = "CPU time the command may use",
		.doc = "CPU time of each process, in whole seconds, held by RLIMIT_CPU (getrlimit(2)). At "
		       "least 1s.",
		.enforced_by = "resources", .example = "\"5m\"",
	},
	{
		KEY("limits.open_files"), .type = IMMURE_KEY_COUNT, .offset = AT(limits.open_files),
		.min = 8, .max = 1048576, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "open-files", .argument = "N", .help = "open descriptors of one process",
		.doc = "Descriptors one process may have open, held by RLIMIT_NOFILE (getrlimit(2)). At "
		       "least 8.",
		.enforced_by = "process_rlimits", .example = "1024",
	},
	{
		KEY("limits.file_size"), .type = IMMURE_KEY_SIZE, .offset = AT(limits.file_size),
		.min = 1, .max = MAX_BYTES, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "file-size", .argument = "SIZE", .help = "size of any file written",
		.doc = "How large a file may be made, held by RLIMIT_FSIZE (getrlimit(2)).",
		.enforced_by = "process_rlimits", .example = "\"1G\"",
	},
	{
		KEY("limits.disk"), .type = IMMURE_KEY_SIZE, .offset = AT(limits.disk),
		.min = 4096, .max = MAX_BYTES, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "disk", .argument = "SIZE", .help = "bytes in the private directories",
		.doc = "How much can be stored in the areas that are made for the command (files.tmp, an "
		       "empty home, /dev/shm). It does not bound the workspace and files.write, which "
		       "are the host's own file systems. At least 4K.",
		.enforced_by = "resources", .example = "\"4G\"",
	},
	{
		KEY("limits.output"), .type = IMMURE_KEY_SIZE, .offset = AT(limits.output),
		.min = 1, .max = MAX_BYTES, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "output", .argument = "SIZE", .help = "bytes of output before it is cut",
		.doc = "How many bytes of standard output and standard error together are handed on. "
		       "After that comes a marker, and the rest is read and dropped, so that the "
		       "command does not block. In a session it is for each command, whose output then comes "
		       "by way of the session: descriptors of callers are refused for it.",
		.enforced_by = "resources", .example = "\"64M\"",
	},
	{
		KEY("limits.output_over"), .type = IMMURE_KEY_ENUM, .offset = AT(limits.output_over),
		.names = NAMES("cut", "fail"), .choices = "cut|fail",
		.rank = RANK(0, 1), .fallback = "cut", .tighten = IMMURE_TIGHTEN_RANK,
		.flag = "output-over", .argument = "WHAT",
		.help = "what becomes of a command that prints more than limits.output",
		.doc = "cut: the rest of its output is dropped, and it goes on. fail: it is killed, with "
		       "all that it started; the exit status is 137 and the verdict output_cap, also when "
		       "it had just ended by itself.",
		.enforced_by = "resources", .example = "\"fail\"",
	},
	{
		KEY("syscalls"), .type = IMMURE_KEY_CHOICE, .offset = AT(syscalls),
		.names = NAMES("default", "strict"), .rank = RANK(0, 1),
		.check = immure_check_artifact, .fallback = "default",
		.tighten = IMMURE_TIGHTEN_RANK,
		.flag = "syscalls", .argument = "NAME|FILE",
		.help = "the system call filter",
		.doc = "default: what compilers, interpreters, build tools and browsers need. strict: "
		       "less, for simple programs. An absolute path names a filter of the user's own, "
		       "a checked artifact. All of them close other call ABIs and what could reach "
		       "out of the sandbox (seccomp(2)).",
		.enforced_by = "syscalls", .example = "\"default\"",
	},
	{
		KEY("deny_syscalls"), .type = IMMURE_KEY_STRINGS, .offset = AT(deny_calls),
		.check = immure_check_call_group, .tighten = IMMURE_TIGHTEN_MORE,
		.flag = "deny-syscalls", .argument = "GROUP",
		.help = "a group of system calls that fail: filesystem.delete, credential.write",
		.doc = "Groups of system calls that answer EPERM, whatever the filter of syscalls says. "
		       "filesystem.delete: unlink, rmdir, rename and their like; what is written can still "
		       "be overwritten. credential.write: setuid, setgid and their like. Many programs write a "
		       "file by renaming a new one and cannot do without the first.",
		.enforced_by = "syscalls", .example = "[\"credential.write\"]",
	},
	{
		KEY("identity"), .type = IMMURE_KEY_ENUM, .offset = AT(identity),
		.names = NAMES("caller", "root", "nobody", "image"),
		.choices = "caller|root|nobody|image",
		.rank = RANK(1, 0, 2, 0),
		.fallback = "caller", .tighten = IMMURE_TIGHTEN_RANK,
		.flag = "identity", .argument = "WHO",
		.help = "who the command is inside",
		.doc = "caller: the caller's user and group. root: user 0 inside, the caller outside, with "
		       "no rights beyond the sandbox. nobody: user 65534. image: the user that the image "
		       "names, root where it names none; outside it is the caller too (files.view "
		       "image; user_namespaces(7)).",
		.enforced_by = "privileges", .example = "\"caller\"",
	},
	{
		KEY("id_range"), .type = IMMURE_KEY_ENUM, .offset = AT(id_range),
		.names = NAMES("single", "subid"),
		.choices = "single|subid",
		.rank = RANK(1, 0), .fallback = "single",
		.tighten = IMMURE_TIGHTEN_RANK,
		.flag = "id-range", .argument = "RANGE",
		.help = "one user inside, or the caller's sub-id range",
		.doc = "single: one user and one group exist inside. subid: also the caller's ranges of "
		       "subuid(5) and subgid(5), mapped by newuidmap(1), for commands that change "
		       "user.",
		.enforced_by = "privileges", .example = "\"single\"",
	},
	{
		KEY("image"), .type = IMMURE_KEY_TEXT, .offset = AT(image),
		.check = immure_check_image, .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "image", .argument = "IMAGE",
		.help = "the image the root comes from (files.view image)",
		.doc = "A name in the store of images, a digest, or the first 12 digits of one; 'immure "
		       "image import' puts images there. Its layers are the root (files.view image, "
		       "files.root), its variables come after environment.set, and a run without a "
		       "command runs what the image says, where the image says.",
		.enforced_by = "read_only_root", .example = "\"debian:12\"",
	},
	{
		KEY("require.class"), .type = IMMURE_KEY_CHOICE, .offset = AT(require_class),
		.names = NAMES("host_process", "sandbox", "container", "lightweight_vm",
			       "remote_sandbox"),
		.choices = "host_process|sandbox|container|lightweight_vm|remote_sandbox",
		.tighten = IMMURE_TIGHTEN_SET,
		.flag = "require-class", .argument = "CLASS",
		.help = "the isolation class that the backend must be of",
		.doc = "Classes are names and not an order: each is enough for itself only. host_process "
		       "promises nothing, so every class of this host is enough for it. Where none can "
		       "be had the run refuses; to accept another class, require.downgrade names the "
		       "class that is accepted instead.",
		.enforced_by = "privileges", .example = "\"sandbox\"",
	},
	{
		KEY("require.capabilities"), .type = IMMURE_KEY_STRINGS, .offset = AT(require_caps),
		.check = immure_check_capability, .tighten = IMMURE_TIGHTEN_MORE,
		.flag = "require", .argument = "LIST",
		.help = "what must be enforced: capabilities, a class, FIELD=VALUE of trust",
		.doc = "Capabilities or dimensions of the report of immure-doctor(1) that must be "
		       "enforced; where one is not, the run refuses. The flag takes several, separated "
		       "by commas, and also the name of a class (require.class) and FIELD=VALUE for the "
		       "fields of trust: locality, tenancy, auditability, cleanup, data_residency and "
		       "secret_isolation.",
		.enforced_by = "privileges", .example = "[\"no_network_guarantee\"]",
	},
	{
		KEY("require.locality"), .type = IMMURE_KEY_ENUM,
		.offset = AT(require_trust[IMMURE_TRUST_LOCALITY]),
		.names = NAMES("any", "local", "remote"), .choices = "any|local|remote",
		.rank = RANK(0, 1, 1), .fallback = "any", .tighten = IMMURE_TIGHTEN_RANK,
		.help = "where the command runs",
		.doc = "local: on this machine. remote: on another one. A backend that runs it elsewhere "
		       "is a gap, by the name trust_locality.",
		.enforced_by = "privileges", .example = "\"local\"",
	},
	{
		KEY("require.tenancy"), .type = IMMURE_KEY_ENUM,
		.offset = AT(require_trust[IMMURE_TRUST_TENANCY]),
		.names = NAMES("shared_allowed", "dedicated"), .choices = "shared_allowed|dedicated",
		.rank = RANK(0, 1), .fallback = "shared_allowed", .tighten = IMMURE_TIGHTEN_RANK,
		.help = "whether the kernel may be shared with others",
		.doc = "dedicated: the command has a kernel of its own. A backend on the host's kernel is "
		       "then a gap, by the name trust_tenancy.",
		.enforced_by = "kernel_surface", .example = "\"dedicated\"",
	},
	{
		KEY("require.auditability"), .type = IMMURE_KEY_ENUM,
		.offset = AT(require_trust[IMMURE_TRUST_AUDITABILITY]),
		.names = NAMES("none", "best_effort", "required"),
		.choices = "none|best_effort|required",
		.rank = RANK(0, 1, 2), .fallback = "none", .tighten = IMMURE_TIGHTEN_RANK,
		.help = "whether what was done must be on record",
		.doc = "best_effort: the result, the plan and the proof. required: the capability "
		       "audit_log as well; a backend without it is a gap, by the name "
		       "trust_auditability.",
		.enforced_by = "audit_log", .example = "\"best_effort\"",
	},
	{
		KEY("require.cleanup"), .type = IMMURE_KEY_ENUM,
		.offset = AT(require_trust[IMMURE_TRUST_CLEANUP]),
		.names = NAMES("best_effort", "required"), .choices = "best_effort|required",
		.rank = RANK(0, 1), .fallback = "best_effort", .tighten = IMMURE_TIGHTEN_RANK,
		.help = "whether nothing may be left behind",
		.doc = "required: every process, mount and cgroup of the session is gone when it ends, or "
		       "what is left is reported. A backend without the capability cleanup is a gap, "
		       "by the name trust_cleanup.",
		.enforced_by = "cleanup", .example = "\"required\"",
	},
	{
		KEY("require.data_residency"), .type = IMMURE_KEY_ENUM,
		.offset = AT(require_trust[IMMURE_TRUST_DATA_RESIDENCY]),
		.names = NAMES("any", "local_only", "region"), .choices = "any|local_only|region",
		.rank = RANK(0, 1, 1), .fallback = "any", .tighten = IMMURE_TIGHTEN_RANK,
		.help = "where the files and the memory of the command are",
		.doc = "local_only: on this machine. region: in a region that the backend vouches for; no "
		       "backend of this program does, so that is a gap, by the name "
		       "trust_data_residency. What the command sends over a network that it was given "
		       "is network.mode's concern.",
		.enforced_by = "file_write", .example = "\"local_only\"",
	},
	{
		KEY("require.secret_isolation"), .type = IMMURE_KEY_ENUM,
		.offset = AT(require_trust[IMMURE_TRUST_SECRET_ISOLATION]),
		.names = NAMES("none", "best_effort", "required"),
		.choices = "none|best_effort|required",
		.rank = RANK(0, 1, 2), .fallback = "none", .tighten = IMMURE_TIGHTEN_RANK,
		.help = "whether the caller's secrets must be out of reach",
		.doc = "required: the capability secret_isolation. A backend that has less is a gap, by "
		       "the name trust_secret_isolation.",
		.enforced_by = "secret_isolation", .example = "\"required\"",
	},
	{
		KEY("require.prefer"), .type = IMMURE_KEY_STRINGS, .offset = AT(prefer),
		.check = immure_check_backend, .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "prefer", .argument = "BACKEND",
		.help = "a backend that auto tries before the others",
		.doc = "Backends that backend auto tries first, in this order. A preference never makes up "
		       "for what a backend cannot enforce: one that falls short is passed over like any "
		       "other. Where a backend is named, this is not looked at.",
		.enforced_by = "privileges", .example = "[\"bwrap\"]",
	},
	{
		KEY("require.downgrade"), .type = IMMURE_KEY_DOWNGRADE, .offset = AT(downgrade),
		.names = NAMES("deny", "allow"), .fallback = "deny",
		.tighten = IMMURE_TIGHTEN_DENY,
		.flag = "downgrade", .argument = "deny|allow|GAP",
		.help = "what to do about what cannot be enforced",
		.doc = "deny: a gap refuses the run. A gap is accepted only by name: its own, which "
		       "immure plan shows in parentheses, or the policy key that it belongs to (not "
		       "require.class and require.capabilities, which can have several). It takes two: a "
		       "list in a file names the gaps that this policy can live with, and the caller "
		       "says --downgrade allow for all of them or names some, separated by commas. What "
		       "the policy files do not list, the caller cannot approve; where there is no "
		       "policy file, the caller's flags are the policy. allow alone accepts nothing. "
		       "What is accepted is in the plan, in the proof and on standard error. "
		       "Gaps that leave nothing to run in are never accepted.",
		.enforced_by = "privileges", .example = "[\"resources\"]",
	},
	{
		KEY("origin"), .type = IMMURE_KEY_ENUM, .offset = AT(origin),
		.names = NAMES("local", "remote"),
		.choices = "local|remote",
		.rank = RANK(0, 1), .fallback = "local",
		.tighten = IMMURE_TIGHTEN_RANK,
		.flag = "origin", .argument = "ORIGIN",
		.help = "whose work this is; remote work never degrades",
		.doc = "local: the caller's own work. remote: somebody else's; no downgrade is accepted, "
		       "whatever require.downgrade says.",
		.enforced_by = "privileges", .example = "\"local\"",
	},
	{
		KEY("session.capture"), .type = IMMURE_KEY_ENUM, .offset = AT(capture),
		.names = NAMES("off", "metadata", "summary", "content"),
		.choices = "off|metadata|summary|content",
		.rank = RANK(3, 2, 1, 0), .fallback = "content", .tighten = IMMURE_TIGHTEN_RANK,
		.flag = "session-capture", .argument = "MODE",
		.help = "the most that a session keeps of a command's output",
		.doc = "What a session may keep of a command's output when that has ended: nothing, counts "
		       "and hashes, these and the last 512 bytes, or content. A command that asks for more "
		       "gets this. While it runs the last MiB waits for whoever attaches.",
		.enforced_by = "io_redaction", .example = "\"metadata\"",
	},
	{
		KEY("agent"), .type = IMMURE_KEY_TEXT, .offset = AT(agent),
		.check = immure_check_agent, .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "agent", .argument = "ID",
		.help = "on whose behalf the command runs",
		.doc = "The name of the agent, for the record, the journal and the mediator: 1 to 64 lower-case "
		       "letters, digits, \".\", \"_\" and \"-\", the first a letter or digit. It comes from "
		       "the policy and the caller's flags alone; no variable sets it.",
		.enforced_by = "audit_log", .example = "\"reviewer-1\"",
	},
	{
		KEY("require.agent"), .type = IMMURE_KEY_BOOL, .offset = AT(require_agent),
		.fallback = "false", .choices = "true|false", .tighten = IMMURE_TIGHTEN_TRUE,
		.help = "a run without an agent's name is refused",
		.doc = "Whether agent must be set; without it nothing runs.",
		.enforced_by = "audit_log", .example = "true",
	},
	{
		KEY("journal"), .type = IMMURE_KEY_TEXT, .offset = AT(journal),
		.check = immure_check_path, .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "journal", .argument = "DIR",
		.help = "a directory in which each run keeps a journal",
		.doc = "Each run of one command makes a directory of its own in this one and writes there "
		       "what it is about to do and what came of it, chained by hashes; immure journal DIR/run-... "
		       "prints it. A session has such a journal in any case, in its own place: with this key "
		       "each of its commands is written there, not only those with a key. What "
		       "cannot be written down does not happen. The directory must exist, belong to the "
		       "caller or root, and lie where the command cannot write. With it the capability "
		       "audit_log is there.",
		.enforced_by = "audit_log", .example = "\"/var/log/immure\"",
	},
	{
		KEY("mediator.ask"), .type = IMMURE_KEY_TEXT, .offset = AT(mediator),
		.check = immure_check_mediator, .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "mediator", .argument = "unix:PATH|program:PATH",
		.help = "who is asked before a command starts",
		.doc = "A unix socket (unix:PATH) or a program (program:PATH) on the host that is asked "
		       "before each command of a run or a session is started, with one line of JSON, "
		       "and answers with one; the form is in docs/PROTOCOL.md. Only a well-formed "
		       "allow in time lets the command start; silence, anything else, and a socket of "
		       "another user than the caller or root are refusals. It is asked about the command "
		       "that is started, not about what that starts (files.executables is). A path in a "
		       "place that the command can write is refused.",
		.enforced_by = "privileges", .example = "\"unix:/run/user/1000/mediator.sock\"",
	},
	{
		KEY("mediator.mode"), .type = IMMURE_KEY_ENUM, .offset = AT(mediator_mode),
		.names = NAMES("sync_wait", "async_token"), .choices = "sync_wait|async_token",
		.fallback = "sync_wait", .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "mediator-mode", .argument = "MODE",
		.help = "what is done while a person decides",
		.doc = "What becomes of the answer pending_hitl. sync_wait: the mediator is asked again, as "
		       "often as it says, until mediator.wait_time is over. async_token: the start is "
		       "refused as pending, with the mediator's token, which --approval hands back later.",
		.enforced_by = "privileges", .example = "\"sync_wait\"",
	},
	{
		KEY("mediator.answer_time"), .type = IMMURE_KEY_DURATION, .offset = AT(mediator_answer),
		.min = 10, .max = MAX_HANDSHAKE_MS, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "mediator-answer-time", .argument = "TIME", .help = "how long one answer may take",
		.doc = "How long the mediator may take for one answer; later is a refusal. 500 ms unless "
		       "given.",
		.enforced_by = "privileges", .example = "\"2s\"",
	},
	{
		KEY("mediator.wait_time"), .type = IMMURE_KEY_DURATION, .offset = AT(mediator_wait),
		.min = 10, .max = MAX_MS, .tighten = IMMURE_TIGHTEN_LOWER,
		.flag = "mediator-wait-time", .argument = "TIME",
		.help = "how long a person may take to decide",
		.doc = "With mediator.mode sync_wait: how long pending answers are asked again; then the "
		       "start is refused. 5m unless given.",
		.enforced_by = "privileges", .example = "\"10m\"",
	},
	{
		KEY("mediator.budget"), .type = IMMURE_KEY_TEXT, .offset = AT(mediator_budget),
		.check = immure_check_image, .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "mediator-budget", .argument = "REF",
		.help = "a reference that the mediator is handed",
		.doc = "Handed to the mediator as budget_state_ref; nothing here looks at it.",
		.enforced_by = "privileges", .example = "\"budget-7\"",
	},
	{
		KEY("backend"), .type = IMMURE_KEY_CHOICE, .offset = AT(backend),
		.names = NAMES("auto", "native", "landlock", "bwrap", "microvm", "firecracker", "oci",
			       "seatbelt", "vz", "wsl2", "remote"),
		.choices = "auto|native|landlock|bwrap|microvm|firecracker|oci|seatbelt|vz|wsl2|remote",
		.fallback = "auto", .tighten = IMMURE_TIGHTEN_NEVER,
		.flag = "backend", .argument = "NAME",
		.help = "what enforces the policy",
		.doc = "A named backend is used or the run refuses; only auto chooses, the first that can "
		       "enforce all that is asked.",
		.enforced_by = "privileges", .example = "\"auto\"",
	},
};
const size_t immure_keys_n = sizeof(immure_keys) / sizeof(immure_keys[0]);

int immure_key_find(const char *path)
{
	for (size_t i = 0; i < immure_keys_n; i++)
		if (strcmp(immure_keys[i].path, path) == 0)
			return (int)i;
	return -1;
}

const char *immure_key_expects(const struct immure_key *k)
{
	static const char *const expects[IMMURE_KEY_TYPE_MAX] = {
		[IMMURE_KEY_TEXT] = "a string",
		[IMMURE_KEY_CHOICE] = "a string",
		[IMMURE_KEY_ENUM] = "a string",
		[IMMURE_KEY_BOOL] = "true or false",
		[IMMURE_KEY_SIZE] = "a size such as \"512M\" or \"2G\", or bytes",
		[IMMURE_KEY_DURATION] = "a time such as \"30s\" or \"10m\", or seconds",
		[IMMURE_KEY_COUNT] = "a whole number",
		[IMMURE_KEY_MILLI] = "a number such as 2 or 0.5",
		[IMMURE_KEY_PATHS] = "a list of paths",
		[IMMURE_KEY_STRINGS] = "a list of strings",
		[IMMURE_KEY_ENV] = "an object of names and string values",
		[IMMURE_KEY_SECRETS] = "an object of secrets",
		[IMMURE_KEY_DOWNGRADE] = "\"deny\", \"allow\" or a list of gaps",
	};

	return expects[k->type];
}

enum { NEAREST_MAX = 64 };

/* Levenshtein distance, one row at a time; words longer than the row are far. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b), row[NEAREST_MAX + 1];

	if (la > NEAREST_MAX || lb > NEAREST_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[lb];
}

const char *immure_nearest(const char *word, const char *const *candidates, size_t n)
{
	size_t best = SIZE_MAX;
	const char *ret = NULL;

	for (size_t i = 0; i < n; i++) {
		size_t d = edit_distance(word, candidates[i]);

		if (d < best) {
			best = d;
			ret = candidates[i];
		}
	}
	return best <= 3 && best < strlen(word) ? ret : NULL;
}
