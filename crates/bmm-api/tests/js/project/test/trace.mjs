// Transactions as the node traces them (debug_traceTransaction).
import { expect } from "chai";
import hre from "hardhat";
import { guest, mined, safe, shares, wallet } from "../scripts/contracts.mjs";

const { ethers } = hre;
const trace = (method, ...params) => ethers.provider.send(method, params);
const lower = (address) => address.toLowerCase();

describe("Traces", () => {
  let token, owner, other;

  before(async () => {
    [token, owner, other] = [await shares(), await wallet(), await guest()];
    await mined(token.transfer(other, 1n));
  });

  it("show every call, by callTracer", async () => {
    const kept = await safe();
    await mined(kept.store({ value: 500n }));
    const { hash, gasUsed } = await mined(kept.take(200n));
    const root = await trace("debug_traceTransaction", hash, { tracer: "callTracer", tracerConfig: { withLog: true } });
    const at = lower(await kept.getAddress());
    expect([root.type, root.from, root.to, BigInt(root.gasUsed)]).to.deep.equal(["CALL", lower(owner.address), at, gasUsed]);
    const [code] = root.calls;
    expect([root.calls.length, code.type, code.from, code.input]).to.deep.equal([1, "DELEGATECALL", at, root.input]);
    const [payment] = code.calls;
    expect([payment.type, payment.from, payment.to, BigInt(payment.value)]).to.deep.equal(["CALL", at, lower(owner.address), 200n]);
  });

  it("show why a transaction failed", async () => {
    const sent = await token.connect(other).transfer(owner, 71n, { gasLimit: 100_000n });
    const { hash, status, gasUsed } = await sent.wait().catch((error) => error.receipt);
    expect(status).to.equal(0);
    const root = await trace("debug_traceTransaction", hash, { tracer: "callTracer" });
    expect([root.error, BigInt(root.gasUsed)]).to.deep.equal(["execution reverted", gasUsed]);
    const { name, args } = token.interface.parseError(root.output);
    expect([name, ...args]).to.deep.equal(["ERC20InsufficientBalance", other.address, 1n, 71n]);
  });

  it("show every step, by struct logs", async () => {
    const receipt = await mined(token.transfer(other, 0n));
    const { gas, failed, returnValue, structLogs } = await trace("debug_traceTransaction", receipt.hash);
    expect([BigInt(gas), failed, BigInt(ethers.hexlify(returnValue.startsWith("0x") ? returnValue : `0x${returnValue}`))]).to.deep.equal([receipt.gasUsed, false, 1n]);
    const [first, last] = [structLogs[0], structLogs.at(-1)];
    expect([first.pc, first.op, first.depth, last.op]).to.deep.equal([0, "PUSH1", 1, "RETURN"]);
    expect(structLogs.filter(({ op }) => op === "LOG3").length).to.equal(1);
    // Each step leaves what it does not cost.
    for (const [index, step] of structLogs.entries()) {
      if (index > 0) expect(step.gas).to.equal(structLogs[index - 1].gas - structLogs[index - 1].gasCost);
    }
  });

  it("show what a transaction changed, by prestateTracer", async () => {
    const receipt = await mined(token.transfer(other, 1n));
    const { pre, post } = await trace("debug_traceTransaction", receipt.hash, { tracer: "prestateTracer", tracerConfig: { diffMode: true } });
    const [sender, contract] = [lower(owner.address), lower(await token.getAddress())];
    expect(post[sender].nonce - (pre[sender].nonce ?? 0)).to.equal(1);
    // Two balances.
    expect(Object.keys(post[contract].storage).length).to.equal(2);
    const block = await trace("debug_traceBlockByNumber", ethers.toQuantity(receipt.blockNumber), { tracer: "callTracer" });
    expect(block.map(({ txHash }) => txHash)).to.deep.equal([receipt.hash]);
  });
});
