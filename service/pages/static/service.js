// The public routes, with the session's cookie and its token. Errors are the problem's own words.

let csrf = document.body.dataset.csrf;

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const SIGNED_OUT = "you are signed out: sign in again in another tab, then try again";

// What is read at a path, as text. Who was signed out meanwhile is led to another page: that is none.
export async function textAt(path) {
  let answer;
  try {
    answer = await fetch(path);
  } catch {
    throw new Refused("the service cannot be reached", 0);
  }
  if (answer.redirected || answer.status === 401) throw new Refused(SIGNED_OUT, 401);
  if (!answer.ok) throw new Refused(`the service answered ${answer.status}`, answer.status);
  return answer.text();
}

export async function send(method, path, body, more = {}) {
  const answered = await ask(method, path, body, more);
  const again = answered.status === 403 && answered.found.type?.endsWith(":csrf-token") && (await renewed());
  const { status, found, ok } = again ? await ask(method, path, body, more) : answered;
  if (!ok) throw new Refused(wordsOf(found, status), status);
  return found;
}

async function ask(method, path, body, more) {
  const headers = { "Content-Type": "application/json", ...more.headers };
  if (csrf) headers["X-CSRF-Token"] = csrf;
  let answer;
  try {
    answer = await fetch(path, { ...more, method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Refused("the service cannot be reached", 0);
  }
  return { status: answer.status, ok: answer.ok, found: await answer.json().catch(() => ({})) };
}

// Whether the same analyst has signed in again, in another tab: this one may go on.
async function renewed() {
  const { ok, found } = await ask("GET", "/session", undefined, {});
  const { name, analyst } = document.body.dataset;
  if (!ok || found.name !== name || found.analyst !== analyst) return false;
  csrf = found.csrf;
  return true;
}

function wordsOf(problem, status) {
  if (status === 401) return SIGNED_OUT;
  const first = problem.errors?.[0]?.detail;
  return first ?? problem.detail ?? `the service answered ${status}`;
}
