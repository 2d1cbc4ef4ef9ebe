# What the shells in this folder share. Source it; it runs nothing.
set -euo pipefail
export LC_ALL=C.UTF-8
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${KEELSON_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/keelson}
step=$(basename "$0")

say() { printf '%s: %s\n' "$step" "$*" >&2; }
die() { printf '%s: error: %s\n' "$step" "$1" >&2; shift; [ $# = 0 ] || printf '  %s\n' "$@" >&2; exit 1; }
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0; }
need_root() { [ "$(id -u)" = 0 ] || die "needs root (it makes and enters a chroot)" "run it as root: sudo $0"; }
need() { command -v "$1" >/dev/null || die "the host has no '$1'" "apt-get install -y --no-install-recommends $2"; }
digest() { sha256sum | cut -c1-"${1:-16}"; }

# The lock in force: the release's, or the one resolved anew when a mirror had lost a pinned package.
lock_in_force() {
  local own=$top/board/packages.lock new=$top/out/packages.lock
  if [ -z "${KEELSON_LOCKED:-}" ] && [ -s "$new" ] && [ "$(digest 64 <"$own")" = "$(cat "$new.for" 2>/dev/null)" ]
  then echo "$new"; else echo "$own"; fi
}
root_dir() { echo "$cache/root/$({ grep '^root ' "$1"; cat "$top/scripts/root-make"; } | digest)"; }

# The compiler's output for this checkout. A new checkout takes over what one that is gone has left: its crates are as good,
# its own packages are not (cargo goes by file times, which say nothing across checkouts).
target_dir() {
  local targets=$cache/targets own package left
  own=$targets/$(digest <<<"$top") && mkdir -p "$targets"
  for left in "$targets"/*/; do
    [ ! -d "$own" ] && [ -s "$left/checkout" ] && [ ! -d "$(cat "$left/checkout")" ] && mv -T "$left" "$own" 2>/dev/null || continue
    for package in fuzz qemu xtask "$top"/firmware/*/; do
      rm -rf "$own"/*/{,*/}.fingerprint/"$(basename "$package")"-[0-9a-f]*
    done
  done
  mkdir -p "$own" && printf '%s' "$top" >"$own/checkout" && echo "$own"
}

# Sets $main and $security: where this machine's own apt gets Debian from, or what the environment says.
find_mirrors() {
  local targets form='$(ORIGIN)|$(LABEL)|$(REPO_URI)'
  targets=$(apt-get indextargets --format "$form" 'Created-By: Packages' 2>/dev/null | sort -u) || true
  main=${KEELSON_MIRROR:-$(sed -n 's/^Debian|Debian|//p' <<<"$targets" | head -n1)}
  security=${KEELSON_SECURITY_MIRROR:-$(sed -n 's/^Debian|Debian-Security|//p' <<<"$targets" | head -n1)}
  case $main in mirror+file:*) main=$(grep -m1 -o '^[a-z]*:[^ ]*' "${main#mirror+file:}") ;; esac
  case $security in mirror+file:*) security=$(grep -m1 -o '^[a-z]*:[^ ]*' "${security#mirror+file:}") ;; esac
  [ -n "$main" ] || die "this machine's apt names no Debian archive" "run apt-get update, or set KEELSON_MIRROR to the address of one"
  main=${main%/} security=${security%/}
  [ -z "${KEELSON_MIRROR:-}" ] || security=
  security=${KEELSON_SECURITY_MIRROR:-${security:-$main-security}}
}
