// Drives the pages in headless Chromium as a person would. Arguments: the owner's link, JSON-RPC, the folder of the rendering example,
// the file of the dev chain's key, and a folder for pictures.
import puppeteer from "puppeteer-core";
import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { ethers } from "ethers";
import { resolve } from "node:path";
import assert from "node:assert/strict";

const [, , owner, rpc, exampleFolder, keyFile, pictures] = process.argv;
// Chromium uploads nothing from a path with `..` in it.
const example = resolve(exampleFolder);
const base = new URL(owner).origin;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

mkdirSync(pictures, { recursive: true });

const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"];
const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", headless: true, args: flags });
const problems = [];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function open(width, height, scheme) {
  const page = await browser.newPage();
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  page.on("console", (message) => { if (["error", "warn"].includes(message.type())) problems.push(`${page.url()}: ${message.text()}`); });
  page.on("dialog", (dialog) => { problems.push(`${page.url()} says ${dialog.message()}`); dialog.dismiss(); });
  page.on("pageerror", (error) => problems.push(`${page.url()}: ${error.message}`));
  return page;
}

// Looks at a page: what a screen reader would stumble over, and whether a phone would have to scroll sideways.
async function look(page, name) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await window.axe.run(document)).violations.map((v) => `${v.id}: ${v.nodes[0].html} ${v.nodes[0].any.map((a) => a.message)}`));
  for (const violation of found) problems.push(`${name}: ${violation}`);
  if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) problems.push(`${name}: wider than the screen`);
  await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });
}

async function waitFor(what, within, check) {
  const end = Date.now() + within;
  while (Date.now() < end) { if (await check()) return; await sleep(200); }
  throw new Error("waited too long for " + what);
}
// A contract whose only answer, to whatever call, is a text; it makes one token when it is made.
async function deployToken(name) {
  const text = Buffer.from(name).subarray(0, 64), word = (number) => number.toString(16).padStart(64, "0");
  const data = word(32) + word(text.length) + text.toString("hex").padEnd(128, "0");
  const transfer = ethers.id("Transfer(address,address,uint256)").slice(2);
  // Copies what follows it into memory and returns it.
  const runtime = "6080600c60003960806000f3" + data;
  // An event from nobody to the sender, then 0x8c bytes behind these 0x39 are the code.
  const making = "6001600052" + "3360007f" + transfer + "60206000a3" + "608c8060396000396000f3";
  const sent = await wallet.sendTransaction({ data: "0x" + making + runtime, gasLimit: 1_000_000 });
  return (await sent.wait()).contractAddress;
}
const submit = (page, selector) => Promise.all([page.waitForNavigation({ timeout: 120_000 }), page.click(selector)]);

const page = await open(1280, 900, "light");
// Whoever is not the owner sees the network, and is told how to become it.
const provider = new ethers.JsonRpcProvider(rpc);
const had = await provider.getBalance("0x00000000000000000000000000000000000000aa");
const refused = await page.goto(base + "/wallet");
assert.equal(refused.status(), 403);
problems.length = 0;
await page.goto(owner);

console.log("live numbers");
const head = () => page.$eval("#head", (element) => element.textContent);
const before = await head();
await waitFor("a new block on the page", 60_000, async () => (await head()) !== before);

console.log("a transfer");
await page.goto(base + "/wallet");
const to = "0x00000000000000000000000000000000000000aa";
await page.type("#to", to);
await page.type("#amount", "1.25");
await submit(page, "#send button");
assert.match(await page.$eval("main", (main) => main.textContent), /1\.25/);
await look(page, "send-desktop-light");
await page.click("#sure");
await submit(page, "#confirm button");
assert.match(page.url(), /\/tx\/0x[0-9a-f]{64}$/);
await waitFor("the transfer in a block", 60_000, async () => /succeeded/.test(await page.$eval("main", (main) => main.textContent)));
const transfer = new URL(page.url()).pathname;

console.log("a browser wallet");
const wallet = new ethers.Wallet(readFileSync(keyFile, "utf8").trim(), provider);
const asked = [];
await page.exposeFunction("stubRequest", async ({ method, params }) => {
  asked.push(method);
  if (method === "eth_requestAccounts") return [wallet.address];
  if (method === "wallet_switchEthereumChain") throw new Error("unknown chain");
  if (method === "wallet_addEthereumChain") { assert.equal(params[0].rpcUrls[0], rpc); return null; }
  if (method === "eth_sendTransaction") return (await wallet.sendTransaction({ to: params[0].to, value: BigInt(params[0].value) })).hash;
  throw new Error("not asked for: " + method);
});
await page.evaluateOnNewDocument(() => {
  const detail = Object.freeze({ info: { uuid: "1", name: "<b>Stub</b>", icon: "", rdns: "test" }, provider: { request: (call) => window.stubRequest(call) } });
  const announce = () => window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
  window.addEventListener("eip6963:requestProvider", announce);
});
await page.goto(base + "/wallet");
await page.waitForSelector("#found button");
assert.match(await page.$eval("#found button", (button) => button.textContent), /<b>Stub<\/b>/);
await page.click("#found button");
await page.waitForSelector("#connected:not([hidden])");
await page.type("#browser-to", to);
await page.type("#browser-amount", "0.5");
await page.click("#browser-send button");
await page.waitForSelector("#told a");
assert.deepEqual(asked, ["eth_requestAccounts", "wallet_switchEthereumChain", "wallet_addEthereumChain", "eth_sendTransaction"]);
await look(page, "wallet-desktop-light");
await waitFor("the coins of both", 60_000, async () => (await provider.getBalance(to)) === had + ethers.parseEther("1.75"));

console.log("a token with a hostile name");
const token = await deployToken("<script>alert(1)</script><img src=x onerror=alert(1)>");
for (const path of ["/tokens", `/token/${token}`, `/address/${token}`]) {
  await waitFor("the token's name on " + path, 30_000, async () => {
    await page.goto(base + path);
    return (await page.$eval("main", (main) => main.textContent)).includes("<script>alert(1)</script>");
  });
  assert.equal(await page.$("main script, main img, title script"), null, "a name is text on " + path);
}

console.log("a job");
await page.goto(base + "/jobs/new");
await look(page, "new-job-desktop-light");
const fill = async (id, text) => { await page.$eval("#" + id, (input) => { input.value = ""; }); await page.type("#" + id, text); };
// Uploads the rendering with so many samples a pixel, and starts it.
async function render(name, samples) {
  await page.goto(base + "/jobs/new");
  await fill("name", name);
  await (await page.$("#program")).uploadFile(`${example}/pathtrace.wasm`);
  await (await page.$("#inputs")).uploadFile(`${example}/scenes/still-life.txt`);
  await (await page.$("#merge")).uploadFile(`${example}/merge.wasm`);
  await fill("args", `--scene /in/still-life.txt --size 320x180 --samples ${samples} --rows {rows.start}..{rows.end} --out /out/tile`);
  await fill("axis", "rows"); await fill("range", "0..180"); await fill("chunk", "6");
  await fill("collect", "/out/tile"); await fill("merge_args", "--parts /in/parts --out /out/render.png"); await fill("file", "render.png");
  await submit(page, "form.card button");
  assert.equal(await page.$("#problem"), null, await page.$eval("main", (main) => main.textContent));
  await look(page, "quote-desktop-light");
  await submit(page, "#start button");
  assert.match(page.url(), /\/jobs\/[0-9a-f]{64}$/);
  return new URL(page.url()).pathname;
}
const slow = await render("slow", 400);
await waitFor("a task that runs", 60_000, async () => (await page.$(".map .run")) !== null);
await look(page, "job-running-desktop-light");
await page.click("#acts summary");
await submit(page, "#cancel button");
await waitFor("the end of the job", 60_000, async () => (await page.$eval("#state", (state) => state.textContent)) === "cancelled");
assert.equal(await page.$(".map .run"), null, "nobody has tasks of it");
await look(page, "job-cancelled-desktop-light");

const job = await render("small <i>picture", 8);
await waitFor("the picture", 240_000, async () => (await page.$eval("#job", (part) => part.querySelector("img")?.naturalWidth || 0)) === 320);
assert.equal(await page.$("h1 i"), null, "a name is text");

console.log("limits");
await page.goto(base + "/provider");
await page.$eval("#disk_mib", (slider) => { slider.value = 20480; slider.dispatchEvent(new Event("input")); });
await submit(page, "#limits button");
assert.equal(await page.$eval("#disk_mib", (slider) => slider.value), "20480");

console.log("every page");
const account = `/address/${wallet.address}`;
const pages = { home: "/", blocks: "/blocks", block: "/block/1", transfer, account, tokens: "/tokens", token: "/token/0x000000000000000000000000000000000000b001",
  footstones: "/footstones", epochs: "/epochs", handle: "/account/alice-7", hostile: `/token/${token}`, jobs: "/jobs", job, cancelled: slow, provider: "/provider", pool: "/pool", wallet: "/wallet" };
for (const [width, height, form, scheme] of [[1280, 900, "desktop", "light"], [390, 844, "phone", "dark"], [1280, 900, "desktop", "dark"], [390, 844, "phone", "light"]]) {
  const view = await open(width, height, scheme);
  for (const [name, path] of Object.entries(pages)) {
    const answer = await view.goto(base + path);
    if (![200, 304].includes(answer.status())) problems.push(`${path}: ${answer.status()}`);
    if ((scheme === "light") === (form === "desktop") || ["home", "job", "wallet"].includes(name)) await look(view, `${name}-${form}-${scheme}`);
  }
  await view.close();
}
const chinese = await open(1280, 900, "light");
await chinese.goto(base + "/?lang=zh");
await look(chinese, "home-chinese");
assert.equal(await chinese.$eval("html", (html) => html.lang), "zh-CN");
await chinese.goto(base + "/?lang=en");

console.log("the first page's weight");
let bytes = 0;
const weighed = await open(1280, 900, "light");
await weighed.goto(base + "/");
const parts = await weighed.$$eval("link[href], script[src], img[src]", (elements) => elements.map((element) => element.href || element.src));
for (const url of new Set([base + "/", ...parts])) bytes += (await (await fetch(url)).arrayBuffer()).byteLength;
assert.ok(bytes > 5_000 && bytes < 100_000, `${bytes} bytes`);
console.log(`${bytes} bytes`);
await browser.close();
assert.deepEqual(problems, []);
console.log("all is well");
