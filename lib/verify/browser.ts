// An installed Chrome or Chromium for `verify --browser`, driven by playwright-core.
import { access, constants, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import type { Browser as Chromium, LaunchOptions, Page } from 'playwright-core'
import { EXIT, Failure, reason } from '../core/failure.ts'
import { makeTemporaryFolder } from '../core/folder.ts'
import { oneLine } from '../core/format.ts'
import { settlesWithin } from '../core/patience.ts'
import type { Shell } from '../core/shell.ts'
import { USER_AGENT } from './request.ts'

/** A headless browser with an empty profile of its own. */
export interface Browser {
  /** A new tab. */
  newPage(): Promise<Page>
  /** Ends the browser and removes what it wrote. Safe after an interruption, and twice. */
  close(): Promise<void>
}

const NAMES = ['google-chrome-stable', 'google-chrome', 'chromium', 'chromium-browser', 'chrome']
const ELSEWHERE = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
]
const START_MS = 20_000
const CLOSE_MS = 2000
const VIEWPORT = { width: 1280, height: 960 }

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

/**
 * @param anyCertificate for a site whose certificate the browser does not know; the TLS check judges it
 * @throws Failure (exit status 2) when playwright-core is not installed, or the browser can't be started
 */
export async function startBrowser(shell: Shell, file: string, anyCertificate: boolean): Promise<Browser> {
  const { chromium } = await loadDriver()
  const home = await makeTemporaryFolder('bc-browser-')
  const removeHome = (): Promise<void> => rm(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  try {
    const browser = await chromium.launch(launchOptions(shell, file, home)).catch((error: unknown) => {
      shell.signal.throwIfAborted()
      throw notStarted(file, error)
    })
    const { pid, userAgent } = await describe(browser)
    const close = async (): Promise<void> => {
      await end(browser, pid)
      await removeHome()
    }
    if (shell.signal.aborted) await close()
    shell.signal.throwIfAborted()
    const context = await browser.newContext({
      userAgent: `${userAgent} ${USER_AGENT}`,
      viewport: VIEWPORT,
      locale: 'en',
      ignoreHTTPSErrors: anyCertificate,
      acceptDownloads: false,
    })
    return { newPage: () => context.newPage(), close }
  } catch (error) {
    await removeHome()
    throw error
  }
}

/** A development dependency, loaded only here: the server that runs the backups does not have it. */
async function loadDriver(): Promise<typeof import('playwright-core')> {
  try {
    return await import('playwright-core')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new Failure(
      '--browser and --screenshots need the package playwright-core, which is not installed here.',
      'On your machine or in CI, in the checkout of these scripts, type: npm ci. Or leave out --browser and --screenshots.',
      EXIT.usage,
    )
  }
}

function launchOptions(shell: Shell, executablePath: string, home: string): LaunchOptions {
  return {
    executablePath,
    timeout: START_MS,
    // Chromium's own sandbox refuses to run as root.
    chromiumSandbox: process.getuid?.() !== 0,
    args: ['--disable-quic'],
    // Whatever it wants to keep goes with this folder.
    env: { ...shell.env, HOME: home, TMPDIR: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home },
    artifactsDir: home,
    // An interruption is ours to handle: `close` is called.
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  }
}

function notStarted(file: string, error: unknown): Failure {
  const said = stripVTControlCharacters(reason(error))
    .split('\n')
    .flatMap((line) => /\[pid=\d+\]\[err\] (.*)/.exec(line)?.[1] ?? [])
    .filter((line) => /error|fatal|cannot|not found|sandbox/i.test(line))
  return new Failure(
    `${file} could not be started${said.length > 0 ? `: ${oneLine(said.at(-1) ?? '', 200)}` : '.'}`,
    'Try it by hand: chromium --headless --dump-dom about:blank. Or leave out --browser and --screenshots.',
    EXIT.usage,
  )
}

async function describe(browser: Chromium): Promise<{ pid: number | undefined; userAgent: string }> {
  const session = await browser.newBrowserCDPSession()
  const { userAgent } = await session.send('Browser.getVersion')
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  return { pid: processInfo.find(({ type }) => type === 'browser')?.id, userAgent }
}

/** Asks the browser to end, and kills one that no longer listens: playwright alone would wait for it for half a minute. */
async function end(browser: Chromium, pid: number | undefined): Promise<void> {
  const closed = browser.close()
  if (await settlesWithin(closed, CLOSE_MS)) return
  try {
    // Playwright starts it as the leader of a process group.
    if (pid) process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended meanwhile.
  }
  await settlesWithin(closed, CLOSE_MS)
}
