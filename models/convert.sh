#!/bin/sh
# Makes mobilenet_v2.u8.onnx anew from the npm package nsfwjs 4.3.0, in this folder; or, where a folder is given, nsfwjs' larger models
# in that one, each with its description for FILESAFETY_NSFW_MODEL. Needs node, npm, python3 with venv, network.
# The result is the same byte for byte: the package is pinned by its digest, the Python packages by requirements.txt.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=
[ $# -eq 0 ] || target=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

npm pack --silent nsfwjs@4.3.0
echo '4496790efc9bdc6f3e85a826a8e482c1fa1e9db4b3d18c095e98cc0c73cfb12f  nsfwjs-4.3.0.tgz' | sha256sum --check --quiet
tar xzf nsfwjs-4.3.0.tgz
python3 -m venv venv
venv/bin/pip install --quiet --requirement "$here/requirements.txt"

# convert MODEL TARGET
convert() {
  node "$here/unpack.cjs" package unpacked "$1"
  venv/bin/python "$here/convert.py" unpacked "$2" "$1"
}

if [ -z "$target" ]; then
  convert mobilenet_v2 "$here/mobilenet_v2.u8.onnx"
  cp package/LICENSE "$here/LICENSE-nsfwjs"
  cd "$here"
  sha256sum --check SHA256SUMS
  exit
fi
for model in mobilenet_v2_mid:224 inception_v3:299; do
  name=${model%:*}
  convert "$name" "$target/$name.onnx"
  cat > "$target/$name.toml" <<DESCRIPTION
size = ${model#*:}
labels = ["Drawing", "Hentai", "Neutral", "Porn", "Sexy"]

[categories]
Drawing = "drawing"
Hentai = "explicit_drawing"
Neutral = "neutral"
Porn = "explicit_nudity"
Sexy = "suggestive"
DESCRIPTION
done
