// A real Chromium for the tests: opened fresh, watched for errors, and closed at the end.
//
// KELLY_TEST_BROWSER names the folder that `scripts/setup browser` fills; KELLY_TEST_CHROMIUM another Chromium.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.KELLY_TEST_BROWSER, "package.json"))("playwright-core");

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
];

// What the test is to do, as its caller wrote it.
export const plan = JSON.parse(process.argv[2]);

// Runs a test in a browser, whatever becomes of it closes that, and prints the result as one line of JSON.
export async function run(test) {
  const browser = await chromium.launch({
    executablePath: process.env.KELLY_TEST_CHROMIUM || "/usr/bin/chromium",
    args: FLAGS,
  });
  try {
    console.log(JSON.stringify((await test(browser)) ?? null));
  } finally {
    await browser.close();
  }
}

// A page of its own, with cookies of its own. What it complains about is gathered in `complaints`: errors, and what its policy
// forbids. Its WebSockets are gathered in `sockets`.
export async function openPage(browser, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints = [];
  const sockets = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("websocket", (socket) => {
    const seen = { received: [] };
    socket.on("framereceived", ({ payload }) => seen.received.push(payload));
    sockets.push(seen);
  });
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  return { context, page, complaints, sockets };
}

// Chromium itself complains of an answer with an error status; where the test wants one, nothing else may be complained of.
export function assertOnlyStatuses(complaints, statuses) {
  const others = complaints.filter((text) => !statuses.some((status) => text.includes(`responded with a status of ${status}`)));
  assert.deepEqual(others, []);
}

// Opens a session for the page with a token, as a browser may. The start page looks who is signed in before that: 401.
export async function signIn({ page, complaints }, url, token) {
  await page.goto(`${url}/`);
  await page.waitForLoadState("networkidle");
  const status = await page.evaluate(async (token) => {
    const headers = { "content-type": "application/json" };
    return (await fetch("/api/v1/kelly/sign-in", { method: "POST", headers, body: JSON.stringify({ token }) })).status;
  }, token);
  assert.equal(status, 200);
  assertOnlyStatuses(complaints.splice(0), [401]);
}
