#!/usr/bin/env bash
# Starts the servers that tests marked `services` need (Neo4j 5.26 and 2026.08, Redis 7 and 8) and installs a browser
# and Docker Compose for them, on a Debian machine: everything pinned, cached in .services/, on 127.0.0.1 only.
# Addresses go to .services/env. What cannot be had here is said in one line and left out.
set -euo pipefail
cd "$(dirname "$0")/.."
ROOT=$PWD/.services
PASSWORD=grapevine-test # of throw-away servers that listen on loopback
WAIT_S=${GRAPEVINE_SERVICES_WAIT_S:-180}
PYTHON=$PWD/.venv/bin/python

say() { echo "services: $*"; }

apt_install() {
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return
  apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1
}

# want COMMAND PACKAGE: whether the command is there, after an attempt to install it.
want() { command -v "$1" >/dev/null || { apt_install "$2" && command -v "$1" >/dev/null; }; }

# A process is ours only if it lives and works in the directory that it was started in.
is_running() {
  local pid
  pid=$(cat "$1/pid" 2>/dev/null) && [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$1" ]
}

# start_in DIRECTORY PORT COMMAND...: in the background, in a session of its own.
start_in() {
  local home=$1 port=$2
  shift 2
  (cd "$home" && exec setsid "$@" >"$home/out.log" 2>&1 </dev/null 9>&-) &
  echo $! >"$home/pid"
  echo "$port" >"$home/port"
}

is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port FIRST: the first port from there on that nobody listens on.
free_port() {
  local port=$1
  while is_open "$port"; do port=$((port + 1)); done
  echo "$port"
}

major_of() { "$1" -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p'; }

# java_from MAJOR: the newest Java of at least that version.
java_from() {
  local best="" best_major=$(($1 - 1)) candidate major
  for candidate in "${JAVA_HOME:-/nowhere}/bin/java" /usr/lib/jvm/*/bin/java "$(command -v java || true)"; do
    [ -x "$candidate" ] || continue
    major=$(major_of "$candidate")
    if [ "${major:-0}" -gt "$best_major" ]; then best=$candidate best_major=$major; fi
  done
  [ -n "$best" ] && echo "$best"
}

java_or_install() {
  java_from "$1" && return
  for package in openjdk-25-jre-headless openjdk-21-jre-headless openjdk-17-jre-headless; do
    apt_install "$package" && java_from "$1" && return
  done
  return 1
}

fetch_jars() { # NAME
  local lib=$ROOT/$1/lib pom=deploy/services/$1/pom.xml
  cmp -s "$pom" "$ROOT/$1/pom.xml" && return
  want mvn maven || { say "$1 left out: Maven is missing (apt-get install maven)"; return 1; }
  say "$1: fetching the server"
  rm -rf "$lib" && mkdir -p "$lib"
  for mode in --offline ""; do # what an earlier run fetched needs no network
    if mvn --quiet --batch-mode $mode -f "$pom" dependency:copy-dependencies "-DoutputDirectory=$lib" \
      >"$ROOT/$1/mvn.log" 2>&1; then
      cp "$pom" "$ROOT/$1/pom.xml"
      return
    fi
  done
  say "$1 left out: Maven could not fetch it (see $ROOT/$1/mvn.log)"
  return 1
}

launch_neo4j() { # NAME FIRST_PORT MAIN_CLASS OLDEST_JAVA
  local home=$ROOT/$1 java port
  mkdir -p "$home/conf"
  if is_running "$home"; then say "$1 runs already"; return; fi
  java=$(java_or_install "$4") || { say "$1 left out: it needs Java $4 or newer (set JAVA_HOME)"; return 1; }
  fetch_jars "$1" || return 1
  port=$(free_port "$2")
  cat >"$home/conf/neo4j.conf" <<CONF
server.default_listen_address=127.0.0.1
server.bolt.listen_address=127.0.0.1:$port
server.http.enabled=false
server.https.enabled=false
dbms.usage_report.enabled=false
server.memory.pagecache.size=512m
db.tx_log.rotation.retention_policy=keep_none
CONF
  local options=(-Xms256m -Xmx1g -XX:+UseParallelGC)
  # Vector search is 2.5 times as fast with it.
  [ "$(major_of "$java")" -ge 21 ] && options+=(--add-modules jdk.incubator.vector)
  # --sun-misc-unsafe-memory-access is known from Java 23 on; without it every start prints warnings.
  [ "$(major_of "$java")" -ge 23 ] && options+=(--sun-misc-unsafe-memory-access=allow)
  start_in "$home" "$port" \
    "$java" "${options[@]}" -cp "$home/lib/*" "$3" "--home-dir=$home" "--config-dir=$home/conf"
}

# Sets the first password, which also shows that the server answers.
await_neo4j() { # NAME
  local home=$ROOT/$1
  "$PYTHON" deploy/services/first_password.py "bolt://127.0.0.1:$(cat "$home/port")" "$PASSWORD" "$WAIT_S" && return
  say "$1 did not start; the end of $home/out.log:" >&2
  tail -n 15 "$home/out.log" >&2
  return 1
}

launch_redis() {
  local home=$ROOT/redis port
  mkdir -p "$home"
  if is_running "$home"; then say "redis runs already"; return; fi
  want redis-server redis-server || { say "redis left out: redis-server is missing (apt-get install redis-server)"; return 1; }
  port=$(free_port 26379)
  printf '%s\n' "bind 127.0.0.1" "port $port" "dir $home" 'save ""' "appendonly no" "protected-mode yes" \
    >"$home/redis.conf"
  start_in "$home" "$port" redis-server "$home/redis.conf"
}

await_redis() {
  local end=$((SECONDS + 20))
  until is_open "$(cat "$ROOT/redis/port")"; do
    [ $SECONDS -lt $end ] || { say "redis did not start; see $ROOT/redis/out.log" >&2; return 1; }
    sleep 0.1
  done
}

# Tests start their own: it is a program, not a server that runs. GRAPEVINE_REDIS8=0 goes without.
provide_redis8() {
  local home=$ROOT/redis-8 reason
  [ "${GRAPEVINE_REDIS8:-1}" = 1 ] || return 0
  [ -x "$home/redis-server" ] || say "redis-8: looking for it, or building it (half a minute or two)"
  reason=$(bash deploy/services/redis8.sh "$home") || { rm -rf "$home"; say "redis-8 left out: $reason"; }
}

stop_one() { # NAME
  local home=$ROOT/$1 pid end=$((SECONDS + 30))
  is_running "$home" || { rm -f "$home/pid"; return 0; }
  pid=$(cat "$home/pid")
  kill "$pid"
  while is_running "$home"; do
    [ $SECONDS -lt $end ] || kill -9 "$pid" 2>/dev/null || true
    sleep 0.1
  done
  rm -f "$home/pid"
  say "$1 stopped"
}

write_env() {
  {
    echo "# Written by deploy/services.sh; read by tests/support/services.py."
    is_running "$ROOT/neo4j-5.26" && echo "GRAPEVINE_TEST_NEO4J_5=bolt://127.0.0.1:$(cat "$ROOT/neo4j-5.26/port")"
    is_running "$ROOT/neo4j-2026.08" && echo "GRAPEVINE_TEST_NEO4J_2026=bolt://127.0.0.1:$(cat "$ROOT/neo4j-2026.08/port")"
    is_running "$ROOT/neo4j-5.26" || is_running "$ROOT/neo4j-2026.08" && echo "GRAPEVINE_TEST_NEO4J_PASSWORD=$PASSWORD"
    is_running "$ROOT/redis" && echo "GRAPEVINE_TEST_REDIS=redis://127.0.0.1:$(cat "$ROOT/redis/port")/0"
    [ -x "$ROOT/redis-8/redis-server" ] && echo "GRAPEVINE_TEST_REDIS_8=$ROOT/redis-8/redis-server"
    true
  } >"$ROOT/env.new"
  mv "$ROOT/env.new" "$ROOT/env"
}

start() {
  local failed=0 waiting=()
  want chromium chromium || say "Chromium left out: install it by hand; this script knows only apt-get as root"
  want docker-compose docker-compose || say "Docker Compose left out: the test that reads docker-compose.yml with it is skipped"
  # 5.26 runs on Java 17 too; the newest is taken, because vector search is faster there.
  launch_neo4j neo4j-5.26 27687 org.neo4j.server.CommunityEntryPoint 17 && waiting+=(neo4j-5.26)
  launch_neo4j neo4j-2026.08 27788 org.neo4j.server.Neo4jCommunity 21 && waiting+=(neo4j-2026.08)
  if launch_redis; then await_redis || failed=1; fi
  provide_redis8 # while Neo4j starts
  for name in "${waiting[@]}"; do await_neo4j "$name" || failed=1; done
  write_env
  status
  return $failed
}

status() {
  local name
  for name in "${ALL[@]}"; do
    if is_running "$ROOT/$name"; then say "$name on 127.0.0.1:$(cat "$ROOT/$name/port")"; else say "$name is not running"; fi
  done
  [ -x "$ROOT/redis-8/redis-server" ] && say "redis-8 for tests: $("$ROOT/redis-8/redis-server" --version | cut -d" " -f3)"
  if command -v chromium >/dev/null; then say "$(chromium --version 2>/dev/null || echo "chromium is there")"; fi
}

ALL=(neo4j-5.26 neo4j-2026.08 redis)
mkdir -p "$ROOT"
exec 9>"$ROOT/lock"
case "${1:-start}" in
  start) flock 9 && start ;;
  stop)
    flock 9
    for name in "${ALL[@]}"; do stop_one "$name"; done
    rm -f "$ROOT/env"
    ;;
  status) status ;;
  *) echo "usage: $0 start|stop|status" >&2; exit 2 ;;
esac
