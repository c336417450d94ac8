// The loop as it goes: whatever changes in a job is fetched as the page shows it.

const job = document.getElementById("job");
const model = job.dataset.model;
const LOOK = 3_000; // ms between looks for a job that began meanwhile
const TAKEN_UP = [1_500, 6_000]; // ms after a job's end by which replicas serve what it made
const PARTS = ["standing", "jobs", "receipts", "versions"];
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
      const answer = await fetch(`/loop/job?model=${encodeURIComponent(model)}&job=${encodeURIComponent(id)}`);
      if (!answer.ok) return;
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      const hadFocus = job.contains(document.activeElement);
      job.replaceChildren(...found.body.children);
      if (hadFocus) job.querySelector("button, a")?.focus();
    } while (again);
  } catch {
    // the stream comes back by itself, and says so again
  } finally {
    fetching = false;
  }
  if (!job.querySelector("[data-live]")) {
    follow();
    await refreshAround();
    for (const later of TAKEN_UP) setTimeout(() => void refreshAround().catch(() => {}), later);
  }
}

// The rest of the page, once a job has ended or another has begun.
async function refreshAround() {
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const found = new DOMParser().parseFromString(await answer.text(), "text/html");
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
    const answer = await fetch(`/jobs?limit=1&model=${encodeURIComponent(model)}`);
    const newest = answer.ok ? (await answer.json()).jobs[0] : null;
    if (!newest || document.querySelector(`#jobs [data-job="${CSS.escape(newest.job_id)}"]`)) return;
    await refreshAround();
    if (new URL(location.href).searchParams.has("job")) return;
    await refresh(newest.job_id);
    follow();
  } catch {
    // the next look tries again
  }
}

follow();
setInterval(look, LOOK);
