#!/usr/bin/env bash
# Runs schemathesis, which invents requests from the OpenAPI document, against a server of its own.
set -euo pipefail
cd "$(dirname "$0")/../../.."

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT

cargo build --locked -p filesafety-cli
binary=${CARGO_TARGET_DIR:-target}/debug/filesafety

environment=${SCHEMATHESIS_VENV:-target/schemathesis}
[ -x "$environment/bin/schemathesis" ] || { python3 -m venv "$environment"; "$environment/bin/pip" install --quiet schemathesis; }

key=fs_live_c2NoZW1hdGhlc2lzLWtleS0wMDE
FILESAFETY_LISTEN=127.0.0.1:0 FILESAFETY_DATA_DIR=$folder/data FILESAFETY_API_KEY=$key FILESAFETY_RATE=off \
  "$binary" serve 2>"$folder/log" &
server=$!
address=
for _ in $(seq 200); do
  address=$(sed -n 's/.*listening on \(http:\/\/[0-9.:]*\).*/\1/p' "$folder/log" | head -n 1)
  [ -z "$address" ] || break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
[ -n "$address" ] || { echo "the server did not start:" >&2; cat "$folder/log" >&2; exit 1; }

# The event stream never ends by itself; the rest of the API is all asked.
"$environment/bin/schemathesis" run "$address/openapi.json" --url "$address" --header "x-api-key: $key" \
  --exclude-path /v1/events --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
  --max-examples "${SCHEMATHESIS_EXAMPLES:-50}" --workers 1 --request-timeout 40
kill -0 "$server"
