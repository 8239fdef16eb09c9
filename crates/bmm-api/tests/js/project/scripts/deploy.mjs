// Deploys the whole project and prints where each contract is: hardhat run scripts/deploy.mjs --network bmm
import hre from "hardhat";
import { council, safe, shares, tickets } from "./contracts.mjs";

const token = await shares();
const parts = { token, ...(await council(token)), tickets: await tickets(), safe: await safe() };
for (const [name, contract] of Object.entries(parts)) {
  const address = await contract.getAddress();
  const code = await hre.ethers.provider.getCode(address);
  console.log(`deployed ${name} at ${address}: ${(code.length - 2) / 2} bytes`);
}
