#!/usr/bin/env node
// The npm package `solc`, called as the native compiler is: `--version`, and `--standard-json` from stdin to stdout.
import { readFileSync } from "node:fs";
import solc from "solc";

if (process.argv.includes("--version")) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}`);
} else if (process.argv.includes("--standard-json")) {
  process.stdout.write(solc.compile(readFileSync(0, "utf8")));
} else {
  console.error("only --version and --standard-json are known here");
  process.exitCode = 1;
}
