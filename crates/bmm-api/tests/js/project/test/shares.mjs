// An ERC-20 with permits and votes.
import { expect } from "chai";
import hre from "hardhat";
import { guest, mined, settled, shares, SUPPLY, wallet } from "../scripts/contracts.mjs";

const { ethers } = hre;

describe("Shares", () => {
  let token, owner, other;

  before(async () => {
    [token, owner, other] = [await shares(), await wallet(), await guest()];
  });

  it("moves and tells it by an event", async () => {
    const sending = settled(token.transfer(other, 70n));
    await expect(sending).to.emit(token, "Transfer").withArgs(owner.address, other.address, 70n);
    await expect(sending).to.changeTokenBalances(token, [owner, other], [-70n, 70n]);
    expect(await token.totalSupply()).to.equal(SUPPLY);
    const events = await token.queryFilter(token.filters.Transfer(null, other.address), 0);
    expect(events.map((event) => event.args.value)).to.deep.equal([70n]);
  });

  it("refuses with custom errors, before and in a block", async () => {
    const poor = token.connect(other);
    await expect(poor.transfer(owner, 71n))
      .to.be.revertedWithCustomError(token, "ERC20InsufficientBalance")
      .withArgs(other.address, 70n, 71n);
    await expect(poor.mint(other, 1n))
      .to.be.revertedWithCustomError(token, "OwnableUnauthorizedAccount")
      .withArgs(other.address);
    const sent = await poor.transfer(owner, 71n, { gasLimit: 100_000n });
    await expect(sent).to.be.reverted;
    const receipt = await ethers.provider.getTransactionReceipt(sent.hash);
    expect([receipt.status, receipt.logs.length]).to.deep.equal([0, 0]);
  });

  it("is estimated so that the gas suffices, and not much is left", async () => {
    const estimate = await token.transfer.estimateGas(other, 5n);
    const receipt = await mined(token.transfer(other, 5n, { gasLimit: estimate }));
    expect(receipt.status).to.equal(1);
    expect(receipt.gasUsed).to.be.within((estimate * 3n) / 4n, estimate);
    // One unit less than what it took does not do.
    const short = token.transfer(other, 5n, { gasLimit: receipt.gasUsed - 1n }).then((sent) => sent.wait());
    await expect(short).to.be.rejected;
  });

  it("takes a signed approval (EIP-2612) from somebody without coins", async () => {
    const signer = ethers.Wallet.createRandom();
    await mined(token.transfer(signer.address, 9n));
    const { chainId } = await ethers.provider.getNetwork();
    const domain = { name: "Shares", version: "1", chainId, verifyingContract: await token.getAddress() };
    const types = { Permit: ["owner", "spender", "value", "nonce", "deadline"].map((name, at) => ({ name, type: at < 2 ? "address" : "uint256" })) };
    const permit = { owner: signer.address, spender: owner.address, value: 8n, nonce: 0n, deadline: ethers.MaxUint256 };
    const { v, r, s } = ethers.Signature.from(await signer.signTypedData(domain, types, permit));
    const arguments_ = [permit.owner, permit.spender, permit.value, permit.deadline, v, r, s];
    await expect(settled(token.permit(...arguments_))).to.emit(token, "Approval").withArgs(permit.owner, permit.spender, 8n);
    await expect(token.permit(...arguments_)).to.be.revertedWithCustomError(token, "ERC2612InvalidSigner");
    await expect(settled(token.transferFrom(permit.owner, owner, 8n))).to.changeTokenBalance(token, owner, 8n);
    expect([await token.nonces(permit.owner), await token.allowance(permit.owner, owner)]).to.deep.equal([1n, 0n]);
  });

  it("remembers votes of earlier blocks", async () => {
    await mined(token.delegate(owner));
    const { blockNumber } = await mined(token.transfer(other, 100n));
    const now = await token.balanceOf(owner);
    expect(await token.getVotes(owner)).to.equal(now);
    await mined(token.transfer(other, 1n));
    expect(await token.getPastVotes(owner, blockNumber)).to.equal(now);
    expect(await token.balanceOf(owner, { blockTag: blockNumber - 1 })).to.equal(now + 100n);
  });
});
