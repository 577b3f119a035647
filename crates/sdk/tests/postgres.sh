#!/usr/bin/env bash
# Runs the receiver's tests against a PostgreSQL of their own: a throwaway cluster in a temporary folder, on a socket there alone.
set -euo pipefail
cd "$(dirname "$0")/../../.."

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb 2>/dev/null || true)")
if [ ! -x "$bin/initdb" ]; then
  echo "SKIPPED: no PostgreSQL server is installed (Debian: apt-get install postgresql)" >&2
  exit 0
fi

folder=$(mktemp -d)
# PostgreSQL refuses to run as root.
as_server() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
if [ "$(id -u)" = 0 ]; then chown postgres "$folder"; fi
stop() {
  as_server "$bin/pg_ctl" -D "$folder/data" -m immediate -s stop || true
  rm -rf "$folder"
}
trap stop EXIT

(
  cd "$folder"
  as_server "$bin/initdb" -D data -U filesafety -A trust >initdb.log || { cat initdb.log >&2; exit 1; }
  as_server "$bin/pg_ctl" -D data -l "$folder/server.log" -w -s -o "-c listen_addresses='' -c unix_socket_directories='$folder' -c max_connections=200" start
)
export FILESAFETY_TEST_POSTGRES="host=$folder user=filesafety dbname=postgres"
cargo test --locked -p filesafety --features receiver-postgres --test receiver "${1-postgres}"
