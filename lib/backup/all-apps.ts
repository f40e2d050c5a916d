// `backup --env-dir DIR`: the nights of several apps on one server, each with an env file of its own.

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Context } from '../cli/main.ts'
import { SETTINGS } from '../cli/settings.ts'
import { EXIT, Failure, reason } from '../core/failure.ts'
import { duration, lastLines } from '../core/format.ts'
import { table } from '../core/layout.ts'
import { tryJson } from '../core/outside.ts'

/** How the run for one env file ended. */
interface AppRun {
  /** The env file's name, without `.env`. */
  app: string
  exitCode: number
  seconds: number
  /** What it printed, as JSON where that was asked for. */
  result: unknown
  /** Its last words. */
  said: string
}

/** What goes on to each run. */
const PASSED_ON = ['check', 'dry-run', 'history', 'json']

/**
 * Runs this command once for each `*.env` of a folder, one after the other, each in a process of its own: none gets to see
 * another's secrets, and one that fails stops no other.
 * @returns the worst exit status
 */
export async function runForAll(context: Context, folder: string): Promise<number> {
  const files = await envFiles(folder)
  const runs: AppRun[] = []
  for (const file of files) runs.push(await runOne(context, join(folder, file)))
  if (context.flags.has('json')) context.printJson({ apps: runs })
  else context.print(table([['app', 'ended', 'took', ''], ...runs.map(row)]))
  // That nothing was done is better than that something failed half-way.
  return (
    [EXIT.failed, EXIT.usage, EXIT.locked].find((status) => runs.some(({ exitCode }) => exitCode === status)) ??
    Math.max(...runs.map(({ exitCode }) => exitCode))
  )
}

async function envFiles(folder: string): Promise<string[]> {
  const hint = 'It holds an env file for each app: APP.env, mode 600.'
  const names = await readdir(folder).catch((error: unknown) => {
    throw new Failure(`The folder of env files can't be read: ${reason(error)}`, hint, EXIT.usage)
  })
  const files = names.filter((name) => name.endsWith('.env') && name !== '.env').sort()
  if (files.length === 0) throw new Failure(`There is no *.env in ${folder}.`, hint, EXIT.usage)
  return files
}

async function runOne({ flags, shell, log, self, print }: Context, file: string): Promise<AppRun> {
  const app = file.replace(/^.*\//, '').replace(/\.env$/, '')
  const args = PASSED_ON.filter((flag) => flags.has(flag)).map((flag) => `--${flag}`)
  const startedMs = performance.now()
  log.info(`${app}:`)
  const child = shell.start([...self, ...args, '--env-file', file], {
    // A setting of the environment comes before the file: it would be every app's.
    env: { OPS_ENV_FILE: '', ...Object.fromEntries(Object.keys(SETTINGS).map((key) => [key, ''])) },
    onLine: log.raw,
  })
  child.stdin.end()
  const [stdout, { exitCode, stderr }] = await Promise.all([text(child.stdout), child.ended])
  shell.signal.throwIfAborted()
  // An error is followed by the next command, and by what is so; --check tells on stdout which line failed.
  const said = exitCode === 0 ? lastLines(stdout, 1) : lastLines(stderr) || (/^fail .*$/m.exec(stdout)?.[0] ?? '')
  if (!flags.has('json')) print(stdout.trimEnd())
  return {
    app,
    exitCode: exitCode ?? EXIT.failed,
    seconds: Math.round((performance.now() - startedMs) / 100) / 10,
    result: tryJson(stdout, (value) => value) ?? null,
    said: said.replaceAll(TIME, ''),
  }
}

/** What a line of a log begins with. */
const TIME = /\d{4}-\d\d-\d\dT[\d:]{8}[+-]\d\d:\d\d /g

function row({ app, exitCode, seconds, said }: AppRun): string[] {
  const ended = exitCode === 0 ? 'done' : `FAILED (${exitCode})`
  return [app, ended, duration(seconds * 1000), said.length > 100 ? `${said.slice(0, 99)}…` : said]
}
