/* SPDX-License-Identifier: Apache-2.0 */
/* Places that many policies name: what a developer's programs and their package
 * managers read in a home. None of them is a place of secrets, or lies in one. */
#include <string.h>

#include "policy/policy.h"

#define PRESET(name, path) { name, path }

const struct immure_preset immure_presets[] = {
	PRESET("toolchains", "~/.asdf"),
	PRESET("toolchains", "~/.bun/bin"),
	PRESET("toolchains", "~/.cargo/bin"),
	PRESET("toolchains", "~/.deno/bin"),
	PRESET("toolchains", "~/.ghcup"),
	PRESET("toolchains", "~/.juliaup"),
	PRESET("toolchains", "~/.local/bin"),
	PRESET("toolchains", "~/.local/lib"),
	PRESET("toolchains", "~/.local/pipx"),
	PRESET("toolchains", "~/.local/share/mise"),
	PRESET("toolchains", "~/.local/share/pnpm"),
	PRESET("toolchains", "~/.local/share/uv"),
	PRESET("toolchains", "~/.nvm"),
	PRESET("toolchains", "~/.opam"),
	PRESET("toolchains", "~/.pyenv"),
	PRESET("toolchains", "~/.rbenv"),
	PRESET("toolchains", "~/.rustup"),
	PRESET("toolchains", "~/.rye"),
	PRESET("toolchains", "~/.sdkman"),
	PRESET("toolchains", "~/.volta"),
	PRESET("toolchains", "~/go/bin"),
	PRESET("toolchains", "/nix/store"),
	PRESET("package_config", "~/.cargo/config.toml"),
	PRESET("package_config", "~/.config/git/ignore"),
	PRESET("package_config", "~/.config/go"),
	PRESET("package_config", "~/.gitconfig"),
	PRESET("package_cache", "~/.cache/go-build"),
	PRESET("package_cache", "~/.cache/pip"),
	PRESET("package_cache", "~/.cache/uv"),
	PRESET("package_cache", "~/.cache/yarn"),
	PRESET("package_cache", "~/.cargo/git"),
	PRESET("package_cache", "~/.cargo/registry"),
	PRESET("package_cache", "~/.gradle/caches"),
	PRESET("package_cache", "~/.ivy2/cache"),
	PRESET("package_cache", "~/.m2/repository"),
	PRESET("package_cache", "~/.npm/_cacache"),
	PRESET("package_cache", "~/go/pkg/mod"),
};
const size_t immure_presets_n = sizeof(immure_presets) / sizeof(immure_presets[0]);

bool immure_preset_is(const char *name)
{
	for (size_t i = 0; i < immure_presets_n; i++)
		if (strcmp(immure_presets[i].name, name) == 0)
			return true;
	return false;
}
