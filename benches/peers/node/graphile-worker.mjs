// graphile-worker, the original: to drain with the settings of its documentation's page about performance.

import { Logger, makeWorkerUtils, run } from "graphile-worker";

import { play, ran } from "./contender.mjs";

const CONCURRENT_JOBS = 24;
const DRAINING = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };

const logger = new Logger(() => () => {});

async function open(connectionString, measure) {
  const utils = await makeWorkerUtils({ connectionString, logger });
  await utils.migrate();
  const worker = {
    connectionString,
    concurrentJobs: CONCURRENT_JOBS,
    maxPoolSize: CONCURRENT_JOBS + 1,
    ...(measure === "drain" ? DRAINING : {}),
  };
  return {
    create: (i) => utils.addJob("noop", { i }),
    createMany: (from, to) => {
      const jobs = [];
      for (let i = from; i < to; i += 1) jobs.push({ identifier: "noop", payload: { i } });
      return utils.addJobs(jobs);
    },
    work: () =>
      run({
        logger,
        noHandleSignals: true,
        preset: { worker },
        taskList: { noop: async ({ i }) => ran(i) },
      }),
  };
}

await play({ open, bulk: 5000 });
