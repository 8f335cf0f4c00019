// Kelly's live push for a page: one WebSocket that connects again, resumes where it was, and says how it is. docs/live.md has the
// messages.
"use strict";

const LIVE_PATH = "/ws/kelly/monitoring";
const SUBPROTOCOL = "kelly.v1";
const SHORTEST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30000;
// How long opening a connection may take, and what may be late beyond two intervals of the server.
const OPENING_MS = 20000;
const LATE_MS = 5000;
// Said by the browser (1005, 1006), or by what stands between: going away, restarting, try later, bad gateway.
const PASSING = new Set([1001, 1005, 1006, 1012, 1013, 1014]);
const isFinal = (code) => !PASSING.has(code) && (code < 4000 || code > 4499);

const SIGN_IN_URL = "/api/v1/kelly/sign-in";
const ANSWER_WITHIN_MS = 10000;
// After these a token is not in force any more, or may not be.
const OF_TOKENS = new Set([4001, 4503]);

// What to tell who is not signed in; null for who is, and while nobody answers.
async function whyNotSignedIn() {
  try {
    const who = await fetch(SIGN_IN_URL, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    return who.status === 401 ? (await who.json()).detail : null;
  } catch {
    return null;
  }
}

// Calls onMessage with each message about a room, and onState with "live", "away", "ended" or "signed_out" and why.
function connectLive(rooms, { onMessage, onState }) {
  const positions = new Map();
  let failures = 0;

  function note(message) {
    const { type, room, epoch } = message;
    if (type === "activity_snapshot") {
      // Only now: who is cut before it has nothing to go on from, and gets one when they come back.
      positions.set(room, { epoch, offsets: message.offsets });
    } else if (type === "position" && positions.has(room)) {
      positions.set(room, { epoch, offsets: message.offsets });
    } else if (type === "activity_event") {
      const position = positions.get(room);
      if (position) position.offsets[message.partition] = message.next;
    } else if (type === "reset") {
      positions.delete(room);
    }
  }

  function connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}${LIVE_PATH}`, SUBPROTOCOL);
    // A line may be dead without saying so (a computer that slept, a router that forgot it), so the server is asked for an answer
    // now and then, and a long silence is an end.
    let patience = OPENING_MS;
    let hasFollowed = false;
    let silence, asking;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => over(1006, "silent"), patience);
    };
    heard();
    socket.onopen = () => {
      socket.send(JSON.stringify({ type: "subscribe", rooms, resume: Object.fromEntries(positions) }));
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "welcome") {
        const interval = message.ping_interval * 1000;
        patience = 2 * interval + LATE_MS;
        asking = setInterval(() => socket.send('{"type":"ping"}'), interval);
      }
      heard();
      if (message.type === "subscribed") {
        hasFollowed = true;
        failures = 0;
        onState("live");
      }
      note(message);
      onMessage(message);
    };
    socket.onclose = ({ code, reason }) => over(code, reason);
    async function over(code, reason) {
      clearTimeout(silence);
      clearInterval(asking);
      // A line that is dead says so late or never.
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      if (!isFinal(code)) onState("away", reason);
      // To a page a connection that is refused looks like one that is cut: only asking tells.
      const refusal = !hasFollowed || OF_TOKENS.has(code) ? await whyNotSignedIn() : null;
      if (refusal) {
        onState("signed_out", refusal);
        return;
      }
      if (isFinal(code)) {
        onState("ended", reason);
        return;
      }
      failures += 1;
      // Growing pauses with some chance in them, so that many pages do not come back at one instant.
      const pause = Math.min(SHORTEST_PAUSE_MS * 2 ** Math.min(failures - 1, 6), LONGEST_PAUSE_MS);
      setTimeout(connect, pause * (0.5 + Math.random()));
    }
  }
  connect();
}
