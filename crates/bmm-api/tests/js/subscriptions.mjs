// Three WebSocket clients that print what they are told: a plain one, ethers, viem. WS_URL, ADDRESS (whose logs) and LAST_BLOCK (the number of
// the block that ends it all, which holds a log) come from the environment. Prints "ready", then one JSON object per event.
import { WebSocketProvider } from "ethers";
import { createPublicClient, webSocket } from "viem";
import WebSocket from "ws";
import { assert, setting } from "./common.mjs";

const [url, address, last] = [setting("WS_URL"), setting("ADDRESS"), Number(setting("LAST_BLOCK"))];

/** Prints what one client sees; `done` is when it has seen the last block's head and log. */
function witness(client) {
  let finish;
  const done = new Promise((resolve) => (finish = resolve));
  let missing = 2;
  const see = (event, number) => {
    console.log(JSON.stringify({ client, ...event }));
    if (Number(number) === last && --missing === 0) finish();
  };
  return {
    done,
    head: (head, number) => see({ head }, number),
    log: ({ blockHash, blockNumber, data, logIndex, removed }) =>
      see({ log: { blockHash, data, logIndex: Number(logIndex), removed } }, blockNumber),
  };
}

/** Waits until the node has confirmed `count` subscriptions on a socket. */
function subscribed(socket, count) {
  const asked = new Set();
  const send = socket.send.bind(socket);
  socket.send = (text, ...rest) => {
    for (const { id, method } of [JSON.parse(text)].flat()) if (method === "eth_subscribe") asked.add(id);
    send(text, ...rest);
  };
  return new Promise((resolve, reject) => {
    socket.addEventListener("message", ({ data }) => {
      for (const { id, error } of [JSON.parse(data)].flat()) {
        if (!asked.delete(id)) continue;
        if (error) reject(new Error(`eth_subscribe: ${error.message}`));
        else if (--count === 0) resolve();
      }
    });
  });
}

/** Opens a socket. */
async function open() {
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", reject);
  });
  return socket;
}

/** JSON-RPC by hand. */
async function plain() {
  const { done, head, log } = witness("plain");
  const socket = await open();
  const both = subscribed(socket, 2);
  const kinds = {};
  socket.addEventListener("message", ({ data }) => {
    const { id, result, method, params } = JSON.parse(data);
    if (method === undefined) return void (kinds[result] = id);
    assert.equal(method, "eth_subscription");
    const told = params.result;
    if (kinds[params.subscription] === "heads") head({ hash: told.hash, parentHash: told.parentHash }, told.number);
    else log(told);
  });
  for (const [id, params] of Object.entries({ heads: ["newHeads"], logs: ["logs", { address }] })) {
    socket.send(JSON.stringify({ jsonrpc: "2.0", id, method: "eth_subscribe", params }));
  }
  await both;
  return { done };
}

async function ethers() {
  const { done, head, log } = witness("ethers");
  const socket = new WebSocket(url);
  const both = subscribed(socket, 2);
  const provider = new WebSocketProvider(socket);
  provider.on("block", (number) => head({ number }, number));
  provider.on({ address }, (told) => log({ ...told.toJSON(), logIndex: told.index }));
  await both;
  return { done };
}

async function viem() {
  const { done, head, log } = witness("viem");
  const client = createPublicClient({ transport: webSocket(url) });
  const { socket } = await client.transport.getRpcClient();
  const both = subscribed(socket, 2);
  // It asks for each block by its number, and gives none where another change of branch has taken that number away.
  const onBlock = (block) => block && head({ hash: block.hash, parentHash: block.parentHash }, block.number);
  client.watchBlocks({ onBlock, onError: assert.fail });
  client.watchEvent({ address, onLogs: (logs) => logs.forEach(log), onError: assert.fail });
  await both;
  return { done };
}

const clients = await Promise.all([plain(), ethers(), viem()]);
console.log("ready");
await Promise.all(clients.map(({ done }) => done));
process.exit(0);
