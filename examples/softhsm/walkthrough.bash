#!/bin/bash
# A CA whose key is in an HSM, from an empty token to a first certificate.
# Usage: examples/softhsm/walkthrough.bash [PROGRAM [DIRECTORY]]
# Everything is made in DIRECTORY (default: a temporary one).
# Ports: PORT, ISSUER_PORT, LOG_PORT, GRPC_PORT, METRICS_PORT.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "${1:-build/fulcio}")
directory=${2:-$(mktemp -d)}
module=/usr/lib/softhsm/libsofthsm2.so
issuer=http://127.0.0.1:${ISSUER_PORT:-5556}
fulcio=http://127.0.0.1:${PORT:-8080}

say() { printf '\n$ %s\n' "$*"; }
run() { say "$@"; "$@"; }

mkdir -p "$directory/tokens" "$directory/policies"
cp -r "$here/config" "$directory"
cd "$directory"
export SOFTHSM2_CONF=$PWD/config/softhsm2.conf

run softhsm2-util --init-token --slot 0 --label fulcio \
  --pin 2324 --so-pin 2324
run pkcs11-tool --module $module --login --login-type user --pin 2324 \
  --keypairgen --id 1 --label PKCS11CA --key-type EC:secp384r1
run "$program" createca --org=acme --country=UK --locality=SomeTown \
  --province=SomeProvince --postal-code=XXXX --street-address=XXXX \
  --hsm-caroot-id 99 --out myrootCA.pem
run pkcs11-tool --module $module --login --pin 2324 --list-objects \
  --type cert

# Who may get a certificate: whoever the development issuer names.
sed "s|http://127.0.0.1:5556|$issuer|" \
  "$here/../../policies/issuers/development.lua" >policies/development.lua
"$program" run "$here/../issuer/issuer.lua" --port "${issuer##*:}" \
  --keys "$PWD/issuer" >issuer.log 2>&1 &
issuing=$! serving=
trap 'kill $issuing $serving 2>/dev/null; wait' EXIT
export FULCIO_SERVE_POLICIES=$PWD/policies FULCIO_SERVE_DEVELOPMENT=true
export FULCIO_SERVE_DATA_DIR=$PWD FULCIO_SERVE_HOST=127.0.0.1
export FULCIO_SERVE_GRPC_HOST=127.0.0.1 FULCIO_SERVE_PORT=${fulcio##*:}
export FULCIO_SERVE_GRPC_PORT=${GRPC_PORT:-5554}
export FULCIO_SERVE_METRICS_PORT=${METRICS_PORT:-2112}
export FULCIO_SERVE_CTLOG_PORT=${LOG_PORT:-6962}
say "$program" serve --ca pkcs11ca --hsm-caroot-id 99
"$program" serve --ca pkcs11ca --hsm-caroot-id 99 >fulcio.log 2>&1 &
serving=$!
until curl -fs $fulcio/healthz $issuer/keys >/dev/null; do
  kill -0 $serving || { cat fulcio.log; exit 1; }
  kill -0 $issuing || { cat issuer.log; exit 1; }
  sleep 0.1
done

mkdir ca
cp myrootCA.pem ca/root.pem
run "$program" run "$here/../sign.lua" $fulcio $issuer "$PWD"
