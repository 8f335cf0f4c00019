// Shows the live figures: asks every few seconds while the page is visible, keeps the last figures and
// says how old they are when the server does not answer.
"use strict";

const FIGURES_URL = "/api/v1/kelly/monitoring/metrics";
const PAUSE_MS = 5000;
const LONGEST_PAUSE_MS = 60000;
const ANSWER_WITHIN_MS = 10000;

const number = (options) => {
  const format = new Intl.NumberFormat(undefined, options);
  return (value) => format.format(value);
};
const decimal = number({ maximumFractionDigits: 1 });
const FORMATS = {
  count: number({ maximumFractionDigits: 0 }),
  ratio: number({ minimumFractionDigits: 2, maximumFractionDigits: 2 }),
  milliseconds: (value) => `${decimal(value)} ms`,
  percent: (value) => `${decimal(value)} %`,
  dollars: number({ style: "currency", currency: "USD" }),
};

const state = document.getElementById("state");
const age = document.getElementById("age");
const figures = document.getElementById("figures");
let lastAnswer = null;
let failures = 0;
let timer = null;
let asking = false;

// The status is read aloud when its text changes, so it changes with the state, not with each answer.
function tell(text, stale) {
  if (state.textContent !== text) state.textContent = text;
  state.toggleAttribute("data-stale", stale);
  figures.toggleAttribute("data-stale", stale);
  tellAge();
}

// Beside the status, not in it: it changes each second and nobody wants that read aloud.
function tellAge() {
  const stale = state.hasAttribute("data-stale");
  if (!stale || !lastAnswer) {
    age.textContent = "";
    return;
  }
  const seconds = Math.max(0, Math.round((Date.now() - lastAnswer) / 1000));
  const text = seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`;
  age.textContent = `The figures are ${text} old.`;
}

function show(answer) {
  for (const field of figures.querySelectorAll("[data-field]")) {
    const value = answer[field.dataset.field];
    const missing = value === null || value === undefined;
    field.textContent = missing ? "–" : FORMATS[field.dataset.format](value);
  }
}

async function figuresNow() {
  const response = await fetch(FIGURES_URL, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail ?? `the server answered ${response.status}`);
  return body;
}

async function ask() {
  clearTimeout(timer);
  if (document.hidden || asking) return;
  asking = true;
  try {
    show(await figuresNow());
    lastAnswer = new Date();
    failures = 0;
    tell(`Live: new figures every ${PAUSE_MS / 1000} seconds.`, false);
  } catch (error) {
    failures += 1;
    const reason = error instanceof TypeError || error.name === "TimeoutError"
      ? "Disconnected: Kelly does not answer. Is it still running?"
      : error.message;
    tell(reason, true);
  } finally {
    asking = false;
  }
  // Growing pauses with some chance in them, so that many pages do not come back at one instant.
  const pause = Math.min(PAUSE_MS * 2 ** Math.min(failures, 5), LONGEST_PAUSE_MS);
  timer = setTimeout(ask, failures ? pause * (0.75 + Math.random() / 2) : pause);
}

for (const place of document.querySelectorAll("[data-origin]")) place.textContent = location.origin;
setInterval(tellAge, 1000);
document.addEventListener("visibilitychange", ask);
ask();
