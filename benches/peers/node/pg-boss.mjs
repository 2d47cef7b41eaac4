// pg-boss: to drain in batches of 1,000 by four fetchers without pauses, to pick up with LISTEN and NOTIFY.

import { PgBoss } from "pg-boss";

import { play, ran } from "./contender.mjs";

const QUEUE = "noop";
const CONNECTIONS = 20;
const DRAINING = {
  batchSize: 1000,
  localConcurrency: 4,
  burstWhenBatchFull: true,
  pollingIntervalSeconds: 0.5,
};
const WAITING = { batchSize: 1 };

async function open(connectionString, measure) {
  const notify = measure === "pickup";
  const boss = new PgBoss({ connectionString, max: CONNECTIONS, useListenNotify: notify });
  boss.on("error", (error) => console.error(error.message));
  await boss.start();
  await boss.createQueue(QUEUE, { notify });
  return {
    create: (i) => boss.send(QUEUE, { i }),
    createMany: (from, to) => {
      const jobs = [];
      for (let i = from; i < to; i += 1) jobs.push({ data: { i } });
      return boss.insert(QUEUE, jobs);
    },
    work: () =>
      boss.work(QUEUE, measure === "drain" ? DRAINING : WAITING, async (jobs) => {
        for (const job of jobs) ran(job.data.i);
      }),
  };
}

await play({ open, bulk: 5000 });
