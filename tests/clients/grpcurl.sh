#!/usr/bin/env bash
# What a person with grpcurl sees, against the real binary: no .proto file at hand, everything by reflection.
# Over TCP and over a Unix socket; reflection v1 (grpcurl's default) and v1alpha.
set -uo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
grpcurl="$root/.tools/bin/grpcurl"
v1alpha="$root/tests/clients/gen/reflection_v1alpha.protoset"
service=pannier.cache.v1.CacheService
passed=0
failed=0

binary() {
  if [[ -n "${PANNIER_BIN:-}" ]]; then
    echo "$PANNIER_BIN"
    return
  fi
  local target="${CARGO_TARGET_DIR:-$root/target}" profile
  for profile in release debug; do
    if [[ -x "$target/$profile/pannier" ]]; then
      echo "$target/$profile/pannier"
      return
    fi
  done
  echo "no pannier binary under $target: run \`cargo build --release -p pannier\` or set PANNIER_BIN" >&2
  return 1
}

start() {
  directory="$(mktemp -d "${TMPDIR:-/tmp}/pannier-clients-XXXXXX")"
  # The developer's settings must not reach the process under test.
  local unset=() name
  for name in $(compgen -e PANNIER_); do unset+=(-u "$name"); done
  (
    cd "$directory" && exec env "${unset[@]}" "$pannier" serve --data data --listen 127.0.0.1:0 \
      --socket "$directory/pannier.sock" --http-listen 127.0.0.1:0 --ready-file "$directory/ready.json"
  ) >"$directory/log.txt" 2>&1 &
  pid=$!
  trap stop EXIT
  for ((turn = 0; turn < 300; turn++)); do
    if [[ -f "$directory/ready.json" ]]; then return; fi
    if ! kill -0 "$pid" 2>/dev/null; then break; fi
    sleep 0.05
  done
  echo "pannier did not get ready:"
  cat "$directory/log.txt"
  exit 1
}

stop() {
  kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
  rm -rf "$directory"
}

# A string of the ready file, which is flat JSON.
ready() { sed -nE "s/.*\"$1\"[[:space:]]*:[[:space:]]*\"([^\"]*)\".*/\1/p" "$directory/ready.json"; }

# check <name> <ok|error> <grpcurl arguments...> -- <pattern...>: the call ends so, and its output has each pattern.
check() {
  local name="$1" wanted="$2" arguments=() output outcome=ok pattern missing=()
  shift 2
  while [[ "$1" != -- ]]; do
    arguments+=("$1")
    shift
  done
  shift
  output="$("$grpcurl" -plaintext -max-time 10 "${arguments[@]}" 2>&1)" || outcome=error
  for pattern in "$@"; do
    # Not a pipe into grep -q: it stops reading at the first match, and pipefail would blame echo.
    if ! grep -qE -e "$pattern" <<<"$output"; then missing+=("$pattern"); fi
  done
  if [[ "$outcome" == "$wanted" && ${#missing[@]} == 0 ]]; then
    passed=$((passed + 1))
    echo "    ok      $name"
  else
    failed=$((failed + 1))
    echo "    FAILED  $name: ended with $outcome; output lacks: ${missing[*]:-nothing}"
    sed 's/^/            /' <<<"$output"
  fi
}

# All checks over one transport; the arguments say how grpcurl gets there, the address last.
run() {
  local to=("$@") flags=("${@:1:$#-1}") address="${*: -1}"

  check "list names the services" ok "${to[@]}" list -- \
    "^$service\$" '^grpc\.health\.v1\.Health$' '^grpc\.reflection\.v1\.ServerReflection$'
  check "describe shows the service" ok "${to[@]}" describe "$service" -- \
    'rpc Get \( \.pannier\.cache\.v1\.GetRequest \)' 'rpc GetOrLease ' 'rpc BatchPut '
  check "describe shows a message" ok "${to[@]}" describe pannier.cache.v1.PutItem -- \
    'oneof content' 'string metadata_json = 5;'
  check "v1alpha reflection lists the services" ok "${flags[@]}" -protoset "$v1alpha" -d '{"list_services": ""}' \
    "$address" grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo -- "\"name\": \"$service\""
  check "v1alpha reflection knows google.rpc's error details" ok "${flags[@]}" -protoset "$v1alpha" \
    -d '{"file_containing_symbol": "google.rpc.BadRequest"}' \
    "$address" grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo -- '"file_descriptor_proto": \['

  # dGhlIHZhbHVl is "the value" in base64, as bytes are in JSON.
  check "Put stores an entry" ok "${flags[@]}" \
    -d '{"namespace": "grpcurl", "item": {"key": "k", "value": "dGhlIHZhbHVl", "ttl": "60s", "tags": ["by-hand"]}}' \
    "$address" "$service/Put" -- '"etag": ' '"expireTime": '
  check "Get gives it back" ok "${flags[@]}" -d '{"namespace": "grpcurl", "key": "k"}' \
    "$address" "$service/Get" -- '"value": "dGhlIHZhbHVl"' '"by-hand"' '"sizeBytes": "9"'
  check "Get of what is not there is an empty answer" ok "${flags[@]}" -d '{"namespace": "grpcurl", "key": "none"}' \
    "$address" "$service/Get" -- '^\{\}$'

  check "the sidecar's health is SERVING" ok "${to[@]}" grpc.health.v1.Health/Check -- '"status": "SERVING"'
  check "the cache's health is SERVING" ok "${flags[@]}" -d "{\"service\": \"$service\"}" \
    "$address" grpc.health.v1.Health/Check -- '"status": "SERVING"'
  check "the health of an unknown service is NotFound" error "${flags[@]}" -d '{"service": "no.such.Service"}' \
    "$address" grpc.health.v1.Health/Check -- 'Code: NotFound'

  check "wrong fields are all named, in clear text" error "${flags[@]}" \
    -d '{"namespace": "grpcurl", "item": {"key": "", "value": "", "ttl": "-1s", "metadataJson": "[1]"}}' \
    "$address" "$service/Put" -- 'Code: InvalidArgument' 'google\.rpc\.BadRequest' '"fieldViolations"' \
    '"field": "item\.key"' '"field": "item\.ttl"' '"field": "item\.metadata_json"' '"description": "[^"]+' \
    'google\.rpc\.ErrorInfo' '"reason": "INVALID_ARGUMENT"' '"domain": "pannier\.dev"'
  check "a broken condition tells its reason" error "${flags[@]}" \
    -d '{"namespace": "grpcurl", "item": {"key": "k", "value": "", "ifAbsent": true}}' \
    "$address" "$service/Put" -- 'Code: AlreadyExists' '"reason": "ENTRY_EXISTS"'
}

pannier="$(binary)" || exit 1
pannier="$(realpath "$pannier")"
if [[ ! -x "$grpcurl" ]]; then
  echo "no $grpcurl: run tests/clients/setup.sh"
  exit 1
fi
echo "grpcurl"
echo "  binary $pannier"
start
printf '\n  over tcp (%s)\n' "$(ready grpc)"
run "$(ready grpc)"
printf '\n  over unix (%s)\n' "$(ready socket)"
# Not `-unix <path>`: grpcurl 1.9.2 and 1.9.3 take that path for a TCP address.
run -authority localhost "unix:$(ready socket)"
printf '\ngrpcurl: %d checks passed, %d failed\n' "$passed" "$failed"
((failed == 0))
