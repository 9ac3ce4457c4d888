#!/usr/bin/env bash
# Installs the locked dependencies, checked by their hashes, and cellplane itself.
set -euo pipefail
python=$1 venv=$2 lock=$3
"$python" - <<'P' || exit 1
import sys
if sys.version_info < (3, 11):
    sys.exit(f"cellplane needs Python 3.11 or later; this is {sys.version.split()[0]}: set PYTHON=")
P
[ -x "$venv/bin/python" ] || { echo "creating $venv"; "$python" -m venv "$venv"; }
if [ ! -x "$venv/bin/uv" ]; then
  # pip installs uv alone, checked like the rest, as uv is many times quicker with all others
  sed -n '/^uv==/,/^[a-z]/p' requirements-dev.lock | sed '$d' | sed '/^ *#/d' > "$venv/uv.lock"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$venv/uv.lock"
fi
echo "installing the dependencies of $lock"
VIRTUAL_ENV="$venv" "$venv/bin/uv" pip install --quiet --require-hashes -r "$lock"
VIRTUAL_ENV="$venv" "$venv/bin/uv" pip install --quiet --no-deps --editable .
