#!/usr/bin/env bash
# Makes ready what the client tests need: Python environments, npm packages, generated stubs, grpcurl.
# Each step leaves a stamp inside what it made, so a second run does only what has changed since.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
clients="$root/tests/clients"
cd "$root"

GRPCURL_VERSION=v1.9.3

# One line that changes when a file's name or content does.
fingerprint() { cksum "$@" | cksum; }

protos() { find proto -name '*.proto' | LC_ALL=C sort; }

# step <name> <stamp file> <fingerprint> <function>: runs the function unless the stamp says it was done for this fingerprint.
step() {
  local name="$1" stamp="$2" print="$3" work="$4"
  if [[ -f "$stamp" && "$(cat "$stamp")" == "$print" ]]; then return; fi
  echo "setup: $name"
  # Not `if "$work"`: that would switch off `set -e` inside the function.
  "$work"
  echo "$print" >"$stamp"
}

# python_packages <folder> <list>: an environment without any package of an older list.
python_packages() {
  python3 -m venv --clear "$1"
  "$1/bin/pip" install --quiet --disable-pip-version-check -r "$clients/python/requirements-$2.txt"
}
python_newest() { python_packages .venv newest; }
python_oldest() { python_packages .venv-oldest oldest; }
python_generate() { python_packages .venv-generate generate; }

root_packages() { npm ci --no-audit --no-fund --loglevel=error; }

node_packages() { (cd "$clients/node" && npm ci --no-audit --no-fund --loglevel=error); }

python_stubs() {
  local out="$clients/python/gen"
  rm -rf "$out"
  mkdir -p "$out"
  # shellcheck disable=SC2046 # one argument per file
  .venv-generate/bin/python -m grpc_tools.protoc -Iproto --python_out="$out" --grpc_python_out="$out" $(protos)
  # Without these a package named `pannier` that is installed elsewhere would be found first.
  find "$out" -mindepth 1 -type d -exec touch {}/__init__.py \;
}

reflection_protoset() {
  # grpcurl speaks v1 reflection first; to call v1alpha by hand it needs that service's description from outside the server.
  mkdir -p "$clients/gen"
  .venv/bin/python - "$clients/gen/reflection_v1alpha.protoset" <<'PY'
import sys
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_reflection.v1alpha import reflection_pb2

descriptions = FileDescriptorSet()
reflection_pb2.DESCRIPTOR.CopyToProto(descriptions.file.add())
with open(sys.argv[1], "wb") as out:
    out.write(descriptions.SerializeToString())
PY
}

node_stubs() {
  rm -rf "$clients/node/gen"
  node_modules/.bin/buf generate --template "$clients/node/buf.gen.yaml"
}

grpcurl_binary() {
  GOBIN="$root/.tools/bin" go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$GRPCURL_VERSION"
}

python_list="$(fingerprint "$clients"/python/requirements-*.txt)"
root_list="$(fingerprint package.json package-lock.json)"
node_list="$(fingerprint "$clients/node/package.json" "$clients/node/package-lock.json")"
# shellcheck disable=SC2046 # one argument per file
proto_list="$(fingerprint $(protos))"

step "Python packages, newest" .venv/.clients-stamp "$python_list" python_newest
step "Python packages, oldest" .venv-oldest/.clients-stamp "$python_list" python_oldest
step "Python packages of the generator" .venv-generate/.clients-stamp "$python_list" python_generate
step "npm packages of the project" node_modules/.clients-stamp "$root_list" root_packages
step "npm packages of the Node client test" "$clients/node/node_modules/.clients-stamp" "$node_list" node_packages
step "Python stubs" "$clients/python/gen/.clients-stamp" "$python_list $proto_list" python_stubs
step "description of v1alpha reflection" "$clients/gen/.clients-stamp" "$python_list" reflection_protoset
step "Node stubs" "$clients/node/gen/.clients-stamp" \
  "$root_list $node_list $proto_list $(fingerprint "$clients/node/buf.gen.yaml" buf.yaml)" node_stubs
if [[ ! -x .tools/bin/grpcurl ]]; then mkdir -p .tools/bin; fi
step "grpcurl $GRPCURL_VERSION" .tools/bin/.grpcurl-stamp "$GRPCURL_VERSION" grpcurl_binary
