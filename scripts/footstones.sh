#!/usr/bin/env bash
# Seven nodes, each a process with a data folder of its own: four are footstones that mine, prove their work, lock a bond and bet. Blocks become
# final; not while two footstones are away; and again when they are back. In two halves the network makes no two blocks final that
# conflict, and it heals. A footstone whose key two machines bet with loses bond and seat, and who reports it is paid.
#
#   scripts/footstones.sh                  takes some four minutes; touches its own folder only
#   BMM=target/release/bmm KEEP=1 scripts/footstones.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/nodes.sh
EPOCH=60 INTERVAL=6 BOND=100 WALLET=()

final_of() { ask "$1" bmm_finality '[]' finalised.checkpoint; }
# field NUMBER NAME: what `bmm footstone status` of a node says of its wallet.
field() { on "$1" footstone status dev 2>/dev/null | part "$2"; }
until_final() { # until_final NUMBER CHECKPOINT BLOCKS: waits until it is final, for so many blocks at most.
    local last=$(($(head_of "$1") + $3))
    until [ "$(final_of "$1")" -ge "$2" ]; do
        [ "$(head_of "$1")" -le "$last" ] || fail "node $1: checkpoint $2 is not final $3 blocks later"
        sleep 0.2
    done
}
# ban/lift A B: no connections between two nodes, or again.
ban() { "$BMM" --data "$DIR/$1" net ban "${PEER[$2]}" --secs 3600 >/dev/null; }
lift() { "$BMM" --data "$DIR/$1" net ban "${PEER[$2]}" --lift >/dev/null 2>&1 || true; }

say "seven nodes; four of them mine"
FOOTSTONE=(--mine dev --mine-percent 8 --footstone dev)
# The wallet of a data folder's own chain is made with that chain.
for number in 0 1 2 3; do
    begin $number node --no-network; end $number
    [ $number = 0 ] || rm "$DIR/$number/chains/dev/genesis.toml"
    rm -rf "$DIR/$number/chains/dev/db"
done
GENESIS=$DIR/genesis.toml
sed -e "s/^epoch_blocks = .*/epoch_blocks = $EPOCH/" -e "s/^sols_per_unit = .*/sols_per_unit = 1/" \
    -e "s/^checkpoint_blocks = .*/checkpoint_blocks = $INTERVAL/" "$DIR/0/chains/dev/genesis.toml" >"$GENESIS"
cp "$GENESIS" "$DIR/0/chains/dev/genesis.toml"
begin 0 node "${FOOTSTONE[@]}"
BOOT=$ADDRESS
for number in 1 2 3; do begin $number node --genesis "$GENESIS" --bootstrap "$BOOT" "${FOOTSTONE[@]}"; done
for number in 4 5 6; do begin $number node --genesis "$GENESIS" --bootstrap "$BOOT"; done
for number in 0 1 2 3; do WALLET[number]=$(on $number wallet show dev | part address); done
for number in 1 2 3; do on 0 wallet send "${WALLET[number]}" 1000 --from dev --yes --wait >/dev/null || fail "a payment"; done

say "1. the four prove an epoch's work and lock their bonds"
until_block 0 $((EPOCH + EPOCH / 2))
for _ in $(seq 4); do
    JOINED=0
    for number in 0 1 2 3; do
        if [ "$(field $number state)" = "a candidate" ] || on $number footstone join $BOND --wallet dev >/dev/null 2>>"$DIR/$number.err"; then
            JOINED=$((JOINED + 1))
        fi
    done
    [ $JOINED = 4 ] && break
    until_block 0 $(($(head_of 0) + EPOCH / 2))
done
[ $JOINED = 4 ] || fail "only $JOINED have joined"
until [ "$(ask 4 bmm_finality '[]' members)" = 4 ]; do sleep 0.5; done
say "   a set of four at block $(head_of 4)"
FIRST=$(final_of 4)
until_final 4 $((FIRST + 1)) $((EPOCH + 5 * INTERVAL))
NOW=$(final_of 4)
until_final 4 $((NOW + 1)) $((3 * INTERVAL))
say "   checkpoint $((NOW + 1)) is final at block $(head_of 4)"

say "2. two footstones are away"
end 2; end 3
sleep $((2 * INTERVAL))
STOOD=$(final_of 4) FROM=$(head_of 4)
until_block 4 $((FROM + 4 * INTERVAL))
[ "$(final_of 4)" = "$STOOD" ] || fail "half of the weight has made a checkpoint final"
say "   $((4 * INTERVAL)) blocks, none of them final"
for number in 2 3; do begin $number node --bootstrap "$BOOT" "${FOOTSTONE[@]}"; done
until_final 4 $((STOOD + 2)) $((10 * INTERVAL))
say "   back: checkpoint $(final_of 4) is final at block $(head_of 4)"

say "3. two halves; in both a machine bets with the key of footstone 1"
cp -r "$DIR/1" "$DIR/7"
rm -rf "$DIR/7/chains/dev/bets.log" "$DIR/7/network" "$DIR/7/node.json" "$DIR/7/control" "$DIR/7/chains/dev/db"
begin 7 node --genesis "$GENESIS" --bootstrap "$BOOT" --footstone dev
until_block 7 "$(head_of 0)"
ONE=(0 1 4 5) OTHER=(2 3 6 7)
for a in "${ONE[@]}"; do for b in "${OTHER[@]}"; do ban "$a" "$b"; ban "$b" "$a"; done; done
sleep 2
on 7 footstone status "${WALLET[1]}" | grep -q stopped || fail "the second machine does not notice the first"
say "   the second machine refuses to bet; it is forced"
on 7 footstone accept-history >/dev/null
APART=$(head_of 0)
until_block 0 $((APART + 6 * INTERVAL)); until_block 6 $((APART + 6 * INTERVAL))
[ "$(hash_at 0 $((APART + 5 * INTERVAL)))" != "$(hash_at 6 $((APART + 5 * INTERVAL)))" ] || fail "the halves are not apart"
A=$(final_of 0) B=$(final_of 6) LOW=$((A < B ? A : B))
[ "$(hash_at 0 $((LOW * INTERVAL)))" = "$(hash_at 6 $((LOW * INTERVAL)))" ] || fail "two final blocks conflict"
say "   final: checkpoint $A in one half, $B in the other; none conflict"
for a in "${ONE[@]}"; do for b in "${OTHER[@]}"; do lift "$a" "$b"; lift "$b" "$a"; done; done
for _ in $(seq 900); do
    BLOCK=$(($(head_of 6) - 3))
    [ "$(hash_at 0 $BLOCK 2>/dev/null || echo 0)" = "$(hash_at 6 $BLOCK 2>/dev/null || echo 6)" ] && break
    sleep 0.2
done
[ "$(hash_at 0 $BLOCK)" = "$(hash_at 6 $BLOCK)" ] || fail "the halves do not meet"
say "   they meet again at block $BLOCK"

say "4. the footstone that contradicted itself"
for _ in $(seq 300); do [ "$(field 1 state)" = slashed ] && break; sleep 0.5; done
[ "$(field 1 state)" = slashed ] || fail "footstone 1 keeps its bond"
[ "$(field 1 bond_bmm)" = 0 ] || [[ "$(field 1 bond_bmm)" == "0 BMM" ]] || fail "footstone 1 has a bond: $(field 1 bond_bmm)"
REPORTERS=$(ask 0 eth_getLogs "[{\"fromBlock\": \"0x0\", \"address\": \"0x000000000000000000000000000000000000b004\"}]" | python3 -c "
import sys, ast
slashed = '0x' + '${WALLET[1]}'[2:].lower().rjust(64, '0')
logs = ast.literal_eval(sys.stdin.read())
print(sum(1 for log in logs if len(log['topics']) == 3 and log['topics'][1] == slashed and len(log['data']) == 130 and log['topics'][2][:26] == '0x' + '0' * 24))")
[ "$REPORTERS" -ge 1 ] || fail "nobody was paid for the report"
say "   is slashed, and its reporter paid"
until_final 0 $(($(final_of 0) + 1)) $((EPOCH + 10 * INTERVAL))
say "   the other three go on: checkpoint $(final_of 0) is final"
say "all of it works"
