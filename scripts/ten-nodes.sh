#!/usr/bin/env bash
# Ten nodes, each a process with a data folder of its own, that find each other through a line of bootstrap nodes: each is told of the one
# before it only. A transaction given to the last is in the same block on all; one that was away for 2,000 blocks catches up.
#
#   scripts/ten-nodes.sh                   takes BLOCKS seconds and a little (a block a second is mined); touches its own folder only
#   BMM=target/release/bmm BLOCKS=120 scripts/ten-nodes.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/nodes.sh
BLOCKS=${BLOCKS:-2000} NODES=10

say "ten nodes, each of which knows the one before it"
begin 0 up
GENESIS=$DIR/0/chains/dev/genesis.toml
for number in $(seq $((NODES - 1))); do begin "$number" node --genesis "$GENESIS" --bootstrap "$ADDRESS"; done
all_have() { # all_have BLOCK: waits until every node has this block, and the same one.
    local block=$1 wanted number; wanted=$(hash_at 0 "$block")
    for number in $(seq $((NODES - 1))); do
        for _ in $(seq 600); do
            if [ "$(hash_at "$number" "$block" 2>/dev/null || true)" = "$wanted" ]; then continue 2; fi
            sleep 0.1
        done
        fail "node $number does not have block $block"
    done
}
until [ "$(head_of 0)" -ge 3 ]; do sleep 0.2; done
all_have 3
for number in $(seq 0 $((NODES - 1))); do PEERS+=("$(ask "$number" net_peerCount '[]')"); done
say "   all follow the chain; peers of each: ${PEERS[*]}"

# pay NUMBER: pays something by the node with that number, and waits until it is in a block there, whose number is then in BLOCK.
pay() {
    local sent
    sent=$("$BMM" --data "$DIR/0" --rpc "${RPC[$1]}" --json wallet send 0x00000000000000000000000000000000000000aa 1 \
        --from dev --yes --wait) || fail "a payment by node $1"
    HASH=$(python3 -c "import json,sys; print(json.loads(sys.argv[1])['transaction'])" "$sent")
    BLOCK=$(ask "$1" eth_getTransactionReceipt "[\"$HASH\"]" blockNumber)
}
say "1. a transaction is given to the last node"
pay $((NODES - 1))
all_have "$BLOCK"
for number in $(seq 0 $((NODES - 1))); do
    [ "$(ask "$number" eth_getTransactionReceipt "[\"$HASH\"]" blockNumber)" = "$BLOCK" ] || fail "node $number does not know it"
done
say "   it is in block $BLOCK on all of them"

AWAY=5
say "2. node $AWAY is away for $BLOCKS blocks"
kill -INT "${PIDS[AWAY]}"; wait "${PIDS[AWAY]}" || fail "node $AWAY does not stop cleanly"
FROM=$(head_of 0)
while [ "$(head_of 0)" -lt $((FROM + BLOCKS)) ]; do
    sleep 10
    pay $((RANDOM % AWAY))
done
BEGAN=$(date +%s.%N)
begin $AWAY node --bootstrap "$ADDRESS"
HEAD=$(head_of 0)
until [ "$(head_of $AWAY)" -ge "$HEAD" ]; do sleep 0.05; done
TOOK=$(python3 -c "import time; print(time.time() - $BEGAN)")
all_have "$HEAD"
python3 -c "print(f'   {$HEAD - $FROM} blocks in {$TOOK:.2f} s with start and search of peers: {($HEAD - $FROM) / $TOOK:.0f} blocks/s')"
say "all of it works"
