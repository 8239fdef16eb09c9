// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";

/// The address that stays while the code behind it changes.
contract SafeProxy is ERC1967Proxy {
    constructor(address code, bytes memory first) ERC1967Proxy(code, first) {}
}

/// Keeps coins for their senders; upgradeable by its owner (UUPS).
contract Safe is Initializable, UUPSUpgradeable {
    event Stored(address indexed by, uint256 value, uint256 total);

    error NotOwner(address caller);
    error NotEnough(uint256 asked, uint256 there);

    address public owner;
    mapping(address holder => uint256) public stored;

    constructor() {
        _disableInitializers();
    }

    function initialize(address owner_) external initializer {
        owner = owner_;
    }

    function store() external payable {
        stored[msg.sender] += msg.value;
        emit Stored(msg.sender, msg.value, stored[msg.sender]);
    }

    function take(uint256 value) external virtual {
        uint256 there = stored[msg.sender];
        if (value > there) revert NotEnough(value, there);
        stored[msg.sender] = there - value;
        Address.sendValue(payable(msg.sender), value);
    }

    function version() external pure virtual returns (string memory) {
        return "1";
    }

    function _authorizeUpgrade(address) internal view override {
        if (msg.sender != owner) revert NotOwner(msg.sender);
    }
}

/// The next version: counts what several holders have together.
contract SafeV2 is Safe {
    function version() external pure override returns (string memory) {
        return "2";
    }

    function holdings(address[] calldata holders) external view returns (uint256 total) {
        for (uint256 i = 0; i < holders.length; i++) total += stored[holders[i]];
    }
}
