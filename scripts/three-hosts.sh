#!/usr/bin/env bash
# Strangers' machines, in network namespaces of this one: hosts b and c provide, host a buys; they find each other through a bootstrap
# node, then by mDNS; then a provider dies in the middle of a job and another one comes. Each picture must be the one that a single
# machine makes, and every provider must be paid on chain.
#
#   sudo scripts/three-hosts.sh            needs root and iproute2; touches nothing outside its own namespaces and folder
#   BMM=target/release/bmm SIZE=960x540 SAMPLES=8 scripts/three-hosts.sh
set -euo pipefail
cd "$(dirname "$0")/.."
BMM=$(readlink -f "${BMM:-${CARGO_TARGET_DIR:-target}/release/bmm}")
SIZE=${SIZE:-640x360} SAMPLES=${SAMPLES:-4} CHUNK=${CHUNK:-8}
[ "$(id -u)" = 0 ] || { echo "network namespaces need root" >&2; exit 1; }
[ -x "$BMM" ] || { echo "$BMM is not there: cargo build --release -p bmm, or name it by BMM=" >&2; exit 1; }

DIR=$(mktemp -d) TAG=bmm$$ PIDS=()
cleanup() {
    exec 2>/dev/null  # the shell tells of every process that is killed here
    for pid in "${PIDS[@]}"; do kill -9 "$pid" || true; done
    for host in sw a b c d; do ip netns del "$TAG$host" 2>/dev/null || true; done
    if [ "${KEEP:-}" ]; then echo "logs and data: $DIR"; else rm -rf "$DIR"; fi
}
trap cleanup EXIT
fail() { echo "FAILED: $*" >&2; tail -n 20 "$DIR"/*.err >&2 || true; exit 1; }
say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }

# A switch, and four hosts on it: 10.77.0.1 to 10.77.0.4.
ip netns add "${TAG}sw"
ip -n "${TAG}sw" link add name switch type bridge
ip -n "${TAG}sw" link set switch up
number=0
for host in a b c d; do
    number=$((number + 1))
    ip netns add "$TAG$host"
    ip -n "${TAG}sw" link add "p$host" type veth peer name eth0 netns "$TAG$host"
    ip -n "${TAG}sw" link set "p$host" master switch up
    ip -n "$TAG$host" link set lo up
    ip -n "$TAG$host" addr add "10.77.0.$number/24" dev eth0
    ip -n "$TAG$host" link set eth0 up
    ip -n "$TAG$host" route add default dev eth0
done

# on HOST ARGS…: runs bmm there; start HOST NAME ARGS…: the same in the background, with its pid in STARTED.
on() { local host=$1; shift; ip netns exec "$TAG$host" "$BMM" --data "$DIR/$host" "$@"; }
start() {
    local host=$1 name=$2; shift 2
    ip netns exec "$TAG$host" "$BMM" --data "$DIR/$host" --json "$@" >"$DIR/$name.out" 2>"$DIR/$name.err" &
    STARTED=$!
    PIDS+=("$STARTED")
}
# until_json FILE EXPRESSION: waits until the JSON in FILE has it, and prints it.
until_json() {
    for _ in $(seq 600); do
        if python3 -c "import json,sys; print(json.load(open('$1'))$2)" 2>/dev/null; then return; fi
        sleep 0.2
    done
    fail "$1 does not have $2"
}

# The example's job, smaller; the long one gives a new provider time to join.
job() {
    sed -e "s/1920x1080/$SIZE/" -e "s/\"32\"/\"$2\"/" -e "s/0\.\.1080/0..${SIZE#*x}/" -e "s/chunk = 8/chunk = $CHUNK/" \
        -e "s#\"\./#\"$PWD/examples/render/#" -e "s#\"scenes/#\"$PWD/examples/render/scenes/#" \
        examples/render/job.toml >"$DIR/$1.toml"
    "$BMM" --data "$DIR/single" --json run "$DIR/$1.toml" --out "$DIR/$1-out" >"$DIR/$1.out" 2>"$DIR/$1.err" || fail "$1"
    PICTURE[$1]=$(sha256sum <"$DIR/$1-out/render.png")
}
declare -A PICTURE
say "a single machine makes the pictures"
job short "$SAMPLES"
job long $((SAMPLES * 4))

RPC=http://10.77.0.1:8545
start a up up --listen 10.77.0.1:8545
until_json "$DIR/up.out" "['rpc']" >/dev/null

# provide HOST [OPTION…]: starts a provider, whose address is then in ADDRESS and whose pid in STARTED.
provide() {
    local host=$1; shift
    start "$host" "provide-$host" provide --rpc $RPC --slots 1 --listen /ip4/0.0.0.0/tcp/20190 "$@"
    ADDRESS=$(until_json "$DIR/provide-$host.out" "['operator']" >/dev/null; python3 - "$DIR/provide-$host.out" <<'P'
import json, sys
print(next(a for a in json.load(open(sys.argv[1]))["addresses"] if "/10.77." in a))
P
    )
}
# check NAME JOB PROVIDERS: the run NAME made the picture of JOB, and so many providers were paid for it on chain.
check() {
    [ "$(sha256sum <"$DIR/$1-out/render.png")" = "${PICTURE[$2]}" ] || fail "$1: another picture than on one machine"
    python3 - "$DIR/$1.out" "$3" <<'P' || fail "$1: the receipt"
import json, sys
receipt = json.load(open(sys.argv[1]))
paid = [p for p in receipt["providers"] if p["tasks"] > 0]
assert receipt["status"] == "settled" and receipt["failed"] == 0, receipt
assert len(paid) >= int(sys.argv[2]), f"{len(paid)} providers were paid"
for provider in paid:
    print(f"    {provider['address']}  {provider['tasks']} tasks, {provider['pay_bmm']}")
P
}
# has_pay HOST: waits until the chain has paid everything that the provider there was promised.
has_pay() {
    for _ in $(seq 300); do
        if on "$1" --json provide --status | python3 -c "
import json, sys
operators = json.load(sys.stdin)['operators']
sys.exit(not (operators and all(e['state'] == 'paid' for o in operators for e in o['earnings'] if e['voucher'])))"; then return; fi
        sleep 0.2
    done
    fail "host $1 is not paid"
}

say "1. found through a bootstrap node"
provide b --no-mdns; B=$ADDRESS B_PID=$STARTED
provide c --no-mdns --bootstrap "$B"; C_PID=$STARTED
on a run "$DIR/short.toml" --bootstrap "$B" --out "$DIR/bootstrap-out" --json >"$DIR/bootstrap.out" 2>"$DIR/bootstrap.err" || fail "bootstrap"
check bootstrap short 2
has_pay b; has_pay c
kill -INT "$B_PID" "$C_PID"; wait "$B_PID" "$C_PID" || fail "a provider does not stop cleanly"

say "2. found by mDNS"
provide b; B=$ADDRESS B_PID=$STARTED
provide c; C_PID=$STARTED
on a run "$DIR/short.toml" --network --out "$DIR/mdns-out" --json >"$DIR/mdns.out" 2>"$DIR/mdns.err" || fail "mdns"
check mdns short 2

# has_voucher HOST: waits until the provider there was promised something that the chain has not paid yet.
has_voucher() {
    for _ in $(seq 600); do
        if on "$1" --json provide --status | python3 -c "
import json, sys
operators = json.load(sys.stdin)['operators']
sys.exit(not any(e['voucher'] and e['state'] == 'promised' for o in operators for e in o['earnings']))"; then return; fi
        kill -0 "$RUN" 2>/dev/null || fail "the job ended before host $1 worked for it"
        sleep 0.1
    done
    fail "host $1 has no voucher"
}

say "3. another provider comes in the middle, and one dies"
start a killed run "$DIR/long.toml" --bootstrap "$B" --out "$DIR/killed-out"
RUN=$STARTED
has_voucher c
provide d --bootstrap "$B"
has_voucher d
kill -9 "$C_PID"; { wait "$C_PID"; } 2>/dev/null || true
wait "$RUN" || fail "the job with a dead provider"
check killed long 3
has_pay b
say "4. the dead provider comes back, and has lost nothing of what it earned"
provide c --bootstrap "$B"
has_pay c
say "all of it works"
