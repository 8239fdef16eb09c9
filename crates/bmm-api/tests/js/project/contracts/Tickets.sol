// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC721Enumerable} from "@openzeppelin/contracts/token/ERC721/extensions/ERC721Enumerable.sol";

/// An enumerable ERC-721 that a role may mint.
contract Tickets is ERC721Enumerable, AccessControl {
    bytes32 public constant SELLER = keccak256("SELLER");

    constructor(address admin) ERC721("Tickets", "TKT") {
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    function sell(address to, uint256 id) external onlyRole(SELLER) {
        _safeMint(to, id);
    }

    function supportsInterface(bytes4 id) public view override(ERC721Enumerable, AccessControl) returns (bool) {
        return super.supportsInterface(id);
    }
}
