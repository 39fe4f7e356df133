#!/usr/bin/env bash
# Runs every client test against the real binary, which must be built: PANNIER_BIN, or target/{release,debug}/pannier
# under CARGO_TARGET_DIR. Ends with the number of programs that passed and failed.
set -uo pipefail

clients="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$clients/../.." && pwd)"
passed=0
failed=0

program() {
  echo
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

if ! "$clients/setup.sh"; then
  echo "clients: 0 passed, 1 failed (setup)"
  exit 1
fi
# Each Python program on the newest grpcio and on the oldest that applications may have.
for python in "$root/.venv/bin/python" "$root/.venv-oldest/bin/python"; do
  echo
  "$python" -c 'import google.protobuf, grpc; print(f"grpcio {grpc.__version__}, protobuf {google.protobuf.__version__}")'
  for name in transcripts errors cancelled history improver offline recordings results; do
    program "$python" "$clients/python/$name.py"
  done
done
program node "$clients/node/transcripts.mjs"
program node "$clients/node/repositories.mjs"
program "$clients/grpcurl.sh"
program "$root/.venv/bin/python" "$clients/tour.py"

echo
echo "clients: $passed passed, $failed failed"
((failed == 0))
