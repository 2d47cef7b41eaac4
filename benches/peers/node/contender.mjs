// What every contender that is written in JavaScript shares: the same words as in ../contender/src/lib.rs, which says
// what they mean.

import { once } from "node:events";
import { createInterface } from "node:readline";

const WARM_UP = 20;
const PAUSE_MS = 15;

let handle = () => {};

/** The first line of every handler. */
export function ran(task) {
  handle(task, performance.now());
}

/**
 * One measurement. `open(url, measure)` makes the tables and returns `{ create(task), createMany(from, to), work() }`;
 * `bulk` is how many tasks one call of `createMany` takes.
 */
export async function play({ open, bulk }) {
  const [measure, url, tasksText, limitText] = process.argv.slice(2);
  const [tasks, limitMs] = [Number(tasksText), Number(limitText)];
  const lines = createInterface({ input: process.stdin });
  const ended = once(lines, "close");
  const contender = await open(url, measure);

  const ready = async () => {
    const go = once(lines, "line");
    say({ event: "ready" });
    await go;
    return performance.now();
  };

  if (measure === "create" || measure === "bulk") {
    const started = await ready();
    let done = 0;
    while (done < tasks && performance.now() - started < limitMs) {
      if (measure === "create") {
        await contender.create(done);
        done += 1;
      } else {
        const end = Math.min(tasks, done + bulk);
        await contender.createMany(done, end);
        done = end;
      }
    }
    say({ event: "done", tasks: done, repeats: 0 });
  } else if (measure === "drain") {
    for (let from = 0; from < tasks; from += bulk) {
      await contender.createMany(from, Math.min(tasks, from + bulk));
    }
    handle = drained(tasks);
    await ready();
    await contender.work();
  } else if (measure === "pickup") {
    const started = await ready();
    await contender.work();
    say({ event: "picked_up", ms: await pickUps(contender, tasks, started + limitMs) });
  } else {
    throw new Error(`${measure} is nothing to measure`);
  }
  // What has run is still to be recorded: workers go on until the referee has seen it.
  await ended;
  process.exit(0);
}

/** Counts each task once, so that a repetition cannot stand in for a task that was lost. */
function drained(tasks) {
  const seen = new Uint8Array(tasks);
  let [count, repeats] = [0, 0];
  return (task) => {
    if (seen[task] === 1) {
      repeats += 1;
      return;
    }
    seen[task] = 1;
    count += 1;
    if (count === 1) say({ event: "first" });
    if (count === tasks) say({ event: "done", tasks: count, repeats });
  };
}

async function pickUps(contender, tasks, deadline) {
  const ms = [];
  for (let task = 0; task < tasks + WARM_UP && performance.now() < deadline; task += 1) {
    const created = performance.now();
    const at = one(task, deadline - created);
    await contender.create(task);
    const took = (await at) - created;
    if (task >= WARM_UP) ms.push(took);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return ms;
}

/** When this task ran; one that is not picked up in time counts with the time that it was waited for. */
function one(task, limitMs) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(performance.now()), limitMs);
    handle = (ran, at) => {
      if (ran !== task) return;
      clearTimeout(timer);
      resolve(at);
    };
  });
}

function say(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}
