// Calls of the gateway: Connect's JSON, plain and streamed.

const SERVED = "quadrant.v1.QuadrantService";
const PLAYGROUND = "quadrant.v1.PlaygroundService";
const OF = { Inspect: PLAYGROUND, Train: PLAYGROUND };

export const path = (method) => `${OF[method] ?? SERVED}/${method}`;

// The calls made last, for "Copy as": what is copied is what was sent.
export const last = {};

export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// One that nobody answered: the gateway or the server behind it is away.
export const isAway = (error) => error.code === "unavailable" || error.code === "deadline_exceeded";

// What the browser throws, in our words; the answer to a call can break off after it has begun.
async function reached(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "TimeoutError") throw new Refused("deadline_exceeded", "No answer in time.");
    throw new Refused("unavailable", "The page's gateway does not answer.");
  }
}

const post = (method, body, headers, signal) => reached(() => fetch(path(method), { method: "POST", body, headers, signal }));

async function refusal(response) {
  try {
    const { code, message } = await response.json();
    return new Refused(code ?? "unknown", message ?? response.statusText);
  } catch {
    return new Refused("unknown", `The gateway answered ${response.status}.`);
  }
}

export async function call(method, request, { milliseconds = 8000, quiet = false } = {}) {
  if (!quiet) last[method] = request;
  const headers = { "Content-Type": "application/json", "Connect-Timeout-Ms": String(milliseconds) };
  const response = await post(method, JSON.stringify(request), headers, AbortSignal.timeout(milliseconds + 500));
  if (!response.ok) throw await refusal(response);
  return reached(() => response.json());
}

function enveloped(request) {
  const text = new TextEncoder().encode(JSON.stringify(request));
  const body = new Uint8Array(5 + text.length);
  new DataView(body.buffer).setUint32(1, text.length);
  body.set(text, 5);
  return body;
}

export async function* stream(method, request, signal, { quiet = false } = {}) {
  if (!quiet) last[method] = request;
  const headers = { "Content-Type": "application/connect+json" };
  const response = await post(method, enveloped(request), headers, signal);
  if (!response.ok) throw await refusal(response);
  const reader = response.body.getReader();
  let held = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reached(() => reader.read());
    if (done) throw new Refused("unavailable", "The gateway went away in the middle of the run.");
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    held = joined;
    while (held.length >= 5) {
      const length = new DataView(held.buffer, held.byteOffset).getUint32(1);
      if (held.length < 5 + length) break;
      const message = JSON.parse(new TextDecoder().decode(held.subarray(5, 5 + length)));
      const flags = held[0];
      held = held.subarray(5 + length);
      if (flags & 2) {
        if (message.error) throw new Refused(message.error.code, message.error.message);
        return;
      }
      yield message;
    }
  }
}

export function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
