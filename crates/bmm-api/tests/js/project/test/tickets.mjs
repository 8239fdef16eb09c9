// An enumerable ERC-721 behind roles.
import { expect } from "chai";
import { guest, mined, safe, settled, tickets, wallet } from "../scripts/contracts.mjs";

describe("Tickets", () => {
  it("are sold by those who have the role, and counted", async () => {
    const [tokens, admin, buyer] = [await tickets(), await wallet(), await guest()];
    const role = await tokens.SELLER();
    await expect(tokens.sell(buyer, 1n))
      .to.be.revertedWithCustomError(tokens, "AccessControlUnauthorizedAccount")
      .withArgs(admin.address, role);
    await expect(settled(tokens.grantRole(role, admin))).to.emit(tokens, "RoleGranted").withArgs(role, admin.address, admin.address);
    for (const id of [7n, 3n, 5n]) await mined(tokens.sell(buyer, id));
    await expect(tokens.sell(buyer, 7n)).to.be.revertedWithCustomError(tokens, "ERC721InvalidSender");
    // A contract that knows nothing of tickets is not given one.
    await expect(tokens.sell(await safe(), 8n)).to.be.revertedWithCustomError(tokens, "ERC721InvalidReceiver");
    await expect(settled(tokens.connect(buyer).transferFrom(buyer, admin, 3n))).to.emit(tokens, "Transfer");
    expect([await tokens.totalSupply(), await tokens.ownerOf(3n)]).to.deep.equal([3n, admin.address]);
    const held = [await tokens.tokenOfOwnerByIndex(buyer, 0n), await tokens.tokenOfOwnerByIndex(buyer, 1n)];
    expect(held).to.deep.equal([7n, 5n]);
    expect(await tokens.supportsInterface("0x780e9d63")).to.equal(true);
  });
});
