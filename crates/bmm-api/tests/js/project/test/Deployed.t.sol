// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {Council, Treasury} from "../contracts/Council.sol";
import {Safe, SafeV2} from "../contracts/Safe.sol";
import {Shares} from "../contracts/Shares.sol";
import {Tickets} from "../contracts/Tickets.sol";
import {vm} from "../scripts/Vm.sol";

/// Tests on a fork of the chain on which Deploy.s.sol ran: forge test --fork-url URL
contract DeployedTest {
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    Shares private shares = Shares(vm.envAddress("SHARES"));
    Treasury private treasury = Treasury(payable(vm.envAddress("TREASURY")));
    Council private council = Council(payable(vm.envAddress("COUNCIL")));
    Tickets private tickets = Tickets(vm.envAddress("TICKETS"));
    Safe private safe = Safe(vm.envAddress("SAFE"));
    address private owner = vm.addr(vm.envUint("PRIVATE_KEY"));

    function test_the_fork_is_the_chain() external {
        vm.assertEq(block.chainid, abi.decode(leftPadded(vm.rpc("eth_chainId", "[]")), (uint256)));
        vm.assertGt(block.number, 0);
        vm.assertEq(shares.name(), "Shares");
        vm.assertEq(shares.owner(), address(treasury));
        vm.assertEq(shares.balanceOf(owner), 1000 ether);
        vm.assertGt(owner.balance, 1 ether);
        vm.assertEq(address(safe).balance, safe.stored(owner));
    }

    function testFuzz_shares_move(uint96 value, address to) external {
        if (to == owner || to == address(0)) return;
        uint256 held = shares.balanceOf(owner);
        uint256 there = shares.balanceOf(to);
        if (value > held) {
            vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, owner, held, value));
        } else {
            vm.expectEmit();
            emit IERC20.Transfer(owner, to, value);
        }
        vm.prank(owner);
        shares.transfer(to, value);
        if (value <= held) vm.assertEq(shares.balanceOf(to), there + value);
    }

    function test_a_signed_approval_counts() external {
        uint256 key = 0xbeef;
        address signer = vm.addr(key);
        bytes32 words = keccak256(abi.encode(PERMIT, signer, address(this), 5, 0, type(uint256).max));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", shares.DOMAIN_SEPARATOR(), words));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        shares.permit(signer, address(this), 5, type(uint256).max, v, r, s);
        vm.assertEq(shares.allowance(signer, address(this)), 5);
    }

    function test_a_proposal_is_carried_out() external {
        address[] memory targets = new address[](1);
        uint256[] memory values = new uint256[](1);
        bytes[] memory calls = new bytes[](1);
        (targets[0], calls[0]) = (address(shares), abi.encodeCall(Shares.mint, (owner, 42)));
        vm.startPrank(owner);
        uint256 id = council.propose(targets, values, calls, "mint 42");
        vm.roll(block.number + 2);
        council.castVote(id, 1);
        vm.roll(block.number + 4);
        council.queue(targets, values, calls, keccak256("mint 42"));
        vm.warp(block.timestamp + 2);
        council.execute(targets, values, calls, keccak256("mint 42"));
        vm.stopPrank();
        vm.assertEq(uint256(council.state(id)), uint256(IGovernor.ProposalState.Executed));
        vm.assertEq(shares.totalSupply(), 1000 ether + 42);
    }

    function test_the_safe_is_upgraded_by_its_owner_alone() external {
        address code = address(new SafeV2());
        vm.expectRevert(abi.encodeWithSelector(Safe.NotOwner.selector, address(this)));
        safe.upgradeToAndCall(code, "");
        vm.prank(owner);
        safe.upgradeToAndCall(code, "");
        vm.assertEq(safe.version(), "2");
        vm.assertEq(safe.stored(owner), 0.25 ether);
        vm.prank(owner);
        safe.take(0.25 ether);
        vm.assertEq(address(safe).balance, 0);
    }

    function test_tickets_are_sold() external {
        vm.prank(owner);
        tickets.sell(address(0xb0b), 7);
        vm.assertEq(tickets.ownerOf(7), address(0xb0b));
    }

    /// Foundry executes on its own EVM, which has no system contracts; the node has them.
    function test_the_nodes_own_contracts_are_asked_over_rpc() external {
        bytes memory symbol = vm.rpc(
            "eth_call", "[{\"to\":\"0x000000000000000000000000000000000000b001\",\"input\":\"0x95d89b41\"},\"latest\"]"
        );
        vm.assertEq(abi.decode(symbol, (string)), "BMM");
    }

    /// Makes a word of a quantity.
    function leftPadded(bytes memory quantity) private pure returns (bytes memory word) {
        word = new bytes(32);
        for (uint256 i = 0; i < quantity.length; i++) word[32 - quantity.length + i] = quantity[i];
    }
}
