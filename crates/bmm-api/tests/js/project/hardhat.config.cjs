// A Hardhat project against a BMM node: RPC_URL and PRIVATE_KEY (a funded account) come from the environment.
require("@nomicfoundation/hardhat-chai-matchers");
require("@nomicfoundation/hardhat-ethers");
const { TASK_COMPILE_SOLIDITY_GET_SOLC_BUILD } = require("hardhat/builtin-tasks/task-names");
const { subtask } = require("hardhat/config");
const { version } = require("solc/package.json");

// The compiler of the package `solc`, so that none is downloaded.
subtask(TASK_COMPILE_SOLIDITY_GET_SOLC_BUILD, async () => ({
  compilerPath: require.resolve("solc/soljson.js"),
  isSolcJs: true,
  version,
  longVersion: version,
}));

module.exports = {
  solidity: { version, settings: { optimizer: { enabled: true, runs: 200 }, evmVersion: "osaka" } },
  defaultNetwork: "bmm",
  mocha: { timeout: 120_000 },
  networks: {
    bmm: { url: process.env.RPC_URL ?? "http://127.0.0.1:8545", accounts: [process.env.PRIVATE_KEY].filter(Boolean) },
  },
};
