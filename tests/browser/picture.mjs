// The picture of the start page in README: signed in, live, in light and in dark.
//
//   KELLY_TEST_BROWSER=~/.cache/kelly/browser node tests/browser/picture.mjs '{"link": "http://…/#sign-in=…", "into": "docs"}'
//
// The link is one that `kelly sign-in` prints of a running `kelly up --demo`.
import assert from "node:assert/strict";
import { openPage, plan, run } from "./browser.mjs";

const EVENTS = 8;

await run(async (browser) => {
  const size = { width: 1280, height: 1000 };
  const { page, complaints } = await openPage(browser, { viewport: size, colorScheme: "light", deviceScaleFactor: 1 });
  await page.goto(plan.link);
  await page.waitForFunction((count) => {
    const isLive = document.getElementById("state").textContent.startsWith("Live:");
    const hasFigures = [...document.querySelectorAll("#figures dd")].every((figure) => figure.textContent !== "–");
    return isLive && hasFigures && document.querySelectorAll("#events li").length >= count;
  }, EVENTS);
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.screenshot({ path: `${plan.into}/start-page-${scheme}.png` });
  }
  assert.deepEqual(complaints, []);
});
