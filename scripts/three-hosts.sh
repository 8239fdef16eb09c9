#!/usr/bin/env bash
# Strangers' machines, in network namespaces of this one: hosts b and c provide, host a buys; they find each other through a bootstrap
# node, then by mDNS; then a provider dies in the middle of a job and another one comes. Each picture must be the one that a single
# machine makes, and every provider must be paid on chain.
#
#   sudo scripts/three-hosts.sh            needs root and iproute2; touches nothing outside its own namespaces and folder
#   BMM=target/release/bmm SIZE=960x540 SAMPLES=8 scripts/three-hosts.sh
set -euo pipefail
HOSTS=(sw a b c d)
. "$(dirname "$0")/hosts.sh"

switch a b c d

# The long job gives a new provider time to join.
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
    ADDRESS=$(address_on_switch "$DIR/provide-$host.out")
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
