// Shows the live figures and the newest events as the server sends them, keeps the last ones and says how old the figures are when
// it does not.
"use strict";

const EVENTS_SHOWN = 20;

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
const events = document.getElementById("events");
let lastAnswer = null;

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

const time = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

// Texts of events are somebody else's: they are only ever set as text.
function line(event) {
  const item = document.createElement("li");
  const put = (name, text) => {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    item.append(part, " ");
  };
  put("when", time.format(new Date(event.created_at)));
  put("severity", event.severity);
  put("title", event.title);
  put("whose", [event.event_type, event.account_id].filter(Boolean).join(" · "));
  item.dataset.severity = event.severity;
  return item;
}

// The code of a sign-in link stands behind "#", which is sent to nobody. It leaves the address bar before it is used.
async function signInByLink() {
  const code = new URLSearchParams(location.hash.slice(1)).get("sign-in");
  if (!code) return;
  history.replaceState(null, "", location.pathname + location.search);
  const response = await fetch(SIGN_IN_URL, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ code }),
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  });
  if (!response.ok) throw new Error((await response.json()).detail);
}

// Events that come within one frame are shown together.
let waiting = [];
function showWaiting() {
  const lines = waiting.slice(-EVENTS_SHOWN).map(line).reverse();
  waiting = [];
  events.prepend(...lines);
  while (events.children.length > EVENTS_SHOWN) events.lastElementChild.remove();
}

let shown = {};
function take(message) {
  switch (message.type) {
    case "metrics_update":
      shown = message.partial ? { ...shown, ...message.data } : message.data;
      show(shown);
      lastAnswer = new Date();
      break;
    case "position":
      // Nothing has changed: these are the newest.
      if (message.room === "monitoring_dashboard") lastAnswer = new Date();
      break;
    case "activity_snapshot":
      events.replaceChildren(...message.data.events.slice(0, EVENTS_SHOWN).map(line));
      break;
    case "activity_event":
      if (waiting.push(message.data) === 1) requestAnimationFrame(showWaiting);
      else if (waiting.length > EVENTS_SHOWN) waiting.shift();
      break;
  }
}

function follow(how, why) {
  if (how === "live") tell("Live: figures and events move as they come.", false);
  else if (how === "ended") tell(`Ended by Kelly (${why || "without a reason"}). Load the page again.`, true);
  else if (how === "signed_out") tell(why, true);
  else if (why === "shutting_down") tell("Kelly is stopping. Connecting again …", true);
  else tell("Disconnected: Kelly does not answer. Is it still running?", true);
}

for (const place of document.querySelectorAll("[data-origin]")) place.textContent = location.origin;
setInterval(tellAge, 1000);
// Follows whether or not the link worked: a browser may be signed in already.
async function start() {
  const broken = await signInByLink().then(() => null, (error) => error.message);
  const refusal = await whyNotSignedIn();
  if (refusal) tell(broken ?? refusal, true);
  else connectLive(["monitoring_dashboard", "activity_feed"], { onMessage: take, onState: follow });
}

// A link that is opened where the page is already open changes only what stands behind "#".
window.addEventListener("hashchange", () => signInByLink().then(() => location.reload(), (error) => tell(error.message, true)));
start();
