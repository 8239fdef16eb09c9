#!/usr/bin/env bash
# A provider behind a router, in network namespaces of this machine: strangers reach it through a relay, and directly where the routers
# allow it (hole punching). One public host is bootstrap node, relay and miner; the provider has a private address behind a router with
# nftables masquerading that lets nobody in; requesters are a public host and one behind a second router. Each picture must be the one that
# a single machine makes, the provider must be paid on chain, and what crossed the relay is counted.
#
#   sudo scripts/nat.sh                    needs root, iproute2 and nftables; touches nothing outside its own namespaces and folder
#   BMM=target/release/bmm SIZE=960x540 SAMPLES=8 scripts/nat.sh
set -euo pipefail
command -v nft >/dev/null || { echo "nft is not there: apt install nftables" >&2; exit 1; }
HOSTS=(net pub out home far r1 r2) KEEP_FAILED=1
. "$(dirname "$0")/hosts.sh"
export NO_COLOR=1 RUST_LOG=${RUST_LOG:-warn,bmm=info}

# "The internet": a switch with public addresses (which go nowhere else). On it a public host, a second one that buys, and two routers; the
# provider is at home behind the first router, another requester far away behind the second.
PUB=45.77.0.1
for host in "${HOSTS[@]}"; do ip netns add "$TAG$host"; ip -n "$TAG$host" link set lo up; done
ip -n "${TAG}net" link add name switch type bridge
ip -n "${TAG}net" link set switch up
# wire HOST NAME ADDRESS: gives the host an interface on the internet.
wire() {
    ip -n "${TAG}net" link add "p$1" type veth peer name "$2" netns "$TAG$1"
    ip -n "${TAG}net" link set "p$1" master switch up
    ip -n "$TAG$1" addr add "$3/24" dev "$2"
    ip -n "$TAG$1" link set "$2" up
}
wire pub eth0 $PUB; wire out eth0 45.77.0.4; wire r1 wan 45.77.0.2; wire r2 wan 45.77.0.3
# behind ROUTER HOST NET: puts the host behind the router.
behind() {
    ip -n "$TAG$1" link add lan type veth peer name eth0 netns "$TAG$2"
    ip -n "$TAG$1" addr add "$3.1/24" dev lan
    ip -n "$TAG$1" link set lan up
    ip -n "$TAG$2" addr add "$3.2/24" dev eth0
    ip -n "$TAG$2" link set eth0 up
    ip -n "$TAG$2" route add default via "$3.1"
    ip netns exec "$TAG$1" sysctl -qw net.ipv4.ip_forward=1
}
behind r1 home 10.1.0; behind r2 far 10.2.0
# router NAME HOW: masquerades, and lets in only what was asked for. HOW is how ports are chosen: "" keeps them where that can be, as
# most routers do; "fully-random" takes another one for each connection, so that nobody can know it beforehand.
router() {
    ip netns exec "$TAG$1" nft -f - <<N
flush ruleset
table ip router {
    chain out {
        type nat hook postrouting priority srcnat
        oifname "wan" masquerade $2
    }
    chain to_router {
        type filter hook input priority filter
        iifname "wan" ct state new drop
    }
    chain through {
        type filter hook forward priority filter
        iifname "wan" ct state new drop
    }
}
N
}
router r1 ""; router r2 ""

# crossed: bytes that the public host has sent so far; of what it relays each byte is sent once.
crossed() { ip netns exec "${TAG}pub" cat /sys/class/net/eth0/statistics/tx_bytes; }

# The long job gives a provider time to die and come back.
WAYS=()
say "a single machine makes the pictures"
job short "$SAMPLES"
job long $((SAMPLES * 4))

RPC=http://$PUB:8545
start pub up up --listen $PUB:8545 --peer-listen /ip4/$PUB/tcp/20190 --peer-listen /ip4/$PUB/udp/20190/quic-v1 --reach internet --no-mdns
BOOT=$(until_json "$DIR/up.out" "['peer_addresses'][0]")
for host in out far; do mkdir -p "$DIR/$host/chains/dev"; cp "$DIR/pub/chains/dev/wallet.key" "$DIR/$host/chains/dev/"; done

# provide: starts the provider at home, and waits until a relay has taken it; its pid is then in STARTED.
provide() {
    rm -f "$DIR/home/providers/running.json"
    start home provide provide --rpc $RPC --slots 1 --listen /ip4/0.0.0.0/tcp/20190 --listen /ip4/0.0.0.0/udp/20190/quic-v1 \
        --reach internet --no-mdns --bootstrap "$BOOT"
    for _ in $(seq 600); do
        if grep -q p2p-circuit "$DIR/home/providers/running.json" 2>/dev/null; then return; fi
        sleep 0.2
    done
    fail "no relay takes the provider"
}
# buy HOST NAME JOB: runs the job from there, and prints how its sessions went and what crossed the relay.
buy() {
    local host=$1 name=$2 before; before=$(crossed)
    start "$host" "$name" run "$DIR/$3.toml" --rpc $RPC --wallet dev --bootstrap "$BOOT" --reach internet --out "$DIR/$name-out"
    RUN=$STARTED
    [ "${4:-}" ] && "$4"
    wait "$RUN" || fail "$name"
    [ "$(sha256sum <"$DIR/$name-out/render.png")" = "${PICTURE[$3]}" ] || fail "$name: another picture than on one machine"
    python3 - "$DIR/$name.out" <<'P' || fail "$name: the receipt"
import json, sys
receipt = json.load(open(sys.argv[1]))
paid = [p for p in receipt["providers"] if p["tasks"] > 0]
assert receipt["status"] == "settled" and receipt["failed"] == 0 and len(paid) == 1, receipt
for provider in paid:
    print(f"    {provider['address']}  {provider['tasks']} tasks, {provider['pay_bmm']} in {receipt['wall_ms'] / 1000:.1f} s")
P
    has_pay home
    local way; way=$(sed -n 's/.*a session with a provider begins .*way="\([^"]*\)".*/\1/p' "$DIR/$name.err" | tail -n 1)
    WAYS+=("$way")
    say "   reached ${way:-nobody knows how}; the public host sent $(( ($(crossed) - before) / 1024 )) KiB meanwhile"
}
say "the provider finds out that nobody can reach it, and asks a relay"
provide; HOME_PID=$STARTED
say "1. a public host buys"
buy out public short
say "2. a host behind another router buys"
buy far punched short
[ "${WAYS[*]}" = "directly directly" ] || fail "a hole was not punched: ${WAYS[*]}"

say "3. a router takes a port at random for each connection, so that only the relay is left; the provider dies and comes back"
kill -INT "$HOME_PID"; wait "$HOME_PID" || fail "the provider does not stop cleanly"
router r1 fully-random
provide; HOME_PID=$STARTED
# Waits until the provider was promised something, kills it, and starts it again.
die() {
    has_voucher home
    kill -9 "$HOME_PID"; { wait "$HOME_PID"; } 2>/dev/null || true
    provide; HOME_PID=$STARTED
}
buy far relayed long die
[[ " ${WAYS[-1]} " = *relay* ]] || fail "the hole was punched where none can be: ${WAYS[*]}"
say "all of it works"
