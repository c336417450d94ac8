// What a verdict will do: fetched once a record has been on the screen for a moment, so that no key waits for it,
// and the verdict before it is stored, so that it counts.

import { textAt } from "./service.js";

const MOMENT = 1000; // ms: who is faster than that does not read it

// `stored`: gives the promise of the verdict before, where there is one.
export function tellEffects(card, stored) {
  const place = card.querySelector(".effects");
  if (!place?.dataset.src) return;
  setTimeout(async () => {
    await stored();
    const from = place.dataset.src;
    if (!from || card.hidden || !card.isConnected) return;
    delete place.dataset.src;
    try {
      place.innerHTML = await textAt(from);
    } catch {
      place.dataset.src = from;
    }
  }, MOMENT);
}
