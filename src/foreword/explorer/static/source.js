// Where the answers to a page's questions come from: the server. An exported page has offline/source.js in its place,
// which answers the same questions in the browser.

/** Whether this is an exported page, which computes everything itself. */
export const exported = false;

/** The answer to a question: { ok, answer }, where answer is a problem if not ok. */
export async function answerTo(path, { body, query, signal } = {}) {
  const url = new URL(`/api/v1/${path}`, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
  const request = { signal, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    request.method = "POST";
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(url, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is foreword explore still running?");
  }
  return { ok: response.ok, answer: await response.json() };
}
