// A page follows the activity feed with Kelly's own live.js through a line that is cut, and now and then stands still. Prints what
// it was shown as one JSON object.
//
//   live.mjs '{"url": "http://…", "token": "…", "cuts": 100, "stalls": 1, "seed": 1, "until": "FILE"}'
//
// When the file is there it names the offset after the last record of each partition; the page goes on until it has all of them. It
// says "following" once it is in.
import { existsSync, readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { setTimeout as pass } from "node:timers/promises";
import { openPage, plan, run, signIn } from "./browser.mjs";

const LIFE_MS = 150;
const LOOK_MS = 200;

// Mulberry32: the same cuts for the same seed.
let seed = plan.seed >>> 0;
function chance() {
  seed = (seed + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), seed | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}

// The line: what is cut breaks off in the middle of whatever is on it, what stands still just says no more.
async function line() {
  const target = new URL(plan.url);
  const pairs = new Set();
  const server = createServer((client) => {
    const kelly = connect(Number(target.port), target.hostname);
    const pair = [client, kelly];
    pairs.add(pair);
    client.pipe(kelly);
    kelly.pipe(client);
    for (const end of pair) {
      end.on("error", () => {});
      end.on("close", () => {
        pair.forEach((other) => other.destroy());
        pairs.delete(pair);
      });
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut: () => pairs.forEach(([client]) => client.resetAndDestroy()),
    stall: () => pairs.forEach(([client, kelly]) => kelly.unpipe(client)),
    close: () => {
      pairs.forEach((pair) => pair.forEach((end) => end.destroy()));
      server.close();
    },
  };
}

// In the page: Kelly's own client. The first pause after a cut passes twenty times as quickly.
function follow() {
  const { setTimeout } = window;
  window.setTimeout = (what, milliseconds) => setTimeout(what, milliseconds < 1000 ? milliseconds / 20 : milliseconds);
  window.seen = { events: [], resets: [], resumed: 0, states: 0, isLive: false, offsets: [] };
  connectLive(["activity_feed"], {
    onMessage: (message) => {
      if (message.type === "subscribed") {
        const [room] = message.rooms;
        if (room.resumed) seen.resumed += 1;
        else seen.offsets = [...room.offsets];
      } else if (message.type === "position" || message.type === "activity_snapshot") {
        seen.offsets = [...message.offsets];
      } else if (message.type === "reset") {
        seen.resets.push(message.reason);
      } else if (message.type === "activity_event") {
        const { partition, offset, row, data } = message;
        seen.offsets[partition] = message.next;
        seen.events.push([[partition, offset, row], data.id, data.title]);
      }
    },
    onState: (state) => {
      seen.isLive = state === "live";
      if (seen.isLive) seen.states += 1;
    },
  });
}

await run(async (browser) => {
  const between = await line();
  const opened = await openPage(browser);
  const { page } = opened;
  await signIn(opened, between.url, plan.token);
  // A page of the same server that follows nothing by itself.
  await page.goto(`${between.url}/assets/live.js`);
  await page.addScriptTag({ url: "/assets/live.js" });
  await page.evaluate(follow);
  const isLive = (times) => page.waitForFunction((times) => seen.states >= times && seen.isLive, times, { timeout: 60000 });
  await isLive(1);
  console.log("following");

  for (let cut = 0; cut < plan.cuts; cut += 1) {
    // Now and then it is on its way back from the cut before.
    if (cut < plan.stalls || chance() < 0.8) await page.waitForFunction(() => seen.isLive, null, { timeout: 60000 });
    await pass(chance() * LIFE_MS);
    const before = await page.evaluate(() => seen.states);
    if (cut < plan.stalls) {
      between.stall();
      await isLive(before + 1);
    } else {
      between.cut();
    }
  }
  for (;;) {
    await pass(LOOK_MS);
    const written = existsSync(plan.until) ? readFileSync(plan.until, "utf8") : "";
    if (!written) continue;
    const ends = JSON.parse(written);
    const seen = await page.evaluate(() => window.seen);
    const has = (end, partition) => Number.isInteger(seen.offsets[partition]) && seen.offsets[partition] >= end;
    if (seen.offsets.length === ends.length && ends.every(has)) {
      between.close();
      return { events: seen.events, resets: seen.resets, resumed: seen.resumed };
    }
  }
});
