// A school's back end on Express: checkouts, uploads, lessons, and the events that Nouba sends.
//
// npm ci
// export NOUBA_URL=... NOUBA_TOKEN=... NOUBA_EVENTS_SECRET=whsec_...  # examples/README.md prints them
// PORT=3000 npm start

import { DatabaseSync } from "node:sqlite";
import express from "express";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const { NOUBA_URL, NOUBA_TOKEN, NOUBA_EVENTS_SECRET, SCHOOL_DATABASE = "school.sqlite3", PORT = "3000" } = process.env;

const database = new DatabaseSync(SCHOOL_DATABASE);
database.exec("CREATE TABLE IF NOT EXISTS nouba_events (id TEXT UNIQUE, type TEXT)");
const remember = database.prepare("INSERT INTO nouba_events VALUES (?, ?) ON CONFLICT DO NOTHING");

class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// A call of Nouba's API; a refusal becomes ours, with the sentence that says what to do.
async function nouba(method, path, body) {
  const answer = await fetch(NOUBA_URL + path, {
    method,
    headers: { authorization: `Bearer ${NOUBA_TOKEN}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(15_000),
  });
  const found = await answer.json();
  if (!answer.ok) throw new Refusal(answer.status, found.detail ?? "Nouba refused");
  return found;
}

const app = express();

// An event of Nouba's, signed as Standard Webhooks has it; it may come more than once.
// Before express.json(): the signature is over the bytes of the body.
app.post("/nouba-events", express.raw({ type: "application/json" }), (request, response) => {
  let event;
  try {
    event = new Webhook(NOUBA_EVENTS_SECRET).verify(request.body, request.headers);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    return response.sendStatus(401);
  }
  // in an application of yours: one transaction with what the event changes, so that a crash loses neither
  const isNew = remember.run(request.headers["webhook-id"], event.type).changes === 1;
  if (isNew) console.log("event", event.type);
  response.sendStatus(204);
});

app.use(express.json(), express.urlencoded());

// Send the payer to the provider. Sent twice, it is the same checkout.
app.post("/orders/:number/pay", async (request, response) => {
  const checkout = await nouba("POST", "/api/v1/checkouts", {
    provider: request.body?.provider ?? "chargily",
    // from your session and your own price list: never from the browser
    user_id: 7,
    order_number: request.params.number,
    amount_minor: 250_000,
    currency: "DZD",
    return_url: `${request.protocol}://${request.host}/orders/${request.params.number}`,
  });
  response.redirect(303, checkout.redirect_url);
});

// Where the payer comes back to. The return proves nothing; the payment does.
app.get("/orders/:number", async (request, response) => {
  const page = await nouba("GET", `/api/v1/payments?order_number=${encodeURIComponent(request.params.number)}`);
  const isPaid = page.items.some((payment) => payment.status === "completed");
  response.json({ order_number: request.params.number, is_paid: isPaid });
});

// Where the teacher's browser puts the file: the bytes never pass through this application.
app.post("/courses/:id/upload", async (request, response) => {
  response.json(await nouba("POST", `/api/v1/courses/${Number(request.params.id)}/video`, request.body));
});

// The browser has put the whole file; Nouba transcodes it.
app.post("/courses/:id/upload/complete", async (request, response) => {
  const accepted = await nouba("POST", `/api/v1/courses/${Number(request.params.id)}/video/complete`, request.body);
  response.status(202).json(accepted);
});

// The address for the player, for one viewer who may watch: check that first.
app.get("/courses/:id/lesson", async (request, response) => {
  response.json(await nouba("GET", `/api/v1/courses/${Number(request.params.id)}/playback?viewer=7`));
});

app.use((error, request, response, next) => {
  if (!(error instanceof Refusal)) return next(error);
  response.status(error.status).json({ error: error.message });
});

app.listen(Number(PORT), "127.0.0.1");
