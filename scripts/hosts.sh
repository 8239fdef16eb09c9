# shellcheck shell=bash
# What the scripts with hosts in network namespaces share. It is sourced, with HOSTS, the names of their namespaces, set; KEEP_FAILED=1
# keeps logs and data when something fails, as KEEP=1 always does.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
BMM=$(readlink -m "${BMM:-${CARGO_TARGET_DIR:-target}/release/bmm}")
SIZE=${SIZE:-640x360} SAMPLES=${SAMPLES:-4} CHUNK=${CHUNK:-8}
[ "$(id -u)" = 0 ] || { echo "network namespaces need root" >&2; exit 1; }
[ -x "$BMM" ] || { echo "$BMM is not there: cargo build --release -p bmm, or name it by BMM=" >&2; exit 1; }

DIR=$(mktemp -d) TAG=bmm$$ PIDS=()
cleanup() {
    exec 2>/dev/null  # the shell tells of every process that is killed here
    for pid in "${PIDS[@]}"; do kill -9 "$pid" || true; done
    for host in "${HOSTS[@]}"; do ip netns del "$TAG$host" || true; done
    if [ "${KEEP:-}" ]; then echo "logs and data: $DIR"; else rm -rf "$DIR"; fi
}
trap cleanup EXIT
fail() { echo "FAILED: $*" >&2; tail -n 20 "$DIR"/*.err >&2 || true; KEEP=${KEEP:-${KEEP_FAILED:-}}; exit 1; }
say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }

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

# switch HOST…: a switch in the namespace sw, and these hosts on it: 10.77.0.1, 10.77.0.2, …
switch() {
    local host number=0
    ip netns add "${TAG}sw"
    ip -n "${TAG}sw" link add name switch type bridge
    ip -n "${TAG}sw" link set switch up
    for host; do
        number=$((number + 1))
        ip netns add "$TAG$host"
        ip -n "${TAG}sw" link add "p$host" type veth peer name eth0 netns "$TAG$host"
        ip -n "${TAG}sw" link set "p$host" master switch up
        ip -n "$TAG$host" link set lo up
        ip -n "$TAG$host" addr add "10.77.0.$number/24" dev eth0
        ip -n "$TAG$host" link set eth0 up
        ip -n "$TAG$host" route add default dev eth0
    done
}
# address_on_switch FILE: waits until a provider has told of itself in FILE, and prints its address on the switch.
address_on_switch() {
    until_json "$1" "['operator']" >/dev/null
    python3 -c 'import json,sys; print(next(a for a in json.load(open(sys.argv[1]))["addresses"] if "/10.77." in a))' "$1"
}

# job NAME SAMPLES: makes the example's job, smaller, and its picture on a single machine, whose hash is then in PICTURE.
declare -A PICTURE
job() {
    sed -e "s/1920x1080/$SIZE/" -e "s/\"32\"/\"$2\"/" -e "s/0\.\.1080/0..${SIZE#*x}/" -e "s/chunk = 8/chunk = $CHUNK/" \
        -e "s#\"\./#\"$PWD/examples/render/#" -e "s#\"scenes/#\"$PWD/examples/render/scenes/#" \
        examples/render/job.toml >"$DIR/$1.toml"
    "$BMM" --data "$DIR/single" --json run "$DIR/$1.toml" --out "$DIR/$1-out" >"$DIR/$1.out" 2>"$DIR/$1.err" || fail "$1"
    PICTURE[$1]=$(sha256sum <"$DIR/$1-out/render.png")
}

# earns HOST CONDITION: whether the provider there has operators, and CONDITION holds of their earnings.
earns() {
    on "$1" --json provide --status | python3 -c "
import json, sys
operators = json.load(sys.stdin)['operators']
earnings = [e for o in operators for e in o['earnings'] if e['voucher']]
sys.exit(not (operators and ($2)))"
}
# has_pay HOST: waits until the chain has paid everything that the provider there was promised.
has_pay() {
    for _ in $(seq 300); do
        if earns "$1" "all(e['state'] == 'paid' for e in earnings)"; then return; fi
        sleep 0.2
    done
    fail "host $1 is not paid"
}
# has_voucher HOST: waits until the provider there was promised something that the chain has not paid yet; the job's pid is in RUN.
has_voucher() {
    for _ in $(seq 600); do
        if earns "$1" "any(e['state'] == 'promised' for e in earnings)"; then return; fi
        kill -0 "$RUN" 2>/dev/null || fail "the job ended before host $1 worked for it"
        sleep 0.1
    done
    fail "host $1 has no voucher"
}
