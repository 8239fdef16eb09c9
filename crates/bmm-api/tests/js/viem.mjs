// viem against the node: RPC_URL, WS_URL and PRIVATE_KEY (a funded account) come from the environment.
import {
  BaseError, ContractFunctionRevertedError, createPublicClient, createWalletClient, defineChain, http, parseAbi, parseEther, webSocket,
} from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { assert, counter, ERC20, setting, TOKEN, until } from "./common.mjs";

const url = setting("RPC_URL");
const probe = createPublicClient({ transport: http(url) });
const chain = defineChain({
  id: await probe.getChainId(),
  name: "BMM under test",
  nativeCurrency: { name: "BMM", symbol: "BMM", decimals: 18 },
  rpcUrls: { default: { http: [url] } },
});
const account = privateKeyToAccount(setting("PRIVATE_KEY"));
const other = privateKeyToAccount(generatePrivateKey()).address;
const pollingInterval = 50;
const client = createPublicClient({ chain, pollingInterval, transport: http(url, { batch: true }) });
const wallet = createWalletClient({ account, chain, pollingInterval, transport: http(url) });
const mined = (hash) => client.waitForTransactionReceipt({ hash });

async function reads() {
  const [number, balance, nonce, pendingNonce, code, block, fees, gasPrice, history] = await Promise.all([
    client.getBlockNumber(),
    client.getBalance({ address: account.address }),
    client.getTransactionCount({ address: account.address }),
    client.getTransactionCount({ address: account.address, blockTag: "pending" }),
    client.getCode({ address: other }),
    client.getBlock({ includeTransactions: true }),
    client.estimateFeesPerGas(),
    client.getGasPrice(),
    client.getFeeHistory({ blockCount: 4, rewardPercentiles: [25, 75] }),
  ]);
  assert.ok(number >= 0n && balance > parseEther("10"));
  assert.equal(nonce, pendingNonce);
  assert.equal(code, undefined);
  assert.ok(block.difficulty >= 0n && block.hash.length === 66 && block.size > 500n);
  assert.ok(fees.maxFeePerGas >= fees.maxPriorityFeePerGas && gasPrice > 0n);
  assert.equal(history.baseFeePerGas.length, history.gasUsedRatio.length + 1);
  assert.equal(history.reward.length, history.gasUsedRatio.length);
  const pending = await client.getBlock({ blockTag: "pending" });
  assert.equal(pending.hash, null);
  assert.ok(pending.number > number);
  assert.equal((await client.getBlock({ blockTag: "earliest" })).number, 0n);
}

async function transfers() {
  const value = parseEther("0.25");
  const access = [{ address: TOKEN, storageKeys: [`0x${"00".repeat(32)}`] }];
  const kinds = [
    { type: "legacy" },
    { type: "eip2930", accessList: access },
    { type: "eip1559" },
    { type: "eip7702", authorizationList: [await wallet.signAuthorization({ contractAddress: TOKEN, executor: "self" })] },
  ];
  for (const [index, kind] of kinds.entries()) {
    const receipt = await mined(await wallet.sendTransaction({ to: other, value, ...kind }));
    assert.equal(receipt.status, "success", kind.type);
    assert.equal(receipt.type, kind.type);
    assert.equal(await client.getBalance({ address: other }), value * BigInt(index + 1));
    const found = await client.getTransaction({ hash: receipt.transactionHash });
    assert.equal(found.from.toLowerCase(), account.address.toLowerCase());
    assert.equal(found.blockHash, receipt.blockHash);
    assert.equal(found.type, kind.type);
    const before = await client.getBalance({ address: other, blockNumber: receipt.blockNumber - 1n });
    assert.equal(before, value * BigInt(index), "balance one block earlier");
  }
  // The account delegated itself; undo it, so that it is a plain one again.
  const nobody = `0x${"00".repeat(20)}`;
  const undo = await wallet.signAuthorization({ contractAddress: nobody, executor: "self" });
  await mined(await wallet.sendTransaction({ to: other, authorizationList: [undo] }));
  assert.equal(await client.getCode({ address: account.address }), undefined);
}

async function token() {
  const contract = { address: TOKEN, abi: parseAbi(ERC20) };
  const read = (functionName, args = []) => client.readContract({ ...contract, functionName, args });
  assert.equal(await read("symbol"), "BMM");
  assert.equal(await read("decimals"), 18);
  assert.ok((await read("totalSupply")) > 0n);
  const before = await read("balanceOf", [other]);
  assert.equal(before, await client.getBalance({ address: other }), "the token's balances are the native ones");
  const receipt = await mined(await wallet.writeContract({ ...contract, functionName: "transfer", args: [other, 1_000n] }));
  assert.equal(receipt.status, "success");
  assert.equal(await client.getBalance({ address: other }), before + 1_000n);
  const events = await client.getContractEvents({
    ...contract, eventName: "Transfer", args: { to: other }, fromBlock: receipt.blockNumber, toBlock: receipt.blockNumber,
  });
  assert.deepEqual(events.map((e) => e.args.value), [1_000n]);
  await assert.rejects(
    client.simulateContract({ ...contract, account: other, functionName: "transfer", args: [account.address, parseEther("9000000")] }),
    (error) => error.walk((e) => e instanceof ContractFunctionRevertedError).data?.errorName === "ERC20InsufficientBalance",
  );
}

async function contract() {
  const { abi, bytecode } = counter();
  const deployed = await mined(await wallet.deployContract({ abi, bytecode, args: [10n] }));
  assert.equal(deployed.status, "success");
  const at = { address: deployed.contractAddress, abi };
  assert.ok((await client.getCode(at)).length > 100);
  const seen = [];
  const stop = client.watchContractEvent({ ...at, eventName: "Counted", onLogs: (logs) => seen.push(...logs) });
  for (const step of [3n, 4n]) {
    const { request, result } = await client.simulateContract({ ...at, account, functionName: "count", args: [step] });
    assert.ok(result >= step);
    assert.equal((await mined(await wallet.writeContract(request))).status, "success");
  }
  await until(() => seen.length === 2);
  stop();
  assert.deepEqual(seen.map((log) => log.args.total), [3n, 7n]);
  assert.equal(await client.readContract({ ...at, functionName: "total" }), 7n);
  assert.equal(BigInt(await client.getStorageAt({ ...at, slot: "0x0" })), 7n);
  const byStep = await client.getContractEvents({
    ...at, eventName: "Counted", args: { by: account.address, step: [4n, 5n] }, fromBlock: deployed.blockNumber,
  });
  assert.deepEqual(byStep.map((log) => log.args.total), [7n]);
  const tooFar = client.simulateContract({ ...at, account, functionName: "count", args: [4n] });
  await assert.rejects(tooFar, (error) => {
    const { data } = error.walk((e) => e instanceof ContractFunctionRevertedError);
    assert.deepEqual([data.errorName, ...data.args], ["TooFar", 11n, 10n]);
    return true;
  });
  const never = client.readContract({ ...at, functionName: "fail" });
  await assert.rejects(never, (error) => error instanceof BaseError && /never works/.test(error.message));
  const failed = await mined(await wallet.writeContract({ ...at, functionName: "count", args: [4n], gas: 100_000n }));
  assert.equal(failed.status, "reverted");
}

async function errors() {
  const poor = createWalletClient({ account: privateKeyToAccount(generatePrivateKey()), chain, transport: http(url) });
  const funds = poor.sendTransaction({ to: other, value: 1n, gas: 21_000n });
  await assert.rejects(funds, (error) => error.walk((e) => e.name === "InsufficientFundsError") !== null);
  const low = wallet.sendTransaction({ to: other, nonce: 0, gas: 21_000n });
  await assert.rejects(low, (error) => error.walk((e) => e.name === "NonceTooLowError") !== null);
  assert.equal(await client.getTransactionReceipt({ hash: `0x${"77".repeat(32)}` }).catch((e) => e.name), "TransactionReceiptNotFoundError");
}

async function overWebSocket() {
  const socket = createPublicClient({ chain, transport: webSocket(setting("WS_URL")) });
  const [number, id] = await Promise.all([socket.getBlockNumber(), socket.getChainId()]);
  assert.ok(number > 0n && id === chain.id);
  const seen = { heads: [], hashes: [], logs: [] };
  const stops = [
    socket.watchBlocks({ onBlock: (block) => seen.heads.push(block.number) }),
    socket.watchPendingTransactions({ onTransactions: (hashes) => seen.hashes.push(...hashes) }),
    socket.watchContractEvent({
      address: TOKEN, abi: parseAbi(ERC20), eventName: "Transfer", args: { to: other }, onLogs: (logs) => seen.logs.push(...logs),
    }),
  ];
  // Subscribing takes a moment, and what happens before is not told.
  await new Promise((resolve) => setTimeout(resolve, 500));
  const request = { address: TOKEN, abi: parseAbi(ERC20), functionName: "transfer", args: [other, 7n] };
  const receipt = await mined(await wallet.writeContract(request));
  await until(() => seen.heads.includes(receipt.blockNumber) && seen.hashes.includes(receipt.transactionHash) && seen.logs.length > 0);
  assert.deepEqual(seen.logs.map((log) => [log.args.value, log.transactionHash]), [[7n, receipt.transactionHash]]);
  stops.forEach((stop) => stop());
  const rpc = await socket.transport.getRpcClient();
  rpc.close();
}

for (const step of [reads, transfers, token, contract, errors, overWebSocket]) {
  await step();
  console.log(`viem ${step.name}: ok`);
}
