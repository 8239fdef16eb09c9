// What the scripts share: their settings, and the contract compiled on the spot.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import solc from "solc";

export { assert };

/** Reads a setting that the caller must give. */
export function setting(name) {
  const value = process.env[name];
  assert.ok(value, `set ${name}`);
  return value;
}

/** The Token's address: the ERC-20 face of the native coin. */
export const TOKEN = "0x000000000000000000000000000000000000b001";

/** The part of ERC-20 that is used here. */
export const ERC20 = [
  "function name() view returns (string)",
  "function symbol() view returns (string)",
  "function decimals() view returns (uint8)",
  "function totalSupply() view returns (uint256)",
  "function balanceOf(address account) view returns (uint256)",
  "function transfer(address to, uint256 value) returns (bool)",
  "event Transfer(address indexed from, address indexed to, uint256 value)",
  "error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed)",
];

/** Compiles Counter.sol. */
export function counter() {
  const content = readFileSync(new URL("Counter.sol", import.meta.url), "utf8");
  const input = {
    language: "Solidity",
    sources: { "Counter.sol": { content } },
    settings: { outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } } },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const errors = (output.errors ?? []).filter((e) => e.severity === "error");
  assert.deepEqual(errors, [], "Counter.sol compiles");
  const { abi, evm } = output.contracts["Counter.sol"].Counter;
  return { abi, bytecode: `0x${evm.bytecode.object}` };
}

/** Waits until `done()` is true; the test's own time limit ends a wait in vain. */
export async function until(done) {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 20));
}
