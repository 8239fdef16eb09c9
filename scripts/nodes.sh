# Nodes of one machine, each a process with a data folder of its own: what the scripts beside this one share. To be sourced.

BMM=$(readlink -f "${BMM:-${CARGO_TARGET_DIR:-target}/release/bmm}")
[ -x "$BMM" ] || { echo "$BMM is not there: cargo build --release -p bmm, or name it by BMM=" >&2; exit 1; }

DIR=$(mktemp -d) PIDS=() RPC=() PEER=()
cleanup() {
    exec 2>/dev/null  # the shell tells of every process that is killed here
    for pid in "${PIDS[@]}"; do kill -9 "$pid" || true; done
    if [ "${KEEP:-}" ]; then echo "logs and data: $DIR"; else rm -rf "$DIR"; fi
}
trap cleanup EXIT
fail() { echo "FAILED: $*" >&2; tail -n 5 "$DIR"/*.err >&2 || true; exit 1; }
say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }

# begin NUMBER COMMAND…: starts a node; its pid is then in PIDS, its JSON-RPC in RPC, its address in ADDRESS and the last part of that in PEER.
begin() {
    local number=$1; shift
    rm -f "$DIR/$number.out"
    RUST_LOG=${RUST_LOG:-warn} "$BMM" --data "$DIR/$number" --json "$@" --listen 127.0.0.1:0 --no-mdns \
        --peer-listen /ip4/127.0.0.1/tcp/0 >"$DIR/$number.out" 2>>"$DIR/$number.err" &
    PIDS[number]=$!
    for _ in $(seq 300); do
        if read -r "RPC[number]" ADDRESS < <(python3 -c "
import json
told = json.load(open('$DIR/$number.out'))
print(told['rpc'], (told['peer_addresses'] + ['-'])[0])" 2>/dev/null); then PEER[number]=${ADDRESS##*/}; return; fi
        sleep 0.1
    done
    fail "node $number does not start"
}
end() { kill -INT "${PIDS[$1]}"; wait "${PIDS[$1]}" || fail "node $1 does not stop cleanly"; }
# ask NUMBER METHOD PARAMS [PATH]: asks a node by JSON-RPC, and prints the answer, or a part of it.
ask() {
    python3 - "${RPC[$1]}" "$2" "$3" "${4:-}" <<'P'
import json, sys, urllib.request
url, method, params, path = sys.argv[1:]
body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": json.loads(params)}).encode()
request = urllib.request.Request(url, body, {"content-type": "application/json"})
answer = json.load(urllib.request.urlopen(request, timeout=30))["result"]
for key in filter(None, path.split(".")):
    answer = answer and answer[key]
print(int(answer, 16) if isinstance(answer, str) and len(answer) < 20 else answer)
P
}
head_of() { ask "$1" eth_blockNumber '[]'; }
hash_at() { ask "$1" eth_getBlockByNumber "[\"$(printf '0x%x' "$2")\", false]" hash; }
until_block() { for _ in $(seq 3000); do [ "$(head_of "$1")" -ge "$2" ] && return; sleep 0.2; done; fail "node $1 does not reach block $2"; }
# on NUMBER COMMAND…: runs bmm on a node, with its data folder.
on() { local number=$1; shift; "$BMM" --data "$DIR/$number" --rpc "${RPC[$number]}" --json "$@"; }
# part NAME: a field of the JSON object on standard input.
part() { python3 -c "import json,sys; print(json.load(sys.stdin)['$1'])"; }
