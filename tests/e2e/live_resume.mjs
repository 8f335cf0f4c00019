// Runs the page's live.js on lines that are cut, each after what it brought. Prints from where the page wanted to go on at each of them.
//
// node live_resume.mjs

import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";

const room = "activity_feed";
const subscribed = (resumed, epoch, offsets) => ({
  type: "subscribed",
  rooms: [{ room, kind: "every_one", epoch, offsets, resumed }],
});
const position = (epoch, offsets) => ({ type: "position", room, epoch, offsets });
const snapshot = (epoch, offsets) => ({ type: "activity_snapshot", room, epoch, offsets, data: { events: [] } });
const event = (next) => ({ type: "activity_event", room, epoch: "e", partition: 0, offset: next - 1, row: 0, next, data: {} });

const lines = [
  // An instance that still reads what was on the log.
  [subscribed(false, "e", [7])],
  [subscribed(false, "e", [7]), position("e", [7]), snapshot("e", [7]), event(8)],
  [subscribed(true, "e", [8]), position("e", [9])],
  [subscribed(true, "e", [9]), { type: "reset", room, reason: "other_epoch" }, position("f", [3])],
  [subscribed(false, "f", [3]), snapshot("f", [3])],
  [],
];
const resumed = [];

globalThis.WebSocket = class {
  constructor() {
    setImmediate(() => {
      this.onopen();
      lines[resumed.length - 1].forEach((message) => this.onmessage({ data: JSON.stringify(message) }));
      if (resumed.length === lines.length) {
        console.log(JSON.stringify(resumed));
        process.exit(0);
      }
      this.onclose({ code: 1006, reason: "" });
    });
  }

  send(text) {
    const message = JSON.parse(text);
    if (message.type === "subscribe") resumed.push(message.resume);
  }

  close() {}
};
globalThis.location = { protocol: "http:", host: "nowhere" };
// Pauses before it comes back pass at once.
globalThis.setTimeout = (what, milliseconds) => (milliseconds < 20000 ? setImmediate(what) : undefined);
globalThis.clearTimeout = () => {};
const source = readFileSync(new URL("../../api/assets/live.js", import.meta.url), "utf8");
const { connectLive } = runInThisContext(`(() => { ${source}\nreturn { connectLive }; })()`);
connectLive([room], { onMessage: () => {}, onState: () => {} });
