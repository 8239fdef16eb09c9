// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Counts up to a limit: storage, an immutable, an event with indexed fields, both kinds of revert.
contract Counter {
    event Counted(address indexed by, uint256 indexed step, uint256 total);

    error TooFar(uint256 asked, uint256 limit);

    uint256 public total;
    uint256 public immutable limit;

    constructor(uint256 limit_) {
        limit = limit_;
    }

    function count(uint256 step) external returns (uint256) {
        if (total + step > limit) revert TooFar(total + step, limit);
        total += step;
        emit Counted(msg.sender, step, total);
        return total;
    }

    function fail() external pure {
        require(false, "never works");
    }
}
