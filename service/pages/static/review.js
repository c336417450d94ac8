// Review by keys. Nothing waits for the service: the next record is there already, and a verdict that could
// not be stored says so and stays.

import { tinykeys } from "./vendor/tinykeys.module.js";
import { tellEffects } from "./effects.js";
import { textAt, send } from "./service.js";

const FEW = 4; // cards left when more are fetched
const RENEW = 240_000; // ms between renewals of what is held

const review = document.getElementById("review");
const model = review.dataset.model;
const deck = document.getElementById("deck");
const next = document.getElementById("next");
const told = document.getElementById("told");
const empty = document.getElementById("empty");
const unfetched = document.getElementById("unfetched");
const unstored = document.getElementById("unstored");
const unread = document.getElementById("unread");
const meter = review.querySelector("progress");
const judged = new Set(); // events of cards that left the deck: they are not offered again
let last = null; // the last verdict: its card, and its label's id once that is known
let fetching = false;
let until = ""; // when the lease on what is held ends, as the service said last

const cards = () => [...deck.querySelectorAll(".card")];
const shown = () => cards().find((card) => !card.hidden);
const entryOf = (card) => [...next.children].find((entry) => entry.dataset.event === card.dataset.event);

function show(card) {
  for (const one of cards()) one.hidden = one !== card;
  for (const link of next.querySelectorAll("a")) link.removeAttribute("aria-current");
  empty.hidden = Boolean(card) || !unfetched.hidden;
  if (!card) return;
  entryOf(card)?.querySelector("a").setAttribute("aria-current", "true");
  card.focus({ preventScroll: true });
  window.scrollTo(0, 0);
  void tellAbout(card);
  tellEffects(card, () => last?.stored);
}

// What else there is to know of a record: fetched once it is shown, as nobody waits for it.
async function tellAbout(card) {
  const about = card.querySelector(".about");
  if (!about.dataset.src) return;
  const from = about.dataset.src;
  delete about.dataset.src;
  try {
    about.innerHTML = await textAt(from);
  } catch {
    about.dataset.src = from;
  }
}

function step(by) {
  const all = cards();
  const place = all.indexOf(shown()) + by;
  if (place >= 0 && place < all.length) show(all[place]);
}

function tell(text, act) {
  told.replaceChildren(document.createTextNode(text));
  if (!act) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small secondary";
  button.textContent = act.name;
  button.addEventListener("click", act.run);
  told.append(" ", button);
}

// Takes a card out of the deck, and shows the one after it.
function take(card) {
  const all = cards();
  const place = all.indexOf(card);
  const following = all[place + 1] ?? all[place - 1];
  judged.add(card.dataset.event);
  entryOf(card)?.remove();
  card.remove();
  show(following);
  if (cards().length < FEW) void refill();
}

function putBack(card) {
  judged.delete(card.dataset.event);
  next.prepend(entry(card));
  deck.prepend(card);
  show(card);
}

async function say(label, card = shown()) {
  if (!card) return;
  const event = card.dataset.event;
  const comment = card.querySelector("[name=comment]").value.trim();
  const verdict = { card, label, stored: null };
  last = verdict;
  take(card);
  tell(`${label === "anomaly" ? "Anomaly" : "Normal"}: ${card.dataset.name}`, { name: "Undo (u)", run: undo });
  const item = comment ? { event_id: event, label, comment } : { event_id: event, label };
  card.dataset.key ??= crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  verdict.stored = store(verdict, item, `${card.dataset.key}-${label}-${card.dataset.turn ?? 0}`);
  await verdict.stored;
}

async function store(verdict, item, key) {
  try {
    const body = { model, labels: [item] };
    const answer = await send("POST", "/feedback", body, { headers: { "Idempotency-Key": key }, keepalive: true });
    forget(verdict);
    count(answer.retraining);
    const receipt = answer.receipts[0];
    if (receipt.status === "second_opinion" && last === verdict) {
      tell("Stored. It contradicts the model, so somebody else is asked too.", { name: "Undo (u)", run: undo });
    }
    return receipt.feedback_id;
  } catch (error) {
    keep(verdict, item, key, error.message);
    return null;
  }
}

async function skip(reason, card) {
  take(card);
  tell(`Skipped: ${card.dataset.name}`);
  try {
    await send("POST", "/claims/skip", { model, event_id: card.dataset.event, reason }, { keepalive: true });
  } catch (error) {
    putBack(card);
    told.setAttribute("role", "alert");
    tell(`Not skipped: ${error.message}`);
  }
}

// For everybody, for so many hours.
async function snooze(fields, card) {
  const seconds = 3_600 * Number(fields.hours.value);
  const asked = { model, event_id: card.dataset.event, reason: fields.reason.value, seconds };
  take(card);
  tell(`Snoozed: ${card.dataset.name}`);
  try {
    await send("POST", "/snoozes", asked, { keepalive: true });
  } catch (error) {
    putBack(card);
    told.setAttribute("role", "alert");
    tell(`Not snoozed: ${error.message}`);
  }
}

function count(retraining) {
  unread.textContent = retraining.new_labels;
  meter.value = retraining.new_labels;
}

// A verdict that was not stored: in a list of its own, until it is.
function keep(verdict, item, key, why) {
  forget(verdict);
  const entry = document.createElement("li");
  const again = document.createElement("button");
  again.type = "button";
  again.className = "small";
  again.textContent = "Try again";
  again.addEventListener("click", () => {
    again.disabled = true;
    verdict.stored = store(verdict, item, key);
  });
  entry.append(`${item.label}: ${verdict.card.dataset.name}: ${why} `, again);
  verdict.entry = entry;
  unstored.querySelector("ul").append(entry);
  unstored.hidden = false;
  told.setAttribute("role", "alert");
  tell(`Not stored: ${why}`);
}

function forget(verdict) {
  verdict.entry?.remove();
  verdict.entry = null;
  unstored.hidden = !unstored.querySelector("li");
}

async function undo() {
  const verdict = last;
  if (!verdict) return;
  last = null;
  const id = verdict.id ?? (await verdict.stored);
  if (id) {
    try {
      count((await send("POST", "/feedback", { model, labels: [{ retract: id }] })).retraining);
    } catch (error) {
      last = verdict;
      tell(`Not taken back: ${error.message}`, { name: "Undo (u)", run: undo });
      return;
    }
  }
  forget(verdict);
  if (verdict.card) {
    verdict.card.dataset.turn = Number(verdict.card.dataset.turn ?? 0) + 1;
    putBack(verdict.card);
  }
  tell("Taken back.");
}

function entry(card) {
  const item = document.createElement("li");
  item.dataset.event = card.dataset.event;
  const link = document.createElement("a");
  link.href = `/review?model=${encodeURIComponent(model)}&event=${encodeURIComponent(card.dataset.event)}`;
  for (const [kind, text] of [["name", card.dataset.name], ["why", card.dataset.why], ["rank", card.dataset.rank]]) {
    const part = document.createElement("span");
    part.className = kind;
    part.textContent = text;
    link.append(part, " ");
  }
  item.append(link);
  return item;
}

function noteLease(within) {
  for (const card of within.querySelectorAll(".card[data-until]")) {
    if (card.dataset.until > until) until = card.dataset.until;
  }
}

async function refill() {
  if (fetching) return;
  fetching = true;
  try {
    const found = document.createElement("template");
    found.innerHTML = await textAt(`/review/more?model=${encodeURIComponent(model)}`);
    unfetched.hidden = true;
    noteLease(found.content);
    const held = [...found.content.querySelectorAll(".card")];
    const known = new Set(cards().map((card) => card.dataset.event));
    for (const card of held) {
      if (known.has(card.dataset.event) || judged.has(card.dataset.event)) continue;
      deck.append(card);
      next.append(entry(card));
    }
    drop(new Set(held.map((card) => card.dataset.event)));
    if (!shown()) show(cards()[0]);
  } catch (error) {
    // the next renewal tries again
    unfetched.querySelector("span").textContent = `What comes next could not be fetched: ${error.message}.`;
    unfetched.hidden = false;
    empty.hidden = true; // nobody knows
  } finally {
    fetching = false;
  }
}

// Cards that are somebody else's by now, but for the one that is looked at.
function drop(held) {
  for (const card of cards()) {
    if (!card.hidden || held.has(card.dataset.event) || !card.dataset.until) continue;
    entryOf(card)?.remove();
    card.remove();
  }
}

deck.addEventListener("submit", (event) => {
  if (event.target.matches(".skip-form")) {
    event.preventDefault();
    void skip(event.target.elements.reason.value, event.target.closest(".card"));
    return;
  }
  if (event.target.matches(".snooze-form")) {
    event.preventDefault();
    void snooze(event.target.elements, event.target.closest(".card"));
    return;
  }
  const label = event.submitter?.value;
  if (!label || event.submitter.name !== "label") return;
  event.preventDefault();
  void say(label, event.target.closest(".card"));
});
next.addEventListener("click", (event) => {
  const card = cards().find((one) => one.dataset.event === event.target.closest("li")?.dataset.event);
  if (!card) return;
  event.preventDefault();
  show(card);
});
told.addEventListener("submit", (event) => {
  event.preventDefault();
  last ??= { card: null, id: event.target.elements.feedback_id.value };
  void undo();
});

const typing = (event) => event.target.closest("input, textarea, select, [contenteditable], dialog[open]");
const key = (run) => (event) => {
  if (typing(event) || event.repeat) return;
  event.preventDefault();
  run();
};
function leave(event) {
  if (!event.target.matches("[name=comment]")) return;
  event.preventDefault();
  shown()?.focus();
}
const skipping = document.getElementById("skip");
skipping.addEventListener("submit", (event) => {
  const reason = event.submitter.value || skipping.querySelector("[name=other]").value.trim();
  if (reason) void skip(reason, shown());
  else event.preventDefault();
});
skipping.addEventListener("keydown", (event) => {
  if (event.target.matches("input")) return;
  skipping.querySelector(`[aria-keyshortcuts="${CSS.escape(event.key)}"]`)?.click();
});
function askWhyToSkip() {
  if (!shown()) return;
  skipping.querySelector("form").reset();
  skipping.showModal();
}
const keys = document.getElementById("keys");
tinykeys(window, {
  a: key(() => say("anomaly")),
  n: key(() => say("normal")),
  s: key(askWhyToSkip),
  z: key(() => shown()?.querySelector(".snooze-form [name=reason]").focus()),
  u: key(undo),
  j: key(() => step(1)),
  k: key(() => step(-1)),
  c: key(() => shown()?.querySelector("[name=comment]").focus()),
  "Shift+?": key(() => keys.showModal()),
  "?": key(() => keys.showModal()),
  Escape: leave,
  Enter: leave, // a comment goes with the verdict, which the next key gives
});

setInterval(refill, RENEW);
window.addEventListener("pagehide", () => {
  if (!until) return;
  const held = { model, claimed_until: until }; // not what another page of ours, or this one anew, renewed since
  void send("POST", "/claims/release", held, { keepalive: true }).catch(() => {});
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) void refill();
});
window.addEventListener("beforeunload", (event) => {
  if (!unstored.hidden) event.preventDefault();
});
noteLease(deck);
if (shown()) show(shown());
