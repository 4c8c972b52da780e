/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in profiles, as data. What a profile does not say is the default of
 * the key table. Values are in the normal form that the checks give (a test
 * assigns every one through them), because a launch does not check them again. */
#include <string.h>

#include "policy/build.h"

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Harmless to know, and without them terminals, locales and tools misbehave. */
static const char *const safe_variables[] = {
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "COLORTERM", "TERM_PROGRAM",
	"NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES", "LANG",
	"LANGUAGE", "LC_*", "TZ", "EDITOR", "VISUAL", "PAGER", "LS_COLORS", "CI", "DEBIAN_FRONTEND",
	"SOURCE_DATE_EPOCH", "CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "GOPATH",
	"GOROOT", "CARGO_HOME", "RUSTUP_HOME", "JAVA_HOME", "VIRTUAL_ENV", "PYTHONUNBUFFERED",
	"PYTHONDONTWRITEBYTECODE", "GIT_AUTHOR_*", "GIT_COMMITTER_*", NULL,
};

/* What a build or an agent writes in the course of ordinary work: inputs of
 * builds, and the config and sample hooks of a new repository. */
static const char *const creatable[] = {
	".git/hooks", ".git/config", ".gitmodules", ".gitattributes", "*.pth", "Makefile",
	"GNUmakefile", "makefile", "CMakeLists.txt", "CMakePresets.json", "CMakeUserPresets.json",
	"meson.build", "configure", "configure.ac", "build.ninja", "SConstruct", "WORKSPACE",
	"MODULE.bazel", "justfile", "Taskfile.yml", "Rakefile", "Gemfile", "package.json",
	"gulpfile.js", "Gruntfile.js", "setup.py", "setup.cfg", "pyproject.toml", "conftest.py",
	"tests/conftest.py", "noxfile.py", "tox.ini", "manage.py", "build.rs", "Cargo.toml",
	"rust-toolchain.toml", "go.mod", "pom.xml", "build.gradle", "build.gradle.kts",
	"settings.gradle", "settings.gradle.kts", "gradlew", "mvnw", "build.sbt", "build.zig",
	"mix.exs", "composer.json", "Dockerfile", "docker-compose.yml", "compose.yaml",
	"Vagrantfile", "flake.nix", "shell.nix", "default.nix", NULL,
};

static const struct immure_profile_value dev[] = {
	{ .key = "files.tmp", .list = LIST("/tmp", "/var/tmp") },
	{ .key = "files.created", .list = creatable },
	{ .key = "environment.pass", .list = safe_variables },
	{ .key = "environment.set", .list = LIST("TMPDIR=/tmp", "XDG_CACHE_HOME=/tmp/.cache") },
};

static const struct immure_profile_value readonly[] = {
	{ .key = "workspace.mode", .value = "ro" },
};

static const struct immure_profile_value strict[] = {
	{ .key = "files.view", .value = "system" },
	{ .key = "files.home", .value = "empty" },
	{ .key = "files.proc", .value = "pids" },
	{ .key = "syscalls", .value = "strict" },
	{ .key = "environment.pass",
	  .list = LIST("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "COLORTERM", "NO_COLOR",
		       "FORCE_COLOR", "COLUMNS", "LINES", "LANG", "LANGUAGE", "LC_*", "TZ", "CI") },
};

static const struct immure_profile_value ci[] = {
	/* Builds ask for processors and memory, and some ask /proc. */
	{ .key = "files.proc", .value = "masked" },
	{ .key = "syscalls", .value = "default" },
	{ .key = "limits.memory", .value = "2G" },
	{ .key = "limits.processes", .value = "512" },
	{ .key = "limits.wall_time", .value = "30m" },
	{ .key = "limits.open_files", .value = "4096" },
	{ .key = "limits.disk", .value = "4G" },
	{ .key = "limits.output", .value = "64M" },
};

/* A stranger's work: nothing degrades, nothing is allowed to be added by its own file. */
static const struct immure_profile_value untrusted[] = {
	{ .key = "files.proc", .value = "pids" },
	{ .key = "syscalls", .value = "strict" },
	{ .key = "files.links", .value = "deny_escapes" },
	{ .key = "limits.memory", .value = "512M" },
	{ .key = "limits.processes", .value = "64" },
	{ .key = "limits.wall_time", .value = "30s" },
	{ .key = "origin", .value = "remote" },
};

/* An agent's own state is writable, and made before its first start; what steers its
 * next start is not. */
static const struct immure_profile_value agent_claude[] = {
	{ .key = "files.write", .append = true,
	  .list = LIST("?~/.claude/", "?~/.claude.json", "?~/.cache/claude-cli-nodejs") },
	{ .key = "files.read", .append = true,
	  .list = LIST("~/.claude/.credentials.json", "~/.claude/projects",
		       "~/.local/share/claude") },
	{ .key = "files.protect", .append = true,
	  .list = LIST("~/.claude/settings.json", "~/.claude/settings.local.json",
		       "~/.claude/CLAUDE.md", "~/.claude/hooks", "~/.claude/commands",
		       "~/.claude/agents", "~/.claude/skills", "~/.claude/plugins",
		       "~/.claude/rules", "~/.claude/output-styles") },
	{ .key = "network.mode", .value = "limited" },
	{ .key = "network.allow", .append = true,
	  .list = LIST("api.anthropic.com:443", "claude.ai:443", "platform.claude.com:443",
		       "console.anthropic.com:443") },
	{ .key = "environment.pass", .append = true, .list = LIST("ANTHROPIC_*", "CLAUDE_*") },
};

static const struct immure_profile_value agent_codex[] = {
	{ .key = "files.write", .append = true, .list = LIST("?~/.codex/") },
	{ .key = "files.read", .append = true,
	  .list = LIST("~/.codex/auth.json", "~/.codex/sessions") },
	{ .key = "files.protect", .append = true,
	  .list = LIST("~/.codex/config.toml", "~/.codex/AGENTS.md", "~/.codex/AGENTS.override.md",
		       "~/.codex/rules", "~/.codex/prompts", "~/.codex/skills",
		       "~/.codex/hooks.json") },
	{ .key = "network.mode", .value = "limited" },
	{ .key = "network.allow", .append = true,
	  .list = LIST("api.openai.com:443", "auth.openai.com:443", "chatgpt.com:443") },
	{ .key = "environment.pass", .append = true, .list = LIST("OPENAI_*", "CODEX_*") },
};

static const struct immure_profile_value agent_copilot[] = {
	{ .key = "files.write", .append = true, .list = LIST("?~/.copilot/") },
	{ .key = "files.read", .append = true,
	  .list = LIST("~/.copilot", "~/.config/github-copilot", "~/.config/gh/hosts.yml") },
	{ .key = "files.protect", .append = true,
	  .list = LIST("~/.copilot/config.json", "~/.copilot/mcp-config.json", "~/.copilot/agents",
		       "~/.copilot/skills", "~/.copilot/hooks",
		       "~/.copilot/copilot-instructions.md") },
	{ .key = "network.mode", .value = "limited" },
	{ .key = "network.allow", .append = true,
	  .list = LIST("api.github.com:443", "github.com:443", "api.githubcopilot.com:443",
		       "*.githubcopilot.com:443", "copilot-proxy.githubusercontent.com:443") },
	{ .key = "environment.pass", .append = true,
	  .list = LIST("COPILOT_*", "GH_TOKEN", "GITHUB_TOKEN") },
};

static const struct immure_profile_value vscode[] = {
	{ .key = "files.write", .append = true,
	  .list = LIST("?~/.vscode-server/", "?~/.vscode/", "?~/.config/Code/") },
	{ .key = "files.read", .append = true, .list = LIST("~/.config/Code/User/globalStorage") },
	{ .key = "files.protect", .append = true,
	  .list = LIST("~/.vscode/argv.json", "~/.vscode/extensions",
		       "~/.vscode-server/extensions", "~/.config/Code/User/settings.json",
		       "~/.config/Code/User/keybindings.json", "~/.config/Code/User/tasks.json",
		       "~/.config/Code/User/mcp.json", "~/.config/Code/User/profiles") },
	{ .key = "network.mode", .value = "limited" },
	{ .key = "network.allow", .append = true,
	  .list = LIST("update.code.visualstudio.com:443", "marketplace.visualstudio.com:443",
		       "*.vscode-cdn.net:443", "*.gallery.vsassets.io:443",
		       "*.gallerycdn.vsassets.io:443", "vscode.download.prss.microsoft.com:443") },
	{ .key = "environment.pass", .append = true, .list = LIST("VSCODE_*") },
};

static const struct immure_profile_value image[] = {
	{ .key = "files.view", .value = "image" },
	{ .key = "files.root", .value = "layer" },
	{ .key = "files.home", .value = "empty" },
	{ .key = "identity", .value = "image" },
};

#define PROFILE(n, base, values_, text)                                                   \
	{                                                                                 \
		.name = (n), .extends = (base), .help = (text), .values = (values_),      \
		.values_n = sizeof(values_) / sizeof((values_)[0])                        \
	}

const struct immure_profile immure_profiles[] = {
	PROFILE("dev", NULL, dev, "host read-only and masked, workspace writable, no network"),
	PROFILE("readonly", "dev", readonly, "dev, and the workspace cannot be changed"),
	PROFILE("strict", "dev", strict, "system directories only, empty home, fewer system calls"),
	PROFILE("ci", "strict", ci, "hermetic: system directories, empty home, limits"),
	PROFILE("untrusted", "ci", untrusted, "ci for a stranger's work: less of all, nothing degrades"),
	PROFILE("agent-claude", "dev", agent_claude, "dev, and what Claude Code needs"),
	PROFILE("agent-codex", "dev", agent_codex, "dev, and what Codex needs"),
	PROFILE("agent-copilot", "dev", agent_copilot, "dev, and what Copilot CLI needs"),
	PROFILE("vscode", "dev", vscode, "dev, and what VS Code and its server need"),
	PROFILE("image", "dev", image, "root from an image (key image), its user, changes in a layer of the session's; empty home"),
};
const size_t immure_profiles_n = sizeof(immure_profiles) / sizeof(immure_profiles[0]);

const struct immure_profile *immure_profile_find(const char *name)
{
	for (size_t i = 0; i < immure_profiles_n; i++)
		if (strcmp(immure_profiles[i].name, name) == 0)
			return &immure_profiles[i];
	return NULL;
}
