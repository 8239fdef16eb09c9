#!/usr/bin/env bash
# A service between strangers: host a rents a place for litecoind (regtest) at providers b and c, each a network namespace of this machine.
# It is reached by litecoin-cli through the relayed port, paid by the interval, moved to the other provider when the first is killed by
# `kill -9`, with the blocks that were mined before; then it is stopped and settled, and both providers have their pay on chain.
#
#   sudo scripts/service.sh        needs root, iproute2, runc, litecoind and litecoin-cli (Debian: apt-get install runc litecoind)
set -euo pipefail
for program in runc litecoind litecoin-cli; do
    command -v $program >/dev/null || { echo "SKIPPED: $program was not found"; exit 0; }
done
HOSTS=(sw a b c)
. "$(dirname "$0")/hosts.sh"
chmod 711 "$DIR"  # the users of containers go through it

# `ip netns exec` would hide the control groups, which containers need.
start() {
    local host=$1 name=$2; shift 2
    nsenter --net="/run/netns/$TAG$host" "$BMM" --data "$DIR/$host" --json "$@" >"$DIR/$name.out" 2>"$DIR/$name.err" &
    STARTED=$!
    PIDS+=("$STARTED")
}

switch a b c

say "an image of Debian's litecoind and its libraries"
root=$DIR/root
mkdir -p "$root"/{data,in,out,proc,dev,tmp,sys}
copy() { mkdir -p "$root$(dirname "$1")"; cp -L "$1" "$root$1"; }
# Debian's command is a script around the program.
program=/usr/lib/litecoin/litecoind
[ -x "$program" ] || program=$(command -v litecoind)
copy "$program"
for library in $(ldd "$program" | grep -o '/[^ )]*'); do copy "$library"; done
mkdir "$DIR/image"
tar -C "$root" -cf "$DIR/image/layer.tar" .
echo "{\"config\":{\"Entrypoint\":[\"$program\"]}}" >"$DIR/image/config.json"
echo '[{"Config":"config.json","Layers":["layer.tar"]}]' >"$DIR/image/manifest.json"
tar -C "$DIR/image" --format=ustar -cf "$DIR/litecoind.tar" manifest.json config.json layer.tar

cat >"$DIR/node.toml" <<'TOML'
app = "oci:./litecoind.tar"
name = "litecoin"
args = ["-regtest", "-datadir=/data", "-server", "-listen=0", "-rpcuser=u", "-rpcpassword=p", "-rpcport=19443",
        "-dbcache=16", "-fallbackfee=0.001", "-printtoconsole"]

[service]
ports = { rpc = 19443 }
health = { tcp = 19443, every = "1 s" }
volume = { path = "/data", size = "256 MiB" }
memory = "256 MiB"
interval = "5 s"
price = "0.1 BMM"
duration = "10 min"
TOML

RPC=http://10.77.0.1:8545
start a up up --listen 10.77.0.1:8545
until_json "$DIR/up.out" "['rpc']" >/dev/null
provide() {
    local host=$1; shift
    # Each host has containers of its own.
    mkdir -p "$DIR/$host"
    printf '[provide]\ncontainers = true\ncontainers_dir = "%s"\nmemory_mib = 4096\n' "$DIR/containers-$host" \
        >"$DIR/$host/config.toml"
    start "$host" "provide-$host" provide --rpc $RPC --slots 1 --listen /ip4/0.0.0.0/tcp/20190 --price '0.001 BMM' "$@"
    ADDRESS=$(address_on_switch "$DIR/provide-$host.out")
    OPERATOR=$(until_json "$DIR/provide-$host.out" "['operator']")
}
# service EXPRESSION: waits until it holds of the service, called s.
service() {
    for _ in $(seq 600); do
        on a --json service list >"$DIR/list.json"
        if python3 -c "import json,sys; s=json.load(open('$DIR/list.json'))[0]; sys.exit(not ($1))" 2>/dev/null; then return; fi
        kill -0 "$RUN" 2>/dev/null || fail "the service ended before: $1"
        sleep 0.2
    done
    fail "the service is not so: $1"
}
cli() {
    ip netns exec "${TAG}a" litecoin-cli -regtest -datadir="$DIR" -rpcconnect=127.0.0.1 -rpcport=9443 -rpcuser=u -rpcpassword=p -rpcwait "$@"
}
left() { { ls /sys/fs/cgroup/memory | grep -c "^bmm-$1-"; } || true; }

say "1. hosted by the provider that is there"
provide b --no-mdns; B=$ADDRESS B_OPERATOR=$OPERATOR B_PID=$STARTED
start a service service run "$DIR/node.toml" --listen rpc=9443 --bootstrap "$B"; RUN=$STARTED
service "s['healthy']"
cli getblockchaininfo >/dev/null || fail "litecoin-cli does not reach it"
cli generatetoaddress 101 "$(cli -named createwallet wallet_name=w >/dev/null; cli getnewaddress)" >/dev/null
[ "$(cli getblockcount)" = 101 ] || fail "101 blocks"
cli gettxoutsetinfo >/dev/null  # litecoind writes its index once an hour, and when this is asked
say "   101 blocks mined through the relayed port"

say "2. paid by the interval"
service "s['intervals'] >= 2"
intervals=$(python3 -c "import json; print(json.load(open('$DIR/list.json'))[0]['intervals'])")
service "s['intervals'] >= $intervals + 2 and s['snapshot']"

say "3. the provider is killed; another one is there"
provide c --no-mdns --bootstrap "$B"; C_OPERATOR=$OPERATOR C_PID=$STARTED
sleep 6
before=$(left "$B_PID")
kill -9 "$B_PID"; { wait "$B_PID"; } 2>/dev/null || true
service "s['host'] and s['host'].lower() == '$C_OPERATOR'.lower() and s['healthy']"
[ "$(cli getblockcount)" = 101 ] || fail "the blocks are gone"
say "   at the second provider, with its 101 blocks"
service "len(s['promised_bmm']) == 2"

say "4. the killed provider comes back, and nothing of the service is left there"
[ "$before" -gt 0 ] || fail "no control group of the service was seen at the first provider"
provide b --no-mdns --bootstrap "$B"
[ "$(left "$B_PID")" = 0 ] || fail "a container of the killed provider is left"

say "5. stopped and settled"
on a service stop "$(python3 -c "import json; print(json.load(open('$DIR/list.json'))[0]['id'])")" >/dev/null
wait "$RUN" || fail "the service does not end well"
python3 - "$DIR/service.out" "$B_OPERATOR" "$C_OPERATOR" <<'P' || fail "the receipt"
import json, sys
from decimal import Decimal
receipt = json.load(open(sys.argv[1]))
amount = lambda text: Decimal(text.split()[0])
paid = {address.lower(): amount(text) for address, text in receipt["promised_bmm"].items()}
assert set(paid) == {address.lower() for address in sys.argv[2:]}, paid
assert sum(paid.values()) == receipt["intervals"] * Decimal("0.1") == amount(receipt["spent_bmm"]), receipt
for address, pay in paid.items():
    print(f"    {address}  {pay} BMM")
print(f"    {receipt['intervals']} intervals of 5 s at 0.1 BMM; {receipt['refunded_bmm']} came back")
P
has_pay b; has_pay c
on a service logs "$(python3 -c "import json; print(json.load(open('$DIR/list.json'))[0]['id'])")" >"$DIR/log"
grep -q UpdateTip "$DIR/log" || fail "the log"
say "all of it works"
