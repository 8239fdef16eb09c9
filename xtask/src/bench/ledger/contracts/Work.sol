// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Two kinds of heavy calls: many slots, and much computing.
contract Work {
    mapping(uint256 slot => uint256) public values;
    uint256 public last;

    /// Rewrites `count` slots that lie scattered over `span` of them; new ones as long as the span is not filled.
    function store(uint256 seed, uint256 count, uint256 span) external {
        for (uint256 i = 0; i < count; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            values[seed % span] += (seed >> 128) + 1;
        }
    }

    /// Multiplies and hashes `rounds` times.
    function compute(uint256 seed, uint256 rounds) external {
        uint256 product = seed | 1;
        for (uint256 i = 0; i < rounds; ++i) {
            product = mulmod(product, product ^ i, type(uint256).max - 188);
            if (i % 16 == 0) product ^= uint256(keccak256(abi.encode(product)));
        }
        last = product;
    }
}
