import { access, constants, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EXIT, Failure } from '../core/failure.ts'
import { oneLine } from '../core/format.ts'
import type { Shell } from '../core/shell.ts'
import { settlesWithin } from '../core/transfer.ts'
import { createDevTools, type DevTools } from './devtools.ts'
import { Unexpected, USER_AGENT } from './request.ts'

/** An installed Chrome or Chromium, headless, with an empty profile of its own. */
export interface Browser {
  /** Opens a page in a tab. @throws Unexpected when it can't be reached */
  open(url: string): Promise<Tab>
  /** Ends the browser and removes its profile. Safe after an interruption, and twice. */
  close(): Promise<void>
}

export interface Tab {
  /** Whether the page and what it needs has been loaded. */
  readonly loaded: boolean
  /** The first error that a script of the page did not catch. */
  readonly scriptError: string | undefined
  /** The value of an expression in the page, as JSON can carry it. @throws Unexpected */
  evaluate<T>(expression: string): Promise<T>
  /** What is seen, as a PNG. */
  screenshot(): Promise<Buffer>
  close(): Promise<void>
}

const NAMES = ['google-chrome-stable', 'google-chrome', 'chromium', 'chromium-browser', 'chrome']
const ELSEWHERE = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
]
const START_MS = 20_000
const VIEW = { width: 1280, height: 960, deviceScaleFactor: 1, mobile: false }

/**
 * The browser that PATH leads to.
 * @throws Failure (exit status 2) when there is none
 */
export async function findBrowser(path: string, elsewhere: readonly string[] = ELSEWHERE): Promise<string> {
  const folders = path.split(':').filter(Boolean)
  const candidates = [...NAMES.flatMap((name) => folders.map((folder) => join(folder, name))), ...elsewhere]
  for (const file of candidates) {
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return file
  }
  throw new Failure(
    `No browser was found: none of ${NAMES.join(', ')} is in PATH.`,
    'Install one (sudo apt-get install chromium), or leave out --browser and --screenshots.',
    EXIT.usage,
  )
}

/** @param anyCertificate for a site whose certificate this system does not know; that check has its own */
export function browserArgs(profile: string, root: boolean, anyCertificate: boolean): string[] {
  return [
    '--headless',
    '--remote-debugging-pipe',
    `--user-data-dir=${profile}`,
    '--disable-gpu',
    '--disable-quic',
    '--disable-dev-shm-usage',
    '--disable-extensions',
    '--disable-sync',
    '--disable-breakpad',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-default-apps',
    '--no-first-run',
    '--no-default-browser-check',
    '--no-service-autorun',
    '--password-store=basic',
    '--use-mock-keychain',
    '--hide-scrollbars',
    '--mute-audio',
    '--lang=en',
    // Chromium's own sandbox refuses to run as root.
    ...(root ? ['--no-sandbox'] : []),
    ...(anyCertificate ? ['--ignore-certificate-errors'] : []),
    'about:blank',
  ]
}

/** @throws Failure (exit status 2) when it can't be started */
export async function startBrowser(shell: Shell, file: string, anyCertificate: boolean): Promise<Browser> {
  const profile = await mkdtemp(join(tmpdir(), 'bc-browser-'))
  const removeProfile = (): Promise<void> =>
    rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  try {
    // Whatever it wants to keep goes with the profile.
    const env = { HOME: profile, TMPDIR: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile }
    const child = shell.start([file, ...browserArgs(profile, process.getuid?.() === 0, anyCertificate)], {
      env,
      channel: true,
    })
    if (!child.channel) throw new Error('no channel')
    child.stdout.resume()
    const devTools = createDevTools(child.channel)
    void child.ended.then(() => devTools.end('the browser has ended'))
    const close = async (): Promise<void> => {
      // Asked first, it leaves nothing behind; the signal is for one that no longer listens.
      devTools.send('Browser.close').catch(() => {})
      if (!(await settlesWithin(child.ended, 2000))) await child.stop()
      await removeProfile()
    }
    const answered = await settlesWithin(devTools.send('Browser.getVersion'), START_MS).catch(() => false)
    if (answered) return { open: (url) => openTab(devTools, url), close }
    const { stderr } = await child.stop()
    shell.signal.throwIfAborted()
    const said = stderr.split('\n').filter((line) => /error|fatal|cannot|not found|sandbox/i.test(line))
    throw new Failure(
      `${file} could not be started${said.length > 0 ? `: ${oneLine(said.at(-1) ?? '', 200)}` : '.'}`,
      'Try it by hand: chromium --headless --dump-dom about:blank. Or leave out --browser and --screenshots.',
      EXIT.usage,
    )
  } catch (error) {
    await removeProfile()
    throw error
  }
}

async function openTab(devTools: DevTools, url: string): Promise<Tab> {
  const { targetId } = await devTools.send('Target.createTarget', { url: 'about:blank' })
  const { sessionId } = await devTools.send('Target.attachToTarget', { targetId, flatten: true })
  const session = sessionId as string
  const state: { loaded: boolean; scriptError: string | undefined } = { loaded: false, scriptError: undefined }
  const off = devTools.on(session, (method, params) => {
    if (method === 'Page.loadEventFired') state.loaded = true
    if (method !== 'Runtime.exceptionThrown') return
    const { text, exception } = params.exceptionDetails as { text: string; exception?: { description?: string } }
    state.scriptError ??= oneLine(exception?.description?.split('\n')[0] ?? text)
  })
  const call = (method: string, params = {}): Promise<Record<string, unknown>> => devTools.send(method, params, session)
  const close = async (): Promise<void> => {
    off()
    await devTools.send('Target.closeTarget', { targetId }).catch(() => {})
  }
  try {
    const { userAgent } = await devTools.send('Browser.getVersion')
    await Promise.all([
      call('Page.enable'),
      call('Runtime.enable'),
      call('Emulation.setDeviceMetricsOverride', VIEW),
      call('Emulation.setUserAgentOverride', { userAgent: `${userAgent} ${USER_AGENT}` }),
    ])
    const { errorText } = await call('Page.navigate', { url })
    if (errorText) throw new Unexpected(`the browser can't open it: ${oneLine(String(errorText))}`)
  } catch (error) {
    await close()
    throw error
  }
  return {
    get loaded() {
      return state.loaded
    },
    get scriptError() {
      return state.scriptError
    },
    evaluate: async <T>(expression: string) => {
      const { result, exceptionDetails } = await call('Runtime.evaluate', { expression, returnByValue: true })
      if (exceptionDetails) throw new Unexpected('the browser could not look at the page')
      return (result as { value: T }).value
    },
    screenshot: async () => {
      const { data } = await call('Page.captureScreenshot', { format: 'png' })
      return Buffer.from(String(data), 'base64')
    },
    close,
  }
}
