#!/bin/bash
# A CA, its log and an issuer to try them with, until SIGTERM or Ctrl-C.
# Usage: examples/serve.bash PROGRAM DATA_DIR
# Ports: PORT, ISSUER_PORT, LOG_PORT, GRPC_PORT, METRICS_PORT.
set -u
program=$1 data=$2
port=${PORT:-5555} issuer_port=${ISSUER_PORT:-5556}
fulcio=http://127.0.0.1:$port issuer=http://127.0.0.1:$issuer_port

umask 077
mkdir -p "$data/policies"
if ! [ -e "$data/ca/chain.pem" ]; then
  "$program" run examples/authority.lua "$data/ca" || exit 1
fi
cat >"$data/policies/development.lua" <<POLICY
-- The development issuer: whoever asks it for a token gets a certificate.
return {
  issuer   = "$issuer",
  audience = "sigstore",
  must     = anyone,
  provider = "email",
}
POLICY

children=()
trap 'kill -TERM "${children[@]}" 2>/dev/null' TERM INT

"$program" run examples/issuer/issuer.lua --port "$issuer_port" \
  --keys "$data/issuer" &
children+=($!)
"$program" serve --development --ca fileca \
  --data-dir "$(realpath "$data")" \
  --fileca-cert "$data/ca/chain.pem" --fileca-key "$data/ca/key.pem" \
  --policies "$data/policies" --host 127.0.0.1 --port "$port" \
  --grpc-host 127.0.0.1 --grpc-port "${GRPC_PORT:-5554}" \
  --metrics-port "${METRICS_PORT:-2112}" \
  --ctlog-port "${LOG_PORT:-6962}" &
children+=($!)

# Whether what listens on a port answers a path with a word.
answers() (
  exec 3<>"/dev/tcp/127.0.0.1/$1" &&
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' \
      "$2" "127.0.0.1:$1" >&3 && timeout 2 grep -q "$3" <&3
) 2>/dev/null

serving() {
  answers "$port" /healthz '"SERVING"' && answers "$issuer_port" /keys '"kid"'
}

alive() { kill -0 "${children[0]}" && kill -0 "${children[1]}"; } 2>/dev/null

until serving || ! alive; do sleep 0.1; done
alive && cat <<LINE

Serving. A first certificate, from another terminal:

  $program run examples/sign.lua $fulcio $issuer $data

LINE

# One of them ended, or a signal came: the others end with it.
wait -n "${children[@]}"
status=$?
kill -TERM "${children[@]}" 2>/dev/null
wait
[ "$status" -gt 128 ] && status=0
exit "$status"
