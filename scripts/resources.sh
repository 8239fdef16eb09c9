#!/usr/bin/env bash
# Two contributors with hash power 3 : 1, four like miners of one node, over EPOCHS epochs: they are paid 3 : 1 within the error of the proofs, the
# second one's referrer its part; every unit is reckoned anew from what JSON-RPC tells (scripts/rewards.py).
#
#   scripts/resources.sh                   takes some five minutes; touches its own folder only
#   BMM=target/release/bmm EPOCHS=8 scripts/resources.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/nodes.sh
EPOCHS=${EPOCHS:-5} EPOCH=30 HASHES=64
export BMM_PASSWORD=none

say "a node that hands out blocks for two wallets"
for wallet in large small; do "$BMM" --data "$DIR/0" wallet new $wallet >/dev/null; done
begin 0 node --no-network --mine-for large --mine-for small; end 0
sed -i -e "s/^epoch_blocks = .*/epoch_blocks = $EPOCH/" -e "s/^checkpoint_blocks = .*/checkpoint_blocks = 5/" \
    -e "s/^proof_hashes = .*/proof_hashes = $HASHES/" -e "s/^block_secs = .*/block_secs = 2/" \
    -e "s/^min_difficulty = .*/min_difficulty = \"0x2000\"/" "$DIR/0/chains/dev/genesis.toml"
rm -rf "$DIR/0/chains/dev/db"
begin 0 node --no-network --mine-for large --mine-for small
address() { on 0 wallet show "$1" | part address; }
LARGE=$(address large) SMALL=$(address small)

say "three miners for $LARGE, one for $SMALL"
for address in "$LARGE" "$LARGE" "$LARGE" "$SMALL"; do
    "$BMM" --data "$DIR/miner" mine --threads 1 --node "${RPC[0]}" --address "$address" >/dev/null 2>>"$DIR/miner.err" &
    PIDS+=($!)
done
until_block 0 4
for wallet in large small; do on 0 wallet send "$(address $wallet)" 10 --from dev --yes --wait >/dev/null || fail "a payment"; done
on 0 account register anna --from large >/dev/null || fail "anna"
on 0 account register ben --referrer anna --from small >/dev/null || fail "ben"

until_block 0 $((EPOCH * (EPOCHS + 1) + EPOCH / 2))
# The claims of the last epoch.
for _ in $(seq 60); do
    CLAIMS=$(ask 0 eth_getLogs "[{\"address\":\"0x000000000000000000000000000000000000b003\",\"fromBlock\":\"0x0\",\"topics\":[\"$(
        ask 0 web3_sha3 '["0x436c61696d65642875696e7436342c616464726573732c75696e743235362c627974657333322c75696e7432353629"]')\"]}]" |
        python3 -c "import sys; print(sys.stdin.read().count('transactionHash'))")
    [ "$CLAIMS" -ge $((2 * EPOCHS)) ] && break
    sleep 1
done
say "reckoned anew, at block $(head_of 0)"
scripts/rewards.py "${RPC[0]}" --epoch-blocks $EPOCH --proof-hashes $HASHES --ratio 3 || fail "not as it should be"
say "all as it should be"
