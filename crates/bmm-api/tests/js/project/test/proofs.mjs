// State that is not believed but proven: accounts and storage against the state root of a header (eth_getProof).
import { verifyMerkleProof } from "@ethereumjs/mpt";
import { expect } from "chai";
import hre from "hardhat";
import { guest, mined, shares, SUPPLY, wallet } from "../scripts/contracts.mjs";

const { ethers } = hre;
const { decodeRlp, getBytes, hexlify, keccak256, toBeHex, toQuantity } = ethers;

/** Roots of no nodes, and of no code. */
const [NO_NODES, NO_CODE] = [keccak256("0x80"), keccak256("0x")];

/** Where OpenZeppelin's ERC-20 keeps balances and the supply. */
const [BALANCES, TOTAL] = [0n, 2n];

/** What a trie with this root has for a key, decoded; none if the proof shows that it has nothing. */
async function proven(root, key, nodes) {
  if (root === NO_NODES && nodes.length === 0) return null;
  const found = await verifyMerkleProof(getBytes(key), nodes.map(getBytes), { root: getBytes(root), useKeyHashing: true });
  return found && decodeRlp(found);
}

const number = (bytes) => (bytes === null || bytes === "0x" ? 0n : BigInt(bytes));

/** Checks an answer of eth_getProof against a header, and returns the proven storage. */
async function check(address, slots, block) {
  const keys = slots.map((slot) => toBeHex(slot, 32));
  const proof = await ethers.provider.send("eth_getProof", [address, keys, block.number]);
  expect(proof.address).to.equal(address.toLowerCase());
  const account = await proven(block.stateRoot, address, proof.accountProof);
  const told = [proof.nonce, proof.balance].map(BigInt);
  if (account === null) expect([...told, proof.storageHash, proof.codeHash]).to.deep.equal([0n, 0n, NO_NODES, NO_CODE]);
  else expect([...told, proof.storageHash, proof.codeHash]).to.deep.equal([number(account[0]), number(account[1]), account[2], account[3]]);
  const code = await ethers.provider.getCode(address, block.number);
  expect(keccak256(code)).to.equal(proof.codeHash);
  const values = [];
  for (const [index, { key, value, proof: nodes }] of proof.storageProof.entries()) {
    expect(BigInt(key)).to.equal(slots[index]);
    const found = number(await proven(proof.storageHash, keys[index], nodes));
    expect(BigInt(value)).to.equal(found);
    values.push(found);
  }
  return { account, values };
}

describe("Proofs", () => {
  it("show accounts and storage under the header's root, now and earlier", async () => {
    const [token, owner, other] = [await shares(), await wallet(), await guest()];
    const { blockNumber } = await mined(token.transfer(other, 70n));
    const [before, after] = await Promise.all([-1, 0].map((step) => ethers.provider.send("eth_getBlockByNumber", [toQuantity(blockNumber + step), false])));
    const at = (holder) => BigInt(keccak256(ethers.AbiCoder.defaultAbiCoder().encode(["address", "uint256"], [holder, BALANCES])));
    const address = await token.getAddress();
    const slots = [TOTAL, at(owner.address), at(other.address), 0xdeadn];
    expect((await check(address, slots, before)).values).to.deep.equal([SUPPLY, SUPPLY, 0n, 0n]);
    expect((await check(address, slots, after)).values).to.deep.equal([SUPPLY, SUPPLY - 70n, 70n, 0n]);
    const { account } = await check(owner.address, [0n], after);
    expect(number(account[1])).to.equal(await ethers.provider.getBalance(owner, blockNumber));
    // Nobody, and the native coin's ERC-20 face.
    expect((await check(hexlify(ethers.randomBytes(20)), [0n], after)).account).to.equal(null);
    await check("0x000000000000000000000000000000000000b001", [0n], after);
  });
});
