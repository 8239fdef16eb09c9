"use strict";
// Live pages: the server says that something changed, and the page takes the parts that differ out of a fresh copy of itself.
(() => {
  const stream = document.body.dataset.live;
  if (!stream) return;
  let busy = false, again = false;
  async function refresh() {
    if (document.hidden) return;
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of document.querySelectorAll("[data-part]")) {
          const next = fresh.getElementById(part.id);
          // What somebody is typing in, or points at with the keyboard, stays.
          if (!next || next.innerHTML === part.innerHTML || part.contains(document.activeElement)) continue;
          part.replaceChildren(...next.childNodes);
        }
        if (!fresh.body.dataset.live && source) source.close();
      }
    } catch { /* The server is gone for a moment; the stream comes back by itself. */ }
    busy = false;
    if (again) { again = false; setTimeout(refresh, 500); }
  }
  const source = new EventSource(stream);
  source.onmessage = refresh;
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  addEventListener("pagehide", () => source.close());
})();

// Sliders tell their value.
for (const slider of document.querySelectorAll("input[type=range]")) {
  const output = document.querySelector(`output[for="${slider.id}"]`);
  slider.addEventListener("input", () => { if (output) output.value = slider.value; });
}

// Browser wallets: EIP-6963 finds them, EIP-3085 tells them of the chain, EIP-1193 asks them. Keys and consent are theirs.
(() => {
  const box = document.getElementById("browser");
  if (!box) return;
  const told = document.getElementById("told"), found = document.getElementById("found"), known = new Set();
  const chain = { chainId: "0x" + Number(box.dataset.chainId).toString(16), chainName: box.dataset.chain, rpcUrls: [box.dataset.rpc],
    blockExplorerUrls: [location.origin], nativeCurrency: { name: "BMM", symbol: "BMM", decimals: 18 } };
  let wallet, account;
  function say(text, link) {
    told.textContent = text;
    if (link) { const a = document.createElement("a"); a.href = "/tx/" + link; a.textContent = link; a.className = "mono wrap"; told.append(" ", a); }
  }
  async function connect(provider) {
    try {
      const [first] = await provider.request({ method: "eth_requestAccounts" });
      try {
        await provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId: chain.chainId }] });
      } catch { await provider.request({ method: "wallet_addEthereumChain", params: [chain] }); }
      [wallet, account] = [provider, first];
      document.getElementById("account").textContent = account;
      document.getElementById("connected").hidden = false;
      say("");
    } catch (error) { say(error.message || String(error)); }
  }
  function units(text) {
    const [whole, part = ""] = text.trim().split(".");
    return "0x" + (BigInt(whole) * 10n ** 18n + BigInt(part.padEnd(18, "0"))).toString(16);
  }
  addEventListener("eip6963:announceProvider", ({ detail }) => {
    const { info, provider } = detail || {};
    if (!info || !provider || known.has(info.uuid) || known.size >= 16) return;
    known.add(info.uuid);
    const button = document.createElement("button");
    button.type = "button"; button.className = "quiet";
    button.textContent = box.dataset.connect.replace("{}", String(info.name).slice(0, 40));
    button.addEventListener("click", () => connect(provider));
    const item = document.createElement("li"); item.append(button); found.append(item);
    say("");
  });
  document.getElementById("browser-send").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const to = document.getElementById("browser-to").value.trim(), value = units(document.getElementById("browser-amount").value);
      say(box.dataset.sent, await wallet.request({ method: "eth_sendTransaction", params: [{ from: account, to, value }] }));
    } catch (error) { say(error.message || String(error)); }
  });
  say(box.dataset.none);
  dispatchEvent(new Event("eip6963:requestProvider"));
})();
