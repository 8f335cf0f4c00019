// Runs the page's live.js outside a browser. First a line with which close codes are final, then one for each state it tells.
//
// node --experimental-websocket live_page.mjs HOST:PORT

import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";

globalThis.location = { protocol: "http:", host: process.argv[2] };
const source = readFileSync(new URL("../../api/assets/live.js", import.meta.url), "utf8");
const { connectLive, isFinal } = runInThisContext(`(() => { ${source}\nreturn { connectLive, isFinal }; })()`);

const codes = [1000, 1001, 1003, 1005, 1006, 1009, 1012, 1013, 1014, 4000, 4001, 4008, 4499, 4500, 4503];
console.log(JSON.stringify(codes.filter(isFinal)));
// In no room that brings anything by itself.
connectLive(["alerts_monitoring"], { onMessage: () => {}, onState: (how) => console.log(how) });
