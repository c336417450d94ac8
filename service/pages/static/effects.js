// What a verdict will do: fetched once a record has been on the screen for a moment, so that no key waits for it.

const MOMENT = 400; // ms

export function tellEffects(card) {
  const place = card.querySelector(".effects");
  if (!place?.dataset.src) return;
  setTimeout(async () => {
    const from = place.dataset.src;
    if (!from || card.hidden || !card.isConnected) return;
    delete place.dataset.src;
    try {
      const answer = await fetch(from);
      if (answer.ok) place.innerHTML = await answer.text();
    } catch {
      place.dataset.src = from;
    }
  }, MOMENT);
}
