// The two checks of what a person would see: the homepage has its styles, the map its markers.
import { access, constants, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Page, Response } from 'playwright-core'
import { EXIT, Failure, reason } from '../core/failure.ts'
import { oneLine, plural } from '../core/format.ts'
import { findBlock } from './blocked.ts'
import type { Browser } from './browser.ts'
import { Blocked, type CheckOutcome, type RunnableCheck, Unexpected } from './run-check.ts'

// Compares every element with itself without the site's stylesheets: what a visitor would not notice is not applied.
const STYLES = `(() => {
  // The rules of a sheet that the page's own policy blocked can't be read.
  const hasRules = (sheet) => { try { return sheet.cssRules.length > 0 } catch { return false } }
  const sheets = [...document.styleSheets].filter((sheet) => sheet.href && new URL(sheet.href).origin === location.origin && hasRules(sheet))
  const elements = [...document.querySelectorAll('body, body *')].slice(0, 500)
  const look = () => elements.map((element) => {
    const { color, backgroundColor, fontFamily, fontSize, fontWeight, display, margin, padding, border, maxWidth, textDecoration } = getComputedStyle(element)
    return [color, backgroundColor, fontFamily, fontSize, fontWeight, display, margin, padding, border, maxWidth, textDecoration].join()
  })
  const withStyles = look()
  const before = sheets.map((sheet) => sheet.disabled)
  for (const sheet of sheets) sheet.disabled = true
  const without = look()
  sheets.forEach((sheet, i) => { sheet.disabled = before[i] })
  const changed = withStyles.filter((style, i) => style !== without[i]).length
  return { sheets: sheets.length, elements: elements.length, changed }
})()`

// Leaflet's icons (its clusters are icons, too) and vector markers, MapLibre's, OpenLayers' overlays, plain ones: within the map, with a size, an image loaded.
const MARKERS = `(() => {
  const map = document.getElementById('libraries-map')
  if (!map) return { map: false, markers: 0 }
  const frame = map.getBoundingClientRect()
  const isDrawn = (element) => {
    const { left, right, top, bottom, width, height } = element.getBoundingClientRect()
    const { visibility, opacity } = getComputedStyle(element)
    return width > 0 && height > 0 && right > frame.left && left < frame.right && bottom > frame.top && top < frame.bottom &&
      visibility === 'visible' && opacity !== '0' && !(element instanceof HTMLImageElement && element.naturalWidth === 0)
  }
  const markers = [...map.querySelectorAll('.leaflet-marker-icon, path.leaflet-interactive, .maplibregl-marker, .mapboxgl-marker, .ol-overlay-container, .marker')]
  return { map: true, markers: markers.filter(isDrawn).length, found: markers.length }
})()`

/** @throws Unexpected with what is wrong */
function judgeStyles({ sheets, elements, changed }: Record<'sheets' | 'elements' | 'changed', number>): CheckOutcome {
  if (sheets === 0) throw new Unexpected('no stylesheet of the site is in force')
  if (changed === 0) throw new Unexpected('the stylesheet is loaded, but changes nothing that is seen')
  return {
    verdict: 'pass',
    seen: `the stylesheet is applied: it changes ${changed} of ${plural(elements, 'element')}`,
  }
}

/** @throws Unexpected with what is wrong */
function judgeMarkers({ map, markers, found = 0 }: { map: boolean; markers: number; found?: number }): CheckOutcome {
  if (!map) throw new Unexpected('there is no element #libraries-map')
  if (markers === 0) throw new Unexpected(`no marker is drawn${found > 0 ? ` (${found} out of sight)` : ''}`)
  return { verdict: 'pass', seen: `${plural(markers, 'marker')} drawn` }
}

const SETTLE_MS = 8000
const LOOK_EVERY_MS = 150
const KEEP_AFTER_MS = 1000
const SCREENSHOT_MS = 5000

interface LookOptions {
  /** Where home.png and map.png are kept. */
  folder?: string | undefined
  /** How long a page that is loaded may take to show what it should. */
  settleMs?: number
}

/** What is looked for in a page. */
interface Sight<T> {
  name: string
  /** The page's address. */
  url: string
  /** Evaluated in the page. */
  expression: string
  /** @throws Unexpected with what is wrong */
  judge(value: T): CheckOutcome
}

/** The checks of what a person would see. */
export function browserChecks(browser: Browser, site: string, options: LookOptions = {}): RunnableCheck[] {
  const check = <T>(sight: Sight<T>): RunnableCheck => ({
    name: `${sight.name} in a browser`,
    run: async (signal) => {
      const page = await answered(browser.newPage())
      try {
        return await look(page, sight, options, signal)
      } finally {
        page.close().catch(() => {})
      }
    },
  })
  return [
    check({ name: 'home', url: `${site}/`, expression: STYLES, judge: judgeStyles }),
    check({ name: 'map', url: `${site}/map/`, expression: MARKERS, judge: judgeMarkers }),
  ]
}

/** What the browser answers. @throws Unexpected in its own words when it can't */
async function answered<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked
  } catch (error) {
    const words = reason(error).split('\n')[0] ?? ''
    throw new Unexpected(`the browser can't show it: ${oneLine(words.replace(/^[\w.]+: /, ''))}`)
  }
}

async function look<T>(
  page: Page,
  { name, url, expression, judge }: Sight<T>,
  { folder, settleMs = SETTLE_MS }: LookOptions,
  signal: AbortSignal,
): Promise<CheckOutcome> {
  let loadedMs: number | undefined
  let scriptError: string | undefined
  let notLoaded: string | undefined
  page.on('load', () => {
    loadedMs ??= performance.now()
  })
  page.on('pageerror', ({ name, message }) => {
    scriptError ??= `a script of the page failed: ${oneLine(`${name}: ${message}`)}`
  })
  // What the page takes from elsewhere, such as the map's program, fails first; its own scripts only miss it.
  page.on('requestfailed', (request) => {
    if (request.resourceType() === 'script') notLoaded ??= `${oneLine(request.url())} could not be loaded`
  })
  const response = await answered(page.goto(url, { waitUntil: 'commit', timeout: 0, signal }))
  const status = response?.status() ?? 200
  let kept = false
  for (;;) {
    const outcome = judged(judge, await answered(page.evaluate<T>(expression)))
    const waitedMs = loadedMs === undefined ? 0 : performance.now() - loadedMs
    const done = loadedMs !== undefined && (status >= 400 || 'verdict' in outcome || waitedMs >= settleMs)
    // What is wrong is kept before the time is up: then there is none left for it.
    if (folder !== undefined && (done || (waitedMs > KEEP_AFTER_MS && !kept))) {
      await keepScreenshot(page, join(folder, `${name}.png`))
      kept = true
    }
    if (done && status >= 400) throw await refusal(page, response)
    if (done && 'verdict' in outcome) return outcome
    if (!done) await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => {})
    if (!done && !signal.aborted) continue
    const problem = 'verdict' in outcome ? 'the page is not loaded completely in time' : outcome.message
    throw new Unexpected([problem, notLoaded ?? scriptError].filter(Boolean).join('; '))
  }
}

async function refusal(page: Page, response: Response | null): Promise<Unexpected> {
  const status = response?.status() ?? 0
  const block = findBlock({ status, headers: response?.headers() ?? {}, body: await answered(page.content()) })
  return block
    ? new Blocked(`${block.by} answered with ${status} in place of the site`, !block.passing)
    : new Unexpected(`the page answered ${status}`)
}

function judged<T>(judge: (value: T) => CheckOutcome, value: T): CheckOutcome | Unexpected {
  try {
    return judge(value)
  } catch (error) {
    if (error instanceof Unexpected) return error
    throw error
  }
}

/**
 * Makes the folder if it is not there, and sees that it can be written.
 * @throws Failure (exit status 2)
 */
export async function prepareFolder(folder: string): Promise<void> {
  try {
    await makeFolder(folder)
    await access(`${folder}/.`, constants.W_OK)
  } catch (error) {
    throw new Failure(`--screenshots ${folder} can't be used: ${reason(error)}`, '', EXIT.usage)
  }
}

// Node's own `recursive` tries for ever where a folder is there but takes none, as /proc (Node 20).
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    if (code !== 'ENOENT' || dirname(folder) === folder) throw error
    await makeFolder(dirname(folder))
    await mkdir(folder)
  }
}

async function keepScreenshot(page: Page, path: string): Promise<void> {
  // A page that can't be painted is judged by what it holds.
  const png = await page.screenshot({ timeout: SCREENSHOT_MS }).catch(() => undefined)
  if (!png) return
  try {
    await writeFile(path, png)
  } catch (error) {
    throw new Failure(`${path} can't be written: ${reason(error)}`)
  }
}
