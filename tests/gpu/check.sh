#!/bin/sh
# The GPU path on a bare machine without a network: Python with jax for its device, flax and optax; a folder of wheels
# has what else vaex depends on. The folder is made where there is a network, with the same Python:
#
#     pip wheel --no-deps --wheel-dir WHEELS -r requirements.txt
#
#     sh tests/gpu/check.sh WHEELS [--json FILE] [--small]        (PYTHON=... chooses the interpreter; python3)
#
# Fashion-MNIST must be where `vaex data` looks for it (VAEX_DATA). The rest is tests/gpu/check.py.
set -eu
wheels=$1
shift
checkout=$(cd "$(dirname "$0")/../.." && pwd)
environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
"${PYTHON:-python3}" -m venv --system-site-packages "$environment"
python=$environment/bin/python
"$python" - "$checkout/pyproject.toml" >"$environment/needed.txt" <<'END'
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    print(*tomllib.load(file)["project"]["dependencies"], sep="\n")
END
"$python" -m pip install --quiet --no-index --find-links "$wheels" -r "$environment/needed.txt"
cd "$checkout"
"$python" -m tests.gpu.check "$@"
