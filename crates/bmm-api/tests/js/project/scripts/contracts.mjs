// How each of the project's contracts is deployed.
import hre from "hardhat";

const { ethers } = hre;

/** The account that pays for everything. */
export async function wallet() {
  const [signer] = await ethers.getSigners();
  return signer;
}

/** A new account with some coins. */
export async function guest(value = ethers.parseEther("1")) {
  const account = ethers.Wallet.createRandom(ethers.provider);
  await mined((await wallet()).sendTransaction({ to: account.address, value }));
  return account;
}

/** Waits for the receipt of a transaction that is being sent. */
export async function mined(sending) {
  return (await sending).wait();
}

/** Waits until a transaction that is being sent is in a block: Hardhat's matchers look at once, since its own network mines at once. */
export async function settled(sending) {
  const sent = await sending;
  await sent.wait();
  return sent;
}

/** Lets blocks pass. */
export async function blocks(count) {
  const signer = await wallet();
  for (let n = 0; n < count; n++) await mined(signer.sendTransaction({ to: signer.address }));
}

async function deployed(name, ...args) {
  return (await ethers.deployContract(name, args)).waitForDeployment();
}

export const SUPPLY = ethers.parseEther("1000");

export async function shares() {
  return deployed("Shares", (await wallet()).address, SUPPLY);
}

export async function tickets() {
  return deployed("Tickets", (await wallet()).address);
}

/** The governor, its timelock, and who may do what there. */
export async function council(token) {
  const admin = await wallet();
  const treasury = await deployed("Treasury", admin.address);
  const governor = await deployed("Council", token, treasury);
  for (const role of ["PROPOSER_ROLE", "CANCELLER_ROLE"]) {
    await mined(treasury.grantRole(await treasury[role](), governor));
  }
  await mined(treasury.grantRole(await treasury.EXECUTOR_ROLE(), ethers.ZeroAddress));
  await mined(treasury.renounceRole(await treasury.DEFAULT_ADMIN_ROLE(), admin));
  return { treasury, governor };
}

/** An upgradeable contract behind its proxy. */
export async function safe() {
  const code = await deployed("Safe");
  const first = code.interface.encodeFunctionData("initialize", [(await wallet()).address]);
  const proxy = await deployed("SafeProxy", code, first);
  return ethers.getContractAt("Safe", await proxy.getAddress());
}
