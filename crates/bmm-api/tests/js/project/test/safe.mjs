// An upgradeable contract (UUPS) that holds coins.
import { expect } from "chai";
import hre from "hardhat";
import { guest, mined, safe, settled, wallet } from "../scripts/contracts.mjs";

const { ethers } = hre;

/** Where a proxy keeps the address of its code (ERC-1967). */
const SLOT = "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc";

describe("Safe", () => {
  it("keeps coins through an upgrade", async () => {
    const [kept, owner, other] = [await safe(), await wallet(), await guest()];
    await expect(kept.initialize(other)).to.be.revertedWithCustomError(kept, "InvalidInitialization");
    const storing = settled(kept.connect(other).store({ value: 500n }));
    await expect(storing).to.emit(kept, "Stored").withArgs(other.address, 500n, 500n);
    await expect(storing).to.changeEtherBalances([other, kept], [-500n, 500n]);

    const code = await (await ethers.deployContract("SafeV2")).waitForDeployment();
    await expect(kept.connect(other).upgradeToAndCall(code, "0x"))
      .to.be.revertedWithCustomError(kept, "NotOwner")
      .withArgs(other.address);
    await expect(kept.upgradeToAndCall(owner, "0x")).to.be.reverted;
    await expect(settled(kept.upgradeToAndCall(code, "0x"))).to.emit(kept, "Upgraded").withArgs(await code.getAddress());
    expect(ethers.dataSlice(await ethers.provider.getStorage(kept, SLOT), 12)).to.equal((await code.getAddress()).toLowerCase());

    const upgraded = await ethers.getContractAt("SafeV2", await kept.getAddress());
    expect(await upgraded.version()).to.equal("2");
    expect(await upgraded.holdings([other.address, owner.address])).to.equal(500n);
    await expect(upgraded.connect(other).take(501n)).to.be.revertedWithCustomError(upgraded, "NotEnough").withArgs(501n, 500n);
    await expect(settled(upgraded.connect(other).take(200n))).to.changeEtherBalance(kept, -200n);
    const { blockNumber } = await mined(upgraded.connect(other).take(300n));
    expect(await ethers.provider.getBalance(kept)).to.equal(0n);
    expect(await ethers.provider.getBalance(kept, blockNumber - 1)).to.equal(300n);
  });
});
