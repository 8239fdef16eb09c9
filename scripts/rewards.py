#!/usr/bin/env python3
"""Reckons anew, from what a node's JSON-RPC says of blocks, what the resource pot owes to whom, and compares it with what was paid.

Nothing is taken from the contract but the events of what it did: powers come from the hashes in the calldata of proofs, each worked out
here; pots from the emission and the base fees of the blocks; persistence from who proved what when. Chains on which jobs pay fees or footstones have
seats are not reckoned: these need the events of their contracts.

    scripts/rewards.py http://127.0.0.1:8545 --epoch-blocks 60 --sols-per-unit 1000

prints a line for each claim and exits with 1 where one differs, by a single unit of 10^-18 BMM.
"""
import argparse
import hashlib
import json
import math
import sys
import urllib.request

RESOURCES, FOOTSTONES = (f"0x000000000000000000000000000000000000b00{n}" for n in (3, 4))
TOKEN_CALL = {"to": "0x000000000000000000000000000000000000b001"}
# Rules of the chain, in basis points and millionths; docs/resources.md and docs/protocol.md tell of them.
PRODUCER_BPS, FOOTSTONES_BPS = 4_500, 1_000
HASH_BPS, REFERRAL_BPS, EPOCHS_TO_DOUBLE, MICRO = 6_000, 500, 30, 1_000_000


class Node:
    def __init__(self, url):
        self.url = url

    def call(self, method, *params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        answer = json.load(urllib.request.urlopen(request, timeout=60))
        if "error" in answer:
            sys.exit(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def keccak(self, text):
        return self.call("web3_sha3", "0x" + text.encode().hex())

    def supply(self, block):
        data = self.keccak("totalSupply()")[:10]
        return int(self.call("eth_call", TOKEN_CALL | {"data": data}, hex(block)), 16)

    def balance(self, address, block):
        return int(self.call("eth_getBalance", address, hex(block)), 16)

    def events(self, signature):
        topic = self.keccak(signature)
        return self.call("eth_getLogs", {"address": RESOURCES, "fromBlock": "0x0", "topics": [topic]})


def rlp(data):
    """Decodes an RLP list of strings and lists; returns the first item and what follows."""
    kind = data[0]
    if kind < 0x80:
        return data[:1], data[1:]
    is_list = kind >= 0xC0
    short = kind - (0xC0 if is_list else 0x80)
    if short <= 55:
        start, length = 1, short
    else:
        start = 1 + short - 55
        length = int.from_bytes(data[1:start], "big")
    body, rest = data[start : start + length], data[start + length :]
    if not is_list:
        return body, rest
    items = []
    while body:
        item, body = rlp(body)
        items.append(item)
    return items, rest


def proofs(calldata):
    """The byte strings of prove(uint64, bytes[])."""
    data = bytes.fromhex(calldata[10:])
    word = lambda at: int.from_bytes(data[at : at + 32], "big")
    array = word(32)
    count = word(array)
    for index in range(count):
        at = array + 32 + word(array + 32 + 32 * index)
        yield data[at + 32 : at + 32 + word(at)]


def hashes_of(calldata):
    """The estimate of hashes that a proof's largest one tells of."""
    found = []
    for proof in proofs(calldata):
        header = rlp(proof)[0][4]
        assert len(header) == 80
        digest = hashlib.scrypt(header, salt=header, n=1024, r=1, p=1, dklen=32)
        found.append(int.from_bytes(digest, "little"))
    assert found == sorted(set(found)), "hashes ascend"
    return (len(found) - 1) * 2**256 // found[-1]


class Ledger:
    """The resource pot as the rules have it."""

    def __init__(self, node, epoch_blocks, sols_per_unit):
        self.node, self.n, self.sols = node, epoch_blocks, sols_per_unit
        self.head = int(node.call("eth_blockNumber"), 16)
        self.powers, self.pots, self.left = {}, {}, {}
        self.last = {}  # contributor: the last epoch with a proof, and its persistence
        self.dust = {}  # by epoch, what last claims left over

    def persistence(self, contributor, epoch):
        if contributor not in self.last:
            return MICRO
        before, persistence = self.last[contributor]
        grown = min(persistence + math.ceil(MICRO / EPOCHS_TO_DOUBLE), 2 * MICRO)
        return MICRO + ((grown - MICRO) >> (epoch - before - 1))

    def read_proofs(self):
        for event in self.node.events("Proven(uint64,address,uint256,uint256)"):
            epoch, contributor = int(event["topics"][1], 16), "0x" + event["topics"][2][-40:]
            told = int(event["data"][2:66], 16)
            transaction = self.node.call("eth_getTransactionByHash", event["transactionHash"])
            assert transaction["from"] == contributor
            hashes = hashes_of(transaction["input"])
            assert hashes == told, f"epoch {epoch}: {hashes} hashes, not {told}"
            persistence = self.persistence(contributor, epoch)
            self.last[contributor] = (epoch, persistence)
            power = hashes * MICRO // self.sols * persistence // MICRO
            self.powers.setdefault(epoch, {})[contributor] = (hashes, persistence, power)

    def inflow(self, epoch):
        """Emission for resources and base fees of an epoch's blocks, and what no footstone can earn any more."""
        total, before = 0, None
        for number in range(max(1, epoch * self.n), (epoch + 1) * self.n):
            before = self.node.supply(number - 1) if before is None else before
            after = self.node.supply(number)
            emission = after - before
            footstones = emission * FOOTSTONES_BPS // 10_000
            total += emission - emission * PRODUCER_BPS // 10_000 - footstones
            if epoch > 0 and number == epoch * self.n:
                # Without finality the footstones' pot runs over, here and only here while there are none.
                pots = [self.node.balance(FOOTSTONES, at) for at in (number - 1, number)]
                total += pots[0] + footstones - pots[1]
            block = self.node.call("eth_getBlockByNumber", hex(number), False)
            total += int(block["baseFeePerGas"], 16) * int(block["gasUsed"], 16)
            before = after
        return total

    def pot(self, epoch):
        """What came in the epoch, what nobody could claim of the pot before it, and what last claims left in it."""
        if epoch not in self.pots:
            pot = self.inflow(epoch) + self.dust.get(epoch, 0)
            if epoch > 0:
                before = self.pot(epoch - 1)
                pot += before if epoch - 1 not in self.powers else before - before * HASH_BPS // 10_000
            self.pots[epoch] = pot
            self.left[epoch] = pot * HASH_BPS // 10_000 if epoch in self.powers else 0
        return self.pots[epoch]

    def claims(self):
        for event in self.node.events("Claimed(uint64,address,uint256,bytes32,uint256)"):
            epoch, contributor = int(event["topics"][1], 16), "0x" + event["topics"][2][-40:]
            words = [int(event["data"][2 + 64 * n : 66 + 64 * n], 16) for n in range(3)]
            pot = self.pot(epoch)
            unclaimed = self.powers[epoch]
            _, _, power = unclaimed[contributor]
            whole = sum(power for _, _, power in unclaimed.values())
            reward = pot * HASH_BPS // 10_000 * power // whole
            self.left[epoch] -= reward
            referred = reward * REFERRAL_BPS // 10_000 if words[1] else 0
            yield event, epoch, contributor, (reward - referred, referred), (words[0], words[2])
            claimed = self.claimed.setdefault(epoch, set())
            claimed.add(contributor)
            if len(claimed) == len(unclaimed):
                within = int(event["blockNumber"], 16) // self.n
                self.dust[within] = self.dust.get(within, 0) + self.left[epoch]

    def run(self):
        self.read_proofs()
        self.claimed = {}
        wrong, sums = 0, {}
        print(f"{'epoch':>5} {'contributor':42} {'hashes':>12} {'e':>8} {'own BMM':>14} {'referrer BMM':>12}")
        for _, epoch, contributor, reckoned, paid in self.claims():
            hashes, persistence, _ = self.powers[epoch][contributor]
            same = reckoned == paid
            wrong += not same
            total = sums.setdefault(contributor, [0, 0, 0])
            for at, more in enumerate((hashes, sum(paid), 1)):
                total[at] += more
            told = "" if same else f"   WRONG: reckoned {reckoned}, paid {paid}"
            e = persistence / MICRO
            print(f"{epoch:5} {contributor} {hashes:12,} {e:8.4f} {paid[0] / 1e18:14.6f} {paid[1] / 1e18:12.6f}{told}")
        return wrong, sums


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--epoch-blocks", type=int, default=60)
    parser.add_argument("--sols-per-unit", type=int, default=1_000)
    parser.add_argument("--ratio", type=float, help="what the first contributor's pay should be of the second's")
    parser.add_argument("--proof-hashes", type=int, default=32, help="hashes of a proof, which the error of --ratio follows from")
    args = parser.parse_args()
    wrong, sums = Ledger(Node(args.url), args.epoch_blocks, args.sols_per_unit).run()
    print(f"{sum(count for _, _, count in sums.values())} claims, {wrong} of them wrong")
    if args.ratio:
        (_, first), (_, second) = sorted(sums.items(), key=lambda item: -item[1][1])
        ratio, epochs = first[1] / second[1], min(first[2], second[2])
        # Each estimate has a relative error of 1/sqrt(k - 2); three times that of the quotient of two means.
        bound = 3 * math.sqrt(2 / epochs / (args.proof_hashes - 2))
        print(f"paid {ratio:.3f} : 1 over {epochs} epochs; {args.ratio} : 1 within {bound:.1%} is expected")
        wrong += abs(ratio / args.ratio - 1) > bound
    sys.exit(wrong > 0 or not sums)


main()
