// The HTTP interface by its own description, which is asked of this host and of no other.
"use strict";

const READS = ["GET", "HEAD"];

// A write by somebody who is signed in needs his session's token; with an API key, or where none is needed, none.
async function withToken(request) {
  if (!READS.includes((request.method ?? "GET").toUpperCase())) {
    const session = await fetch("/session");
    const { csrf } = session.ok ? await session.json() : {};
    if (csrf) request.headers["X-CSRF-Token"] = csrf;
  }
  return request;
}

SwaggerUIBundle({
  dom_id: "#docs",
  url: "/openapi.json",
  validatorUrl: null, // it would be another host
  deepLinking: true,
  docExpansion: "list",
  tryItOutEnabled: true,
  displayRequestDuration: true,
  requestInterceptor: withToken,
});
