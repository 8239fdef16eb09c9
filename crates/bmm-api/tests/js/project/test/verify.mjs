// Every block from genesis to the head, checked without trusting the node: hashes, both roots, blooms, gas.
import { createMPT } from "@ethereumjs/mpt";
import { expect } from "chai";
import hre from "hardhat";
import { council, guest, mined, shares, tickets } from "../scripts/contracts.mjs";

const { ethers } = hre;
const { encodeRlp, getBytes, keccak256, toBeArray, toBeHex } = ethers;

/** A quantity as RLP has it: without leading zeros, zero being empty. */
const quantity = (value) => ethers.hexlify(toBeArray(BigInt(value)));

/** The root of the trie that maps each position in the block to what is there. */
async function root(encoded) {
  const trie = await createMPT();
  for (const [index, bytes] of encoded.entries()) await trie.put(getBytes(encodeRlp(quantity(index))), getBytes(bytes));
  return ethers.hexlify(trie.root());
}

/** The bloom of logs: three bits of 2048 for each address and topic (yellow paper, M3:2048). */
function bloom(logs) {
  const bits = new Uint8Array(256);
  for (const value of logs.flatMap((log) => [log.address, ...log.topics])) {
    const hash = getBytes(keccak256(value));
    for (const at of [0, 2, 4]) {
      const bit = ((hash[at] << 8) | hash[at + 1]) & 2047;
      bits[255 - (bit >> 3)] |= 1 << (bit & 7);
    }
  }
  return ethers.hexlify(bits);
}

/** A receipt as the trie has it (EIP-2718). */
function encodeReceipt({ type, status, cumulativeGasUsed, logsBloom, logs }) {
  const entries = logs.map(({ address, topics, data }) => [address, topics, data]);
  const body = encodeRlp([quantity(status), quantity(cumulativeGasUsed), logsBloom, entries]);
  return type === "0x0" ? body : ethers.concat([toBeHex(BigInt(type), 1), body]);
}

/** The header's hash, from what `eth_getBlockByNumber` says. */
function headerHash(block) {
  const whole = ["parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"];
  const counted = ["difficulty", "number", "gasLimit", "gasUsed", "timestamp"];
  const fields = [...whole.map((name) => block[name]), ...counted.map((name) => quantity(block[name])), block.extraData, block.mixHash, block.nonce];
  const later = ["baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash"];
  for (const name of later.filter((name) => block[name] !== undefined)) {
    fields.push(name.endsWith("Root") || name.endsWith("Hash") ? block[name] : quantity(block[name]));
  }
  return keccak256(encodeRlp(fields));
}

const ask = (method, ...params) => ethers.provider.send(method, params);

async function receiptsOf(block) {
  const single = [];
  for (const { hash } of block.transactions) single.push(await ask("eth_getTransactionReceipt", hash));
  for (const name of [block.hash, block.number]) expect(await ask("eth_getBlockReceipts", name)).to.deep.equal(single);
  return single;
}

async function checkBlock(number) {
  const block = await ask("eth_getBlockByNumber", ethers.toQuantity(number), true);
  expect(headerHash(block), "hash of the header").to.equal(block.hash);
  const transactions = block.transactions.map((tx) => ethers.Transaction.from({ ...fromRpc(tx) }));
  expect(transactions.map((tx) => tx.hash)).to.deep.equal(block.transactions.map((tx) => tx.hash));
  expect(transactions.map((tx) => tx.from.toLowerCase())).to.deep.equal(block.transactions.map((tx) => tx.from));
  expect(await root(transactions.map((tx) => tx.serialized)), "transactionsRoot").to.equal(block.transactionsRoot);

  const receipts = await receiptsOf(block);
  expect(await root(receipts.map(encodeReceipt)), "receiptsRoot").to.equal(block.receiptsRoot);
  let [gas, logs] = [0n, 0];
  for (const [index, receipt] of receipts.entries()) {
    expect([receipt.transactionHash, receipt.blockHash]).to.deep.equal([block.transactions[index].hash, block.hash]);
    expect(bloom(receipt.logs), "bloom of the receipt").to.equal(receipt.logsBloom);
    gas += BigInt(receipt.gasUsed);
    expect(BigInt(receipt.cumulativeGasUsed)).to.equal(gas);
    for (const log of receipt.logs) expect([BigInt(log.logIndex), log.removed]).to.deep.equal([BigInt(logs++), false]);
  }
  expect(BigInt(block.gasUsed)).to.equal(gas);
  expect(bloom(receipts.flatMap((receipt) => receipt.logs)), "bloom of the block").to.equal(block.logsBloom);
  return { block, receipts };
}

/** What ethers signs and hashes, from what the node says. */
function fromRpc(tx) {
  const priced = Number(tx.type) < 2 ? { gasPrice: tx.gasPrice } : { maxFeePerGas: tx.maxFeePerGas, maxPriorityFeePerGas: tx.maxPriorityFeePerGas };
  const authorizationList = tx.authorizationList?.map(({ address, nonce, chainId, r, s, yParity }) => ({
    address, nonce: BigInt(nonce), chainId: BigInt(chainId), signature: { r: ethers.zeroPadValue(toBeHex(BigInt(r)), 32), s: ethers.zeroPadValue(toBeHex(BigInt(s)), 32), yParity: Number(yParity) },
  }));
  return {
    type: Number(tx.type), to: tx.to, nonce: Number(tx.nonce), gasLimit: tx.gas, data: tx.input, value: tx.value, chainId: tx.chainId ?? 0,
    accessList: tx.accessList, authorizationList, ...priced,
    signature: { r: toBeHex(BigInt(tx.r), 32), s: toBeHex(BigInt(tx.s), 32), v: BigInt(tx.v) },
  };
}

/** The code that the compiler made, and the code of the chain, without what the constructor writes into it. */
async function codes(name, contract) {
  const { sourceName } = await hre.artifacts.readArtifact(name);
  const { output } = await hre.artifacts.getBuildInfo(`${sourceName}:${name}`);
  const { object, immutableReferences } = output.contracts[sourceName][name].evm.deployedBytecode;
  return [`0x${object}`, await ethers.provider.getCode(contract)].map((code) => {
    const bytes = getBytes(code);
    for (const { start, length } of Object.values(immutableReferences).flat()) bytes.fill(0, start, start + length);
    return ethers.hexlify(bytes);
  });
}

describe("Contracts", () => {
  it("have the code that was compiled", async () => {
    const token = await shares();
    const { treasury, governor } = await council(token);
    for (const [name, contract] of Object.entries({ Shares: token, Treasury: treasury, Council: governor, Tickets: await tickets() })) {
      const [compiled, found] = await codes(name, contract);
      expect(found, name).to.equal(compiled);
    }
  });
});

describe("Blocks", () => {
  it("have the hashes, roots, blooms and gas that follow from what they hold", async () => {
    const [token, other] = [await shares(), await guest()];
    await mined(token.transfer(other, 1n));
    const failed = await token.connect(other).mint(other, 1n, { gasLimit: 100_000n });
    await failed.wait().catch(() => null);
    for (const type of [0, 1, 2]) await mined(other.sendTransaction({ to: other, value: 1n, type, data: "0x00ff" }));
    const head = await ethers.provider.getBlockNumber();
    const seen = { blocks: 0, transactions: 0, logs: 0, failed: 0, most: 0, types: new Set() };
    let parent = null;
    for (let number = 0; number <= head; number++) {
      const { block, receipts } = await checkBlock(number);
      expect(parent ?? block.parentHash).to.equal(block.parentHash);
      parent = block.hash;
      seen.blocks += 1;
      seen.transactions += receipts.length;
      seen.most = Math.max(seen.most, receipts.length);
      for (const receipt of receipts) {
        seen.logs += receipt.logs.length;
        seen.failed += receipt.status === "0x0" ? 1 : 0;
        seen.types.add(Number(receipt.type));
      }
    }
    expect(seen.failed).to.be.greaterThan(0);
    expect(seen.logs).to.be.greaterThan(1);
    console.log(`      verified ${JSON.stringify({ ...seen, types: [...seen.types].sort() })}`);
  });
});
