#!/usr/bin/env bash
# The PostgreSQL of the tests: real servers, 15 or later, from the system's binaries, each in a directory of its own.
#
#   tests/postgres.sh run COMMAND...           a server for as long as COMMAND runs, which finds it in
#                                              PANNIER_TEST_POSTGRES_URL; ends with COMMAND's code
#   tests/postgres.sh init DIR                 makes a server's files in DIR, which must be empty or absent
#   tests/postgres.sh start DIR PORT [-c X=Y]  starts it, waits until it accepts connections, prints the port; 0: a free one
#   tests/postgres.sh stop DIR [fast|immediate]  stops it, waits until it has ended; no error if it has ended already
#
# The only user is `pannier`, without a password; the log is DIR/server.log.
# PANNIER_TEST_POSTGRES_BIN names the folder of binaries.
# `run` switches fsync and full_page_writes off; PANNIER_TEST_POSTGRES_FSYNC=on leaves them on, for who measures. The files
# are in TMPDIR (/tmp): on a disk, or fsync costs nothing.
set -euo pipefail

VERSION_MIN=15
WAIT_SECONDS_MAX=60

# The developer's PGPORT or PGOPTIONS must reach neither the server nor the tests.
# shellcheck disable=SC2046 # one argument per name
unset $(compgen -v PG)

say() { echo "postgres: $*" >&2; }

# The major version of the binaries in a folder; nothing if they are not all there.
version() {
  if [[ -x "$1/initdb" && -x "$1/pg_ctl" && -x "$1/postgres" ]]; then
    "$1/postgres" --version | sed -nE 's/^[^)]*\) ([0-9]+).*/\1/p'
  fi
}

# Folders that may have the binaries, the best first.
folders() {
  if [[ -n "${PANNIER_TEST_POSTGRES_BIN:-}" ]]; then
    echo "$PANNIER_TEST_POSTGRES_BIN"
    return
  fi
  compgen -G '/usr/lib/postgresql/*/bin' | sort -rV || true
  if command -v pg_ctl >/dev/null; then dirname "$(realpath "$(command -v pg_ctl)")"; fi
  if command -v pg_config >/dev/null; then pg_config --bindir || true; fi
}

# Sets `bin`.
find_binaries() {
  local folder found seen=()
  while read -r folder; do
    found="$(version "$folder")"
    if ((${found:-0} >= VERSION_MIN)); then
      bin="$(realpath "$folder")"
      return
    fi
    seen+=("$folder (${found:-no server})")
  done < <(folders)
  say "no PostgreSQL $VERSION_MIN or later; looked in: ${seen[*]:-/usr/lib/postgresql, PATH}"
  say "install it (apt-get install postgresql), or name its folder in PANNIER_TEST_POSTGRES_BIN"
  exit 1
}

# Sets `owner`, the user that the server runs as: PostgreSQL refuses root. Empty: whoever calls.
find_owner() {
  owner=""
  if ((EUID != 0)); then return; fi
  owner=nobody
  if id postgres >/dev/null 2>&1; then owner=postgres; fi
  if ! command -v setpriv >/dev/null; then
    say "PostgreSQL does not run as root, and there is no setpriv (util-linux) to run it as $owner"
    exit 1
  fi
}

# Runs a command as the server's user, from a folder that every user may be in.
as_owner() (
  cd /
  if [[ -z "$owner" ]]; then exec "$@"; fi
  exec setpriv --reuid "$(id -u "$owner")" --regid "$(id -g "$owner")" --clear-groups "$@"
)

# Fails, with the reason, if the server's user cannot get to a path.
require_reach() {
  local path="$1" parent
  if as_owner test -x "$path"; then return; fi
  parent="$path"
  while [[ "$parent" != / ]] && ! as_owner test -x "$(dirname "$parent")"; do parent="$(dirname "$parent")"; done
  if [[ "$parent" != "$path" ]]; then parent="its parent $parent"; fi
  say "the user ${owner:-$(id -un)} that the server runs as cannot enter $path: $parent is closed to it (chmod o+x)"
  return 1
}

require_files() {
  if [[ -f "$1/PG_VERSION" ]]; then return; fi
  say "no server's files in $1: make them with init"
  return 1
}

# The first locale that matches; nothing if there is none.
locale_like() { grep -m1 -iE "$1" <<<"$(locale -a 2>/dev/null)" || true; }

initdb() {
  as_owner "$bin/initdb" --pgdata="$1" --no-sync --username=pannier --auth=trust --encoding=UTF8 --lc-messages=C "${@:2}"
}

# Sets `collation`, in words.
init() {
  local dir="$1" language plain output
  # Any collation but C's, so that a COLLATE "C" that is missing shows.
  language="$(locale_like '^en_US\.utf-?8$')"
  language="${language:-$(locale_like '^[a-z]+_[A-Z]+\.utf-?8$')}"
  plain="$(locale_like '^C\.utf-?8$')"
  plain="${plain:-C}"

  mkdir -p "$dir"
  dir="$(realpath "$dir")"
  if [[ -n "$owner" ]]; then chown "$(id -u "$owner"):$(id -g "$owner")" "$dir"; fi
  chmod 700 "$dir"
  require_reach "$dir"

  if [[ -n "$language" ]]; then
    collation="$language"
    if output="$(initdb "$dir" --locale="$language" 2>&1)"; then return; fi
  else
    collation="en-US of ICU"
    if output="$(initdb "$dir" --locale="$plain" --locale-provider=icu --icu-locale=en-US 2>&1)"; then return; fi
    if [[ "$output" == *"ICU is not supported"* ]]; then
      say "neither a locale of a language nor ICU is there: collating as $plain, so a missing COLLATE \"C\" does not show"
      collation="$plain"
      if output="$(initdb "$dir" --locale="$plain" 2>&1)"; then return; fi
    fi
  fi
  say "initdb failed:"
  echo "$output" >&2
  return 1
}

# try_start <directory> <port> <options...>: what the log says of this start is in `output`.
try_start() {
  local dir="$1" port="$2" log="$1/server.log" log_bytes=0 options sockets="$1"
  # A socket's path has room for 107 bytes, on some systems 103; the tests use TCP anyway.
  if ((${#dir} > 80)); then sockets=""; fi
  printf -v options '%q ' -c "port=$port" -c listen_addresses=127.0.0.1 -c "unix_socket_directories=$sockets" \
    -c max_connections=400 -c shared_buffers=64MB "${@:3}"
  if [[ -f "$log" ]]; then log_bytes="$(wc -c <"$log")"; fi
  if output="$(as_owner "$bin/pg_ctl" start --pgdata="$dir" --log="$log" --silent --wait --timeout="$WAIT_SECONDS_MAX" \
    --options="$options" 2>&1)"; then return; fi
  if [[ -f "$log" ]]; then output+=$'\n'"$(tail -c +$((log_bytes + 1)) "$log")"; fi
  return 1
}

# Whether the process that a server's files name runs. One that was killed is there, as Z, until its parent takes note.
running() {
  local pid
  if [[ ! -f "$1/postmaster.pid" ]]; then return 1; fi
  pid="$(head -n 1 "$1/postmaster.pid")"
  kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null
}

# Sets `port`.
start() {
  local dir turn output
  require_files "$1"
  dir="$(realpath "$1")"
  require_reach "$dir"
  for ((turn = 0; turn < 100; turn++)); do
    port="$2"
    # The server itself finds out whether a port is free, so nobody can take it in between. All lie below those that
    # systems give to outgoing connections and to port 0, so it is likely to be free still when the server is started again.
    if ((port == 0)); then port=$((20000 + RANDOM % 12000)); fi
    if try_start "$dir" "$port" "${@:3}"; then return; fi
    case "$output" in
      *"could not bind"*) if (($2 != 0)); then break; fi ;;
      # What a killed server leaves goes away soon, unless that server runs after all.
      *'lock file "postmaster.pid"'* | *"pre-existing shared memory"*)
        if running "$dir"; then break; fi
        sleep 0.1
        ;;
      *) break ;;
    esac
  done
  say "the server in $dir did not start on port $port:"
  echo "$output" >&2
  return 1
}

stop() {
  require_files "$1"
  if ! running "$1"; then return; fi
  as_owner "$bin/pg_ctl" stop --pgdata="$(realpath "$1")" --mode="${2:-fast}" --silent --wait --timeout="$WAIT_SECONDS_MAX"
}

# A signal ends the command, which gets five seconds for it, and then this script.
interrupted() {
  local signal="$1" code="$2" turn
  trap '' HUP INT TERM
  if [[ -n "$child" ]]; then
    kill -s "$signal" "$child" 2>/dev/null || true
    for ((turn = 0; turn < 50; turn++)); do
      if ! kill -0 "$child" 2>/dev/null; then break; fi
      sleep 0.1
    done
    kill -KILL "$child" 2>/dev/null || true
  fi
  exit "$code"
}

clean_up() {
  trap '' HUP INT TERM
  if [[ -z "$directory" ]]; then return; fi
  # A server that is not stopped ends by itself within a minute of its files' removal.
  if running "$directory"; then stop "$directory" immediate || true; fi
  rm -rf "$directory"
}

run() {
  local code=0 fsync
  directory=""
  child=""
  trap clean_up EXIT
  trap 'interrupted HUP 129' HUP
  trap 'interrupted INT 130' INT
  trap 'interrupted TERM 143' TERM
  directory="$(mktemp -d "${TMPDIR:-/tmp}/pannier-postgres-XXXXXX")"
  init "$directory"
  # Nothing here has to survive the machine. synchronous_commit stays on, so that commits take the path they take in use.
  fsync="${PANNIER_TEST_POSTGRES_FSYNC:-off}"
  start "$directory" 0 -c "fsync=$fsync" -c "full_page_writes=$fsync"
  say "$("$bin/postgres" --version | sed 's/^[^)]*) //'), collation $collation, fsync $fsync, 127.0.0.1:$port"

  # Behind, because bash lets no signal through while it waits for a command in front. Commands behind ignore Ctrl-C
  # and have no input unless told otherwise.
  (
    trap - INT QUIT
    PANNIER_TEST_POSTGRES_URL="postgres://pannier@127.0.0.1:$port/postgres" exec "$@"
  ) <&0 &
  child=$!
  wait "$child" || code=$?
  child=""
  exit "$code"
}

usage() {
  sed -nE '/^#   /s/^# //p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

verb="${1:-}"
case "$verb:$#" in
  run:0 | run:1 | init:[!2] | start:[12] | stop:[!23]) usage ;;
  run:* | init:* | start:* | stop:*) shift ;;
  *) usage ;;
esac
find_binaries
find_owner
"$verb" "$@"
if [[ "$verb" == start ]]; then echo "$port"; fi
