// A dump of a service's database that begins, is known to be one, and is ended in the container too.

import type { Readable } from 'node:stream'
import type { DumpMode } from '../cli/settings.ts'
import { Failure } from '../core/failure.ts'
import { printable } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { settlesWithin } from '../core/patience.ts'
import { peek } from '../core/transfer.ts'
import { dumpLine } from '../dokku/by-hand.ts'
import { connectArgs, type Dokku, dumpArgs, explainCommand, exportArgs, type Service } from '../dokku/dokku.ts'
import { NotInstalled, NotRunning } from '../dokku/errors.ts'
import { BARE } from './sql.ts'

interface DumpOptions {
  mode: DumpMode
  /** No byte comes for this long: the dump has stalled. */
  stallMs: number
}

/** A dump that has begun: its first bytes are those of pg_dump's custom format. */
export interface Dump {
  mode: DumpMode
  readonly stdout: Readable
  /**
   * Waits for the program's exit status, after its output has ended.
   * @throws Failure when it is not 0: then the bytes are no dump
   */
  finish(): Promise<void>
  /** Ends it early, in the container as well. */
  stop(): Promise<void>
}

/** A custom-format dump begins with this (pg_dump, pg_backup_custom.c). */
const MAGIC = 'PGDMP'

/** `postgres:enter` itself does not work here: an older plugin, or no pg_dump on the container's PATH. */
class EnterUnusable extends Failure {}

// What `docker exec` has started goes on when its client is gone (moby/moby#9098). A pg_dump that waits for a lock would
// wait on, night after night one more, and each holds the locks it already has.
async function endInContainer({ lasting }: Dokku, service: Service, startedMs: number): Promise<void> {
  const terminate = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'pg_dump' AND datname = current_database() AND backend_start >= to_timestamp(${startedMs / 1000});`
  // Best effort: the reason why the dump was stopped is the one to tell.
  await lasting
    .run(connectArgs(service.name), { input: [...BARE, terminate, ''].join('\n'), timeoutMs: END_MS })
    .catch(() => {})
}

const END_MS = 10_000

/**
 * Starts the dump and looks at its first bytes, so that Borg is not even started for a dump that fails at once.
 * When `postgres:enter` can't be used, says so and takes `postgres:export`.
 */
export async function openDump(dokku: Dokku, service: Service, options: DumpOptions, log: Log): Promise<Dump> {
  try {
    return await open(dokku, service, options)
  } catch (error) {
    if (!(error instanceof EnterUnusable)) throw error
    log.warn(`${error.message} Falling back to postgres:export, which stores more.`)
    return open(dokku, service, { ...options, mode: 'export' })
  }
}

async function open(dokku: Dokku, service: Service, { mode, stallMs }: DumpOptions): Promise<Dump> {
  const args = mode === 'dedup' ? dumpArgs(service) : exportArgs(service.name)
  const what = service.away ? 'pg_dump' : `dokku ${args.slice(0, 2).join(' ')}`
  // All of it: without a command postgres:enter opens a shell.
  const tryIt = `Try it by hand: ${dumpLine(service, args)} | head -c 100`
  const stalled = (): Failure => new Failure(`The dump has stalled: no data for ${stallMs / 1000} s.`, tryIt)
  const startedMs = Date.now()
  const source = dokku.start(args)

  const stop = async (): Promise<void> => {
    const { exitCode } = await source.stop()
    const endedItself = exitCode !== null && exitCode < 128
    if (!endedItself) await endInContainer(dokku, service, startedMs)
  }
  const finish = async (): Promise<void> => {
    if (!(await settlesWithin(source.ended, stallMs))) throw stalled()
    const output = await source.ended
    if (output.exitCode === 0) return
    throw explainCommand(output, service, args)
  }

  try {
    const head = await peek(source, MAGIC.length, stallMs)
    if (head === 'stalled') throw stalled()
    if (head.length === 0 && (await settlesWithin(source.ended, stallMs))) {
      const output = await source.ended
      const failure = explainCommand(output, service, args)
      // Away from Dokku an export is the same program.
      const sameInExport =
        service.away !== undefined ||
        output.stderr.includes('pg_dump: ') ||
        failure instanceof NotRunning ||
        failure instanceof NotInstalled
      if (mode === 'dedup' && output.exitCode && !sameInExport) throw new EnterUnusable(failure.message)
    }
    if (head.toString('latin1').startsWith(MAGIC)) return { mode, stdout: source.stdout, finish, stop }
    if (head.length >= MAGIC.length) {
      const begin = printable((source.stdout.read() ?? head).toString('utf8').slice(0, 200))
      throw new Failure(`${what} printed no dump. It begins: ${begin}`, tryIt)
    }
    await finish()
    throw new Failure(`${what} ended well but printed ${head.length} bytes: that is no dump.`, tryIt)
  } catch (error) {
    await stop()
    throw error
  }
}
