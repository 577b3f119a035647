#!/bin/sh
# Makes mobilenet_v2.u8.onnx anew from the npm package nsfwjs 4.3.0, in this folder. Needs node, npm, python3 with venv, network.
# The result is the same byte for byte: the package is pinned by its digest, the Python packages by requirements.txt.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

npm pack --silent nsfwjs@4.3.0
echo '4496790efc9bdc6f3e85a826a8e482c1fa1e9db4b3d18c095e98cc0c73cfb12f  nsfwjs-4.3.0.tgz' | sha256sum --check --quiet
tar xzf nsfwjs-4.3.0.tgz
node "$here/unpack.cjs" package unpacked

python3 -m venv venv
venv/bin/pip install --quiet --requirement "$here/requirements.txt"
venv/bin/python "$here/convert.py" unpacked "$here/mobilenet_v2.u8.onnx"
cp package/LICENSE "$here/LICENSE-nsfwjs"

cd "$here"
sha256sum --check SHA256SUMS
