// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Council, Treasury} from "../contracts/Council.sol";
import {Safe, SafeProxy} from "../contracts/Safe.sol";
import {Shares} from "../contracts/Shares.sol";
import {Tickets} from "../contracts/Tickets.sol";
import {vm} from "./Vm.sol";

/// Deploys the whole project: forge script Deploy --rpc-url URL --broadcast
contract Deploy {
    function run() external returns (Shares shares, Treasury treasury, Council council, Tickets tickets, Safe safe) {
        uint256 key = vm.envUint("PRIVATE_KEY");
        address owner = vm.addr(key);
        vm.startBroadcast(key);
        shares = new Shares(owner, 1000 ether);
        treasury = new Treasury(owner);
        council = new Council(shares, treasury);
        treasury.grantRole(treasury.PROPOSER_ROLE(), address(council));
        treasury.grantRole(treasury.EXECUTOR_ROLE(), address(0));
        treasury.renounceRole(treasury.DEFAULT_ADMIN_ROLE(), owner);
        tickets = new Tickets(owner);
        tickets.grantRole(tickets.SELLER(), owner);
        safe = Safe(address(new SafeProxy(address(new Safe()), abi.encodeCall(Safe.initialize, (owner)))));
        safe.store{value: 0.25 ether}();
        shares.delegate(owner);
        shares.transferOwnership(address(treasury));
        vm.stopBroadcast();
    }
}
