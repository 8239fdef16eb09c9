// Compiles the contracts of this folder to the creation code beside them:
//   npm ci --prefix crates/bmm-api/tests/js && node xtask/src/bench/ledger/contracts/compile.mjs
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const here = (name) => new URL(name, import.meta.url);
const solc = createRequire(here("../../../../../crates/bmm-api/tests/js/package.json"))("solc");
for (const name of ["Token", "Work"]) {
  const input = {
    language: "Solidity",
    sources: { [`${name}.sol`]: { content: readFileSync(here(`${name}.sol`), "utf8") } },
    settings: {
      optimizer: { enabled: true, runs: 200 },
      metadata: { appendCBOR: false },
      outputSelection: { "*": { "*": ["evm.bytecode.object"] } },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  for (const message of output.errors ?? []) console.error(message.formattedMessage);
  writeFileSync(here(`${name}.hex`), output.contracts[`${name}.sol`][name].evm.bytecode.object + "\n");
}
