// ethers against the node: RPC_URL and PRIVATE_KEY (a funded account) come from the environment.
import { Contract, ContractFactory, isError, JsonRpcProvider, parseEther, Wallet } from "ethers";
import { assert, counter, ERC20, setting, TOKEN, until } from "./common.mjs";

const provider = new JsonRpcProvider(setting("RPC_URL"), undefined, { polling: true, pollingInterval: 50, cacheTimeout: -1 });
const wallet = new Wallet(setting("PRIVATE_KEY"), provider);
const other = Wallet.createRandom().address;

async function reads() {
  const network = await provider.getNetwork();
  assert.ok(network.chainId > 0n);
  assert.ok((await provider.getBlockNumber()) >= 0);
  assert.ok((await provider.getBalance(wallet.address)) > parseEther("10"));
  const fees = await provider.getFeeData();
  assert.ok(fees.maxFeePerGas >= fees.maxPriorityFeePerGas && fees.gasPrice > 0n);
  const block = await provider.getBlock("latest", true);
  assert.equal(block.hash.length, 66);
  assert.equal(await provider.getBlock(`0x${"77".repeat(32)}`), null);
  assert.equal(await provider.getTransactionReceipt(`0x${"77".repeat(32)}`), null);
  assert.equal(await provider.getCode(other), "0x");
}

async function transfers() {
  const value = parseEther("0.5");
  for (const [index, type] of [0, 1, 2].entries()) {
    const sent = await wallet.sendTransaction({ to: other, value, type });
    const receipt = await sent.wait();
    assert.equal(receipt.status, 1);
    assert.equal(receipt.type, type);
    assert.equal(await provider.getBalance(other), value * BigInt(index + 1));
    const found = await provider.getTransaction(sent.hash);
    assert.equal(found.from, wallet.address);
    assert.equal(found.blockHash, receipt.blockHash);
  }
}

async function token() {
  const contract = new Contract(TOKEN, ERC20, wallet);
  assert.equal(await contract.symbol(), "BMM");
  const before = await contract.balanceOf(other);
  const receipt = await (await contract.transfer(other, 500n)).wait();
  assert.equal(receipt.status, 1);
  assert.equal(await contract.balanceOf(other), before + 500n);
  const events = await contract.queryFilter(contract.filters.Transfer(null, other), receipt.blockNumber);
  assert.deepEqual(events.map((e) => e.args.value), [500n]);
  const tooMuch = contract.connect(provider).transfer.staticCall(other, 1n, { from: `0x${"99".repeat(20)}` });
  await assert.rejects(tooMuch, (e) => isError(e, "CALL_EXCEPTION") && e.revert.name === "ERC20InsufficientBalance");
}

async function contract() {
  const { abi, bytecode } = counter();
  const deployed = await new ContractFactory(abi, bytecode, wallet).deploy(10n);
  await deployed.waitForDeployment();
  const seen = [];
  await deployed.on("Counted", (by, step, total) => seen.push([by, step, total]));
  for (const step of [3n, 4n]) {
    assert.equal((await (await deployed.count(step)).wait()).status, 1);
  }
  assert.equal(await deployed.total(), 7n);
  assert.equal(await deployed.count.staticCall(1n), 8n);
  await until(() => seen.length === 2);
  await deployed.removeAllListeners();
  assert.deepEqual(seen, [[wallet.address, 3n, 3n], [wallet.address, 4n, 7n]]);
  await assert.rejects(deployed.count.staticCall(4n), (e) => isError(e, "CALL_EXCEPTION") && e.revert.name === "TooFar");
  await assert.rejects(deployed.count(4n), (e) => isError(e, "CALL_EXCEPTION") && deployed.interface.parseError(e.data).name === "TooFar");
  await assert.rejects(deployed.fail(), (e) => isError(e, "CALL_EXCEPTION") && e.reason === "never works");
  const logs = await provider.getLogs({ address: await deployed.getAddress(), fromBlock: 0, topics: [null, null, `0x${"4".padStart(64, "0")}`] });
  assert.equal(logs.length, 1);
}

async function errors() {
  const poor = Wallet.createRandom(provider);
  const funds = poor.sendTransaction({ to: other, value: 1n, gasLimit: 21_000n });
  await assert.rejects(funds, (e) => isError(e, "INSUFFICIENT_FUNDS"));
  const low = wallet.sendTransaction({ to: other, nonce: 0, gasLimit: 21_000n });
  await assert.rejects(low, (e) => isError(e, "NONCE_EXPIRED"));
}

for (const step of [reads, transfers, token, contract, errors]) {
  await step();
  console.log(`ethers ${step.name}: ok`);
}
provider.destroy();
