// The API's page for people: routes are tried with a browser's session, and with a token that is typed in.
//
//   api_docs.mjs '{"url": "http://…", "token": "…"}'
import assert from "node:assert/strict";
import { assertOnlyStatuses, openPage, plan, run, signIn } from "./browser.mjs";

const { url, token } = plan;

// Opens a route of the page, lets it be executed as it stands there, and gives the status that is shown.
async function tried(page, tag, operation) {
  const block = page.locator(`#operations-${tag}-${operation}`);
  if (!(await block.evaluate((element) => element.classList.contains("is-open")))) {
    await block.locator(".opblock-summary-control").click();
  }
  const answered = page.waitForResponse((response) => response.url().includes("/api/v1/"));
  await block.locator("button.execute").click();
  const status = (await answered).status();
  await block.locator(".live-responses-table .response-col_status", { hasText: String(status) }).waitFor();
  return status;
}

async function both(page) {
  return [await tried(page, "metrics", "metrics_overview"), await tried(page, "recording", "record_metrics")];
}

await run(async (browser) => {
  const opened = await openPage(browser);
  const { page, context, complaints } = opened;
  const elsewhere = [];
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) elsewhere.push(request.url());
  });
  await signIn(opened, url, token);
  await page.goto(`${url}/api/docs/`);
  assert.deepEqual(await both(page), [200, 202], "with the session");
  assert.deepEqual(complaints, []);

  await context.clearCookies();
  assert.deepEqual(await both(page), [401, 401], "with nothing");
  assertOnlyStatuses(complaints, [401]);

  await page.locator(".auth-wrapper button.authorize").first().click();
  const bearer = page.locator(".auth-container", { hasText: "bearer" }).first();
  await bearer.locator("input").fill(token);
  await bearer.locator("button.authorize").click();
  await page.locator(".btn-done").first().click();
  assert.deepEqual(await both(page), [200, 202], "with a token");
  assertOnlyStatuses(complaints, [401]);
  assert.deepEqual(elsewhere, [], "the page needs nobody else");
});
