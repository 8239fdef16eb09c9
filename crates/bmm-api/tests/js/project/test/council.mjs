// A governor over a timelock: a proposal's whole life.
import { expect } from "chai";
import hre from "hardhat";
import { blocks, council, mined, settled, shares, wallet } from "../scripts/contracts.mjs";

const { ethers } = hre;
const STATES = { pending: 0n, active: 1n, succeeded: 4n, queued: 5n, executed: 7n };

describe("Council", () => {
  it("mints shares by proposal, vote, queue and execution", async () => {
    const [token, member] = [await shares(), await wallet()];
    const { treasury, governor } = await council(token);
    await mined(token.delegate(member));
    await mined(token.transferOwnership(treasury));
    const call = token.interface.encodeFunctionData("mint", [member.address, 42n]);
    const [targets, values, calls, words] = [[await token.getAddress()], [0n], [call], "mint 42"];
    const proposal = [targets, values, calls, ethers.id(words)];
    const id = await governor.hashProposal(...proposal);

    await expect(settled(governor.propose(targets, values, calls, words))).to.emit(governor, "ProposalCreated");
    expect(await governor.state(id)).to.equal(STATES.pending);
    await expect(governor.castVote(id, 1)).to.be.revertedWithCustomError(governor, "GovernorUnexpectedProposalState");
    await blocks(2);
    expect(await governor.state(id)).to.equal(STATES.active);
    await expect(settled(governor.castVote(id, 1))).to.emit(governor, "VoteCast");
    await blocks(3);
    expect(await governor.state(id)).to.equal(STATES.succeeded);
    await expect(settled(governor.queue(...proposal))).to.emit(treasury, "CallScheduled");
    expect(await governor.state(id)).to.equal(STATES.queued);
    await blocks(2);
    const supply = await token.totalSupply();
    await expect(settled(governor.execute(...proposal))).to.emit(token, "Transfer").withArgs(ethers.ZeroAddress, member.address, 42n);
    expect(await governor.state(id)).to.equal(STATES.executed);
    expect(await token.totalSupply()).to.equal(supply + 42n);
  });
});
