// What the benchmarks have in common: a step that must go well, how long one takes, and a disk that is at rest before it.
import type { Output } from '../support/launch.ts'
import type { Sandbox } from '../support/sandbox.ts'

export async function succeed(running: Output | Promise<Output>): Promise<Output> {
  const output = await running
  if (output.exitCode !== 0) throw new Error(`It failed (${output.signal ?? output.exitCode}): ${output.stderr}`)
  return output
}

/** @returns milliseconds */
export async function timed(step: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now()
  await step()
  return performance.now() - startedMs
}

/** Lets the disk write what is left of the step before: it is no part of the next one. */
export async function settle(sandbox: Sandbox): Promise<void> {
  await succeed(sandbox.launch('sync', []).ended)
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`
}
