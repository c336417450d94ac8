// A program as a user of the generated client writes it: what /score answers is typed, reasons and all.
import createClient from "openapi-fetch";
import type { components, paths } from "./service.js";

type Row = components["schemas"]["ScoreResult"] | components["schemas"]["ScoreFailure"];

const [, , url, sent] = process.argv;
const client = createClient<paths, "application/json" | "application/problem+json">({ baseUrl: url }); // no lines

function told(row: Row): string {
  if ("error" in row) {
    return `${row.id}: ${row.error.type} in ${row.error.field ?? "the record"}`;
  }
  const verdict: boolean = row.anomaly;
  const percentile: number = row.percentile;
  const kept: string | undefined = row.event_id;
  const why: string[] = (row.reasons ?? []).map((reason) => `${reason.feature} ${reason.effect.toFixed(4)}`);
  return `${row.id}: ${verdict} ${percentile.toFixed(2)} ${kept ?? "not kept"} [${why.join(", ")}]`;
}

const { data, error } = await client.POST("/score", { body: JSON.parse(sent) });
if (error !== undefined) {
  console.log(`${error.status} ${error.type}: ${error.field ?? "no field"}`);
} else if (Array.isArray(data.results)) {
  console.log(data.results.map(told).join("\n"));
} else {
  const scores: (number | null)[] = data.results.score;
  const problems = (data.errors ?? []).map((problem) => `${problem.index} ${problem.field}`);
  console.log(`${scores.length} rows, ${scores.filter((score) => score === null).length} without: ${problems}`);
}
