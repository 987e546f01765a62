// Talking with the server: requests with the token, and the live connection that comes back by itself.

const WAIT_SECONDS = 15;
const FIRST_DELAY = 1;
const LONGEST_DELAY = 30;
const SILENCE_SECONDS = 50; // the server says at least every 20 s that it is there

export class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem?.message ?? `The server answered with status ${status}.`);
    this.status = status;
    this.nextStep = problem?.next_step ?? null;
    this.retryAfter = Number(retryAfter) || 0;
  }
}

const KINDS = ["run", "snapshot", "alert"];

// Null if the server does not answer; Refused if it does, but not with what was asked for.
export async function get(path, token) {
  let response;
  try {
    response = await fetch(path, {
      headers: { Authorization: `Bearer ${token}`, Accept: "application/json" },
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(WAIT_SECONDS * 1000),
    });
  } catch {
    return null;
  }
  const document = await response.json().catch(() => null);
  if (response.ok && document !== null) return document;
  throw new Refused(response.status, document?.error, response.headers.get("Retry-After"));
}

function subprotocols(token) {
  const text = btoa(String.fromCharCode(...new TextEncoder().encode(token)));
  const url = text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return ["fluxhero.v1", `base64url.bearer.${url}`];
}

// Tells `told` each state (connecting, live, polling, lost) and `heard` each event. After a break `check`
// asks the server itself: it answers "ok", "denied" or "away", and how long to stay away.
export class Live {
  #token;
  #handlers;
  #socket = null;
  #timer = 0;
  #failures = 0;
  #stopped = false;
  #heardAt = 0;

  constructor(token, handlers) {
    this.#token = token;
    this.#handlers = handlers;
    this.#connect();
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  // At once, not when the time comes.
  retry() {
    if (this.#stopped || this.#socket !== null) return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  // A connection over which nothing comes any more still looks open.
  dropIfSilent() {
    if (this.open && Date.now() - this.#heardAt > SILENCE_SECONDS * 1000) this.drop();
  }

  drop() {
    const socket = this.#socket;
    if (socket === null) return;
    this.#socket = null;
    socket.close();
    this.#broken();
  }

  #connect() {
    const address = new URL("/ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, subprotocols(this.#token));
    this.#socket = socket;
    socket.addEventListener("open", () => {
      if (socket !== this.#socket) return;
      this.#failures = 0;
      this.#heardAt = Date.now();
      this.#handlers.told("live");
      this.#handlers.check();
    });
    socket.addEventListener("message", (message) => {
      if (socket === this.#socket) this.#hear(message.data);
    });
    socket.addEventListener("close", () => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      this.#broken();
    });
  }

  #hear(text) {
    this.#heardAt = Date.now();
    try {
      const event = JSON.parse(text);
      if (KINDS.includes(event?.kind)) this.#handlers.heard(event);
    } catch {
      // Not an event of ours; the next one may be.
    }
  }

  async #broken() {
    if (this.#stopped) return;
    this.#failures += 1;
    const { outcome, wait } = await this.#handlers.check();
    if (this.#stopped || outcome === "denied") return;
    const backOff = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** (this.#failures - 1));
    const delay = Math.max(wait, backOff * (0.75 + Math.random() / 2));
    this.#handlers.told(outcome === "ok" ? "polling" : "lost", Date.now() + delay * 1000);
    this.#timer = setTimeout(() => this.#connect(), delay * 1000);
  }
}
