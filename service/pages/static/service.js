// The public routes, with the session's cookie and its token. Errors are the problem's own words.

const csrf = document.body.dataset.csrf;

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export async function send(method, path, body, more = {}) {
  const headers = { "Content-Type": "application/json", ...more.headers };
  if (csrf) headers["X-CSRF-Token"] = csrf;
  let answer;
  try {
    answer = await fetch(path, { ...more, method, headers, body: JSON.stringify(body) });
  } catch {
    throw new Refused("the service cannot be reached", 0);
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(wordsOf(found, answer.status), answer.status);
  return found;
}

function wordsOf(problem, status) {
  if (status === 401) return "you are signed out: sign in again in another tab, then try again";
  const first = problem.errors?.[0]?.detail;
  return first ?? problem.detail ?? `the service answered ${status}`;
}
