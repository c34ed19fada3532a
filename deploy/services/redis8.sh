#!/usr/bin/env bash
# Puts Redis 8's server into DIRECTORY, for tests of both versions: Debian 12 itself has 7. Built once (half a minute
# of two cores) from Debian 13's source package, which apt fetches from wherever this machine's own packages come
# from, and kept in the user's cache. The machine's lists and packages stay as they are. Prints one line on failure.
set -euo pipefail
TO=$1
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/grapevine/redis-8
SUITE=trixie

fail() { echo "$1"; exit 1; }

is_eight() { "$1" --version 2>/dev/null | grep -q ' v=8\.'; }

mkdir -p "$TO"
if is_eight "$CACHE/redis-server"; then cp "$CACHE/redis-server" "$TO/"; exit; fi
if is_eight redis-server; then ln -sf "$(command -v redis-server)" "$TO/redis-server"; exit; fi
for tool in apt-get gcc make; do command -v "$tool" >/dev/null || fail "$tool is missing"; done

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
chmod 755 "$WORK" # apt fetches as another user
HERE=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
URI=$(apt-get -o APT::Get::IndexTargets::OnlyPresent=false indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' \
  'Created-By: Packages' | sed -n "s/^$HERE main //p" | head -n 1)
[ -n "$HERE" ] && [ -n "$URI" ] || fail "apt knows no Debian here"
mkdir -p "$WORK"/{lists,cache,source,code}
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb-src $([ -f $KEYS ] && echo "[signed-by=$KEYS]") $URI $SUITE main" >"$WORK/sources.list"
APT=(apt-get -qq -o "Dir::Etc::sourcelist=$WORK/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$WORK/lists" -o "Dir::Cache=$WORK/cache" -o APT::Sandbox::User=root)
{ "${APT[@]}" update && cd "$WORK/source" && "${APT[@]}" source --download-only redis; } >"$WORK/log" 2>&1 ||
  fail "its source could not be fetched ($(tail -n 1 "$WORK/log"))"
tar -xf redis_8.*.orig.tar.* -C "$WORK/code" --strip-components=1 || fail "$SUITE has no Redis 8"
make -s -j2 -C "$WORK/code/src" redis-server MALLOC=libc OPTIMIZATION=-O1 BUILD_TLS=no USE_SYSTEMD=no \
  >"$WORK/log" 2>&1 || fail "it could not be built ($(grep -m1 -i error "$WORK/log" || tail -n 1 "$WORK/log"))"
mkdir -p "$CACHE"
cp "$WORK/code/src/redis-server" "$TO/"
cp "$TO/redis-server" "$CACHE/redis-server.$$" && mv "$CACHE/redis-server.$$" "$CACHE/redis-server"
