#!/usr/bin/env bash
# Generates gen/ from proto/: messages, typed stubs, services, and the descriptors with the
# contracts' comments, which reflection and `cellplane explain` serve.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-gen}
bin=$(dirname "${PYTHON:-.venv/bin/python}")
mkdir -p "$out/cellplane/api"
files=$(find proto -name '*.proto' | sort)
PATH="$bin:$PATH" "$bin/python" -m grpc_tools.protoc \
  -I proto -I third_party/proto \
  --python_out="$out" --mypy_out="quiet:$out" \
  --grpc_python_out="$out" --mypy_grpc_out="quiet:$out" \
  $files
# The wheel of protovalidate brings no module for ordinary protobuf messages.
PATH="$bin:$PATH" "$bin/python" -m grpc_tools.protoc -I third_party/proto \
  --python_out="$out" --mypy_out="quiet:$out" third_party/proto/buf/validate/validate.proto
"$bin/python" -m grpc_tools.protoc \
  -I proto -I third_party/proto \
  --include_source_info --include_imports \
  --descriptor_set_out="$out/cellplane/api/descriptor.binpb" \
  $files
