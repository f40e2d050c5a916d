// Tells a monitor that a run began, and how it ended, in the words that the monitor understands.
import { textOf } from '../core/answer.ts'
import { fetchReason, reason } from '../core/failure.ts'
import type { Log } from '../core/log.ts'
import { retry } from '../core/retry.ts'
import { VERSION } from '../core/version.ts'
import { HeldLock, RESTORE_POINT_RUN } from './lock.ts'

/** A monitor that can't be reached is a warning, never a failure of the work it watches. */
interface Monitor {
  start(): Promise<void>
  success(text: string): Promise<void>
  fail(text: string): Promise<void>
}

type Happening = 'start' | 'success' | 'fail'

/** What is sent to tell of something. */
interface Call {
  url: URL
  /** With one it is a POST. */
  body?: string
}

interface MonitorKind {
  name: string
  /** By its address: some are one company's, others run under anybody's name. */
  is(url: URL): boolean
  /** Undefined where it has no word for that. */
  call(url: URL, what: Happening, text: string): Call | undefined
}

/** The last part of a path, or what stands for it in an example. */
const UUID = /\/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[a-z]+-uuid|uuid)\/?$/i

const KINDS: readonly MonitorKind[] = [
  {
    name: 'Cronitor',
    is: ({ hostname, pathname }) => isHostOf(hostname, 'cronitor.link') || /^\/p\/[^/]+\/[^/]+\/?$/.test(pathname),
    call: (url, what, text) => {
      url.searchParams.set('state', { start: 'run', success: 'complete', fail: 'fail' }[what])
      if (text) url.searchParams.set('message', cut(text, 2000))
      return { url }
    },
  },
  {
    // Of what people paste, `?status=up&msg=OK&ping=`, nothing counts: the end is told as it was.
    name: 'Uptime Kuma',
    is: ({ pathname }) => /\/api\/push\/[^/]+\/?$/.test(pathname),
    call: (url, what, text) => {
      if (what === 'start') return undefined
      url.search = new URLSearchParams({
        status: what === 'success' ? 'up' : 'down',
        msg: cut(text, 2000),
        ping: '',
      }).toString()
      return { url }
    },
  },
  {
    name: 'Better Stack',
    is: ({ hostname, pathname }) =>
      isHostOf(hostname, 'betterstack.com') ||
      isHostOf(hostname, 'betteruptime.com') ||
      /\/api\/v1\/heartbeat\/[^/]+\/?$/.test(pathname),
    call: (url, what, text) => (what === 'start' ? undefined : { url: below(url, what), body: cut(text, 5000) }),
  },
  {
    name: 'UptimeRobot',
    is: ({ hostname }) => isHostOf(hostname, 'uptimerobot.com'),
    call: (url, what) => (what === 'success' ? { url } : undefined),
  },
  {
    name: 'healthchecks.io, or one like it',
    is: ({ hostname, pathname }) =>
      isHostOf(hostname, 'hc-ping.com') ||
      isHostOf(hostname, 'healthchecks.io') ||
      /\/ping\//.test(pathname) ||
      UUID.test(pathname),
    call: (url, what, text) => ({ url: below(url, what), body: cut(text, 100_000) }),
  },
]

const UNKNOWN: MonitorKind = {
  name: 'not known here',
  is: () => true,
  call: (url, what) => (what === 'success' ? { url } : undefined),
}

function isHostOf(hostname: string, domain: string): boolean {
  return hostname === domain || hostname.endsWith(`.${domain}`)
}

function below(url: URL, what: Happening): URL {
  url.pathname = url.pathname.replace(/\/$/, '') + { start: '/start', success: '', fail: '/fail' }[what]
  return url
}

/** The beginning of a text, so much of it that it has at most so many bytes, written into an address too. */
function cut(text: string, mostBytes: number): string {
  const sizeOf = (part: string): number => encodeURIComponent(part).length
  // Half of a sign of two units can't be written into an address.
  let part = Buffer.from(text).toString()
  while (sizeOf(part) > mostBytes)
    part = part.slice(0, Math.floor((part.length * mostBytes) / sizeOf(part)) - 1).replace(/[\ud800-\udbff]$/, '')
  return part
}

function kindOf(address: string): MonitorKind {
  const url = new URL(address)
  return KINDS.find((kind) => kind.is(url)) ?? UNKNOWN
}

/** What a monitor is taken for, and what it is told, without its address: that is a secret. */
export function describeMonitor(address: string): string {
  const kind = kindOf(address)
  const tells = (['start', 'success', 'fail'] as const).filter((what) => kind.call(new URL(address), what, ''))
  const words = tells.map((what) => ({ start: 'the start', success: 'success', fail: 'failure' })[what])
  return `${kind.name}: it is told of ${words.join(', ').replace(/, ([^,]*)$/, ' and $1')}${tells.includes('fail') ? '' : ' alone; it hears of a failure by silence'}`
}

const TIMEOUT_MS = 10_000

/** @param address the check's address, itself a secret; without one nothing is sent */
export function createMonitor(address: string | undefined, log: Log): Monitor {
  const ping = async (what: Happening, text: string): Promise<void> => {
    const call = address === undefined ? undefined : kindOf(address).call(new URL(address), what, log.clean(text))
    if (!call) return
    const tell = async (): Promise<void> => {
      const response = await fetch(call.url, {
        ...(call.body === undefined ? {} : { method: 'POST', body: call.body }),
        headers: { 'user-agent': `book-corners-ops/${VERSION}`, 'content-type': 'text/plain; charset=utf-8' },
        // Elsewhere nobody waits for it, and what went wrong is told to nobody else.
        redirect: 'manual',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      })
      await textOf(response)
      if (!response.ok) throw new Error(`it answered ${response.status}`)
    }
    await retry(tell, { attempts: 2, waitMs: 0 }).catch((error: unknown) =>
      log.warn(
        `The monitor could not be told (${{ start: '/start', success: 'success', fail: '/fail' }[what]}): ${fetchReason(error)}`,
      ),
    )
  }
  return {
    start: () => ping('start', ''),
    success: (text) => ping('success', text),
    fail: (text) => ping('fail', text),
  }
}

/**
 * Runs something and tells the monitor how it ends: success with the summary, or failure with the reason. Nothing is told
 * when another run has held the lock since not long ago: that run tells how it ends itself.
 *
 * @param signal an interruption's: its reason counts, not the error that it leads to
 * @param run calls `begin` when the work begins, and returns the summary; what it throws before that is told, too
 * @throws what `run` throws
 */
export async function watched(
  monitor: Monitor,
  signal: AbortSignal,
  run: (begin: () => void) => Promise<string>,
): Promise<void> {
  // The work does not wait for the monitor, but its end is told after its start.
  let started = Promise.resolve()
  const begin = (): void => {
    started = monitor.start()
  }
  try {
    const summary = await run(begin)
    await started
    await monitor.success(summary)
  } catch (error) {
    await started
    const cause = signal.aborted ? signal.reason : error
    if (!(cause instanceof HeldLock && isOfTonight(cause))) await monitor.fail(reason(cause))
    throw error
  }
}

/** No night takes longer. Whoever holds the lock for longer hangs, and who does not say who it is may be anybody. */
const LONGEST_NIGHT_MS = 20 * 3_600_000

function isOfTonight({ holder }: HeldLock): boolean {
  return (
    holder !== undefined &&
    holder.script !== RESTORE_POINT_RUN &&
    Date.now() - Date.parse(holder.since) < LONGEST_NIGHT_MS
  )
}
