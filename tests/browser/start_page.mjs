// The start page: signed in by the printed link, live without polling, and silent once nobody is signed in.
//
//   start_page.mjs '{"url": "http://…", "link": "http://…/#sign-in=…", "token": "…"}'
import assert from "node:assert/strict";
import { assertOnlyStatuses, openPage, plan, run } from "./browser.mjs";

const { url, link, token } = plan;

async function record(what, row) {
  const answer = await fetch(`${url}/api/v1/kelly/monitoring/${what}/record`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(row),
  });
  assert.equal(answer.status, 202);
}

const state = (page) => page.locator("#state");
const says = (page, words) =>
  page.waitForFunction((words) => document.getElementById("state").textContent.includes(words), words);

async function movesByItself(browser) {
  const { page, complaints, sockets } = await openPage(browser);
  await page.goto(link);
  await says(page, "Live:");
  assert.equal(new URL(page.url()).hash, "", "the code has left the address bar");

  // Nothing is asked for from here on: what moves is pushed.
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  const digits = (text) => Number(text.replace(/\D/g, ""));
  let messages = digits(await page.locator('[data-field="messages_processed"]').textContent());
  for (const value of [7, 5]) {
    await record("metrics", { metric_name: "messages", value });
    messages += value;
    await page.waitForFunction((messages) => {
      const shown = document.querySelector('[data-field="messages_processed"]').textContent;
      return Number(shown.replace(/\D/g, "")) === messages;
    }, messages);
  }
  await record("activity", { event_type: "test", title: "<b>Look</b> at this", severity: "high" });
  await page.locator("#events .title", { hasText: "<b>Look</b> at this" }).waitFor();
  assert.deepEqual(asked, []);
  const kinds = sockets.flatMap(({ received }) => received.map((text) => JSON.parse(text).type));
  assert.equal(sockets.length, 1);
  for (const kind of ["welcome", "subscribed", "metrics_update", "activity_snapshot", "activity_event"]) {
    assert.ok(kinds.includes(kind), `${kind} in ${kinds}`);
  }
  assert.deepEqual(complaints, []);
  return { page, complaints, sockets };
}

async function saysWhyAndStaysSilent(browser, address, words) {
  const { page, complaints, sockets, context } = await openPage(browser);
  await page.goto(address);
  await says(page, words);
  await page.waitForLoadState("networkidle");
  assert.equal(sockets.length, 0, "nobody is signed in, so nothing is tried");
  assertOnlyStatuses(complaints, [401]);
  await context.close();
}

// The first pause after an end passes fifty times as quickly, so that what the page would still try it tries while it is watched.
async function hurry(page) {
  await page.evaluate(() => {
    const { setTimeout } = window;
    window.later = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
    window.setTimeout = (what, milliseconds) => setTimeout(what, milliseconds < 1000 ? milliseconds / 50 : milliseconds);
  });
}

async function stopsOnceSignedOut({ page, sockets }) {
  await hurry(page);
  await page.evaluate(() => fetch("/api/v1/kelly/sign-in", { method: "DELETE" }));
  // The server ends the socket before its answer takes the cookie away: a page that asks meanwhile is told that its session was revoked.
  const words = /neither a token nor a session|Ask an administrator/;
  await page.waitForFunction((words) => new RegExp(words).test(document.getElementById("state").textContent), words.source);
  const before = sockets.length;
  // Many of its pauses.
  await page.evaluate(() => window.later(1000));
  assert.equal(sockets.length, before, "it does not try again");
  assert.match(await state(page).textContent(), words);
}

await run(async (browser) => {
  const signedIn = await movesByItself(browser);
  await saysWhyAndStaysSilent(browser, link, "used before");
  await saysWhyAndStaysSilent(browser, `${url}/`, "neither a token nor a session");
  await stopsOnceSignedOut(signedIn);
  assertOnlyStatuses(signedIn.complaints, [401]);
});
