// The loop as it goes: whatever changes in a job is fetched as the page shows it.

import { textAt } from "./service.js";

const job = document.getElementById("job");
const model = job.dataset.model;
const LOOK = 3_000; // ms between looks for a job that began meanwhile
const TAKEN_UP = [1_500, 6_000]; // ms after a job's end by which replicas serve what it made
const PARTS = ["standing", "jobs", "receipts", "versions"];
const stale = document.getElementById("stale");
let following = null;
let fetching = false;
let again = false;

function follow() {
  const id = job.querySelector("[data-live]")?.dataset.live;
  if (following?.id === id) return;
  following?.source.close();
  following = null;
  if (!id) return;
  const source = new EventSource(`/jobs/${encodeURIComponent(id)}/events`);
  source.addEventListener("job", () => void refresh(id));
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED && following?.source === source) following = null; // `look` goes on
  });
  following = { id, source };
}

// One fetch at a time; what changes meanwhile asks for another.
async function refresh(id) {
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  try {
    do {
      again = false;
      const found = await parsed(`/loop/job?model=${encodeURIComponent(model)}&job=${encodeURIComponent(id)}`);
      const hadFocus = job.contains(document.activeElement);
      job.replaceChildren(...found.body.children);
      if (hadFocus) job.querySelector("button, a")?.focus();
    } while (again);
    stale.hidden = true;
    if (!job.querySelector("[data-live]")) {
      follow();
      await refreshAround();
      for (const later of TAKEN_UP) setTimeout(() => void refreshAround().catch(tellStale), later);
    }
  } catch (error) {
    tellStale(error); // the stream comes back by itself, and says so again
  } finally {
    fetching = false;
  }
}

async function parsed(path) {
  return new DOMParser().parseFromString(await textAt(path), "text/html");
}

// What is on the page stays, and is said to be old.
function tellStale(error) {
  stale.textContent = `This is not followed any more: ${error.message}.`;
  stale.hidden = false;
}

// The rest of the page, once a job has ended or another has begun.
async function refreshAround() {
  const found = await parsed(location.href);
  for (const id of PARTS) {
    const [old, fresh] = [document.getElementById(id), found.getElementById(id)];
    if (old && fresh && !holdsFocus(old)) old.replaceChildren(...fresh.children);
  }
  return found;
}

// Nobody's words are taken away while they are written.
function holdsFocus(part) {
  return part.contains(document.activeElement) && document.activeElement.matches("input:not([type=hidden])");
}

async function look() {
  if (following || document.hidden) return;
  try {
    const newest = JSON.parse(await textAt(`/jobs?limit=1&model=${encodeURIComponent(model)}`)).jobs[0];
    stale.hidden = true;
    follow();
    if (!newest || document.querySelector(`#jobs [data-job="${CSS.escape(newest.job_id)}"]`)) return;
    await refreshAround();
    if (new URL(location.href).searchParams.has("job")) return;
    await refresh(newest.job_id);
    follow();
  } catch (error) {
    tellStale(error); // the next look tries again
  }
}

follow();
setInterval(look, LOOK);
