import { access, constants, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT, Failure, reason } from '../core/failure.ts'
import { plural } from '../core/format.ts'
import type { Browser, Tab } from './browser.ts'
import { Unexpected } from './request.ts'
import type { Check, Found } from './run-check.ts'

// Compares every element with itself without the site's stylesheets: what a visitor would not notice is not applied.
const STYLES = `(() => {
  const status = performance.getEntriesByType('navigation')[0]?.responseStatus
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
  return { status, sheets: sheets.length, elements: elements.length, changed }
})()`

// Leaflet's icons (its clusters are icons, too) and vector markers, MapLibre's, OpenLayers' overlays, plain ones: within the map, with a size, an image loaded.
const MARKERS = `(() => {
  const status = performance.getEntriesByType('navigation')[0]?.responseStatus
  const map = document.getElementById('libraries-map')
  if (!map) return { status, map: false, markers: 0 }
  const frame = map.getBoundingClientRect()
  const isDrawn = (element) => {
    const { left, right, top, bottom, width, height } = element.getBoundingClientRect()
    const { visibility, opacity } = getComputedStyle(element)
    return width > 0 && height > 0 && right > frame.left && left < frame.right && bottom > frame.top && top < frame.bottom &&
      visibility === 'visible' && opacity !== '0' && !(element instanceof HTMLImageElement && element.naturalWidth === 0)
  }
  const markers = [...map.querySelectorAll('.leaflet-marker-icon, path.leaflet-interactive, .maplibregl-marker, .mapboxgl-marker, .ol-overlay-container, .marker')]
  return { status, map: true, markers: markers.filter(isDrawn).length, found: markers.length }
})()`

interface Looked {
  /** What is wrong, as the rest of a sentence; undefined when nothing is. */
  wrong?: string
  seen: string
}

interface Seen {
  status: number | undefined
}

function judgeStyles({ sheets, elements, changed }: Seen & Record<'sheets' | 'elements' | 'changed', number>): Looked {
  const seen = `the stylesheet is applied: it changes ${changed} of ${plural(elements, 'element')}`
  if (sheets === 0) return { seen, wrong: 'no stylesheet of the site is in force' }
  return changed > 0 ? { seen } : { seen, wrong: 'the stylesheet is loaded, but changes nothing that is seen' }
}

function judgeMarkers({ map, markers, found = 0 }: Seen & { map: boolean; markers: number; found?: number }): Looked {
  const seen = `${plural(markers, 'marker')} drawn`
  if (!map) return { seen, wrong: 'there is no element #libraries-map' }
  return markers > 0 ? { seen } : { seen, wrong: `no marker is drawn${found > 0 ? ` (${found} out of sight)` : ''}` }
}

const SETTLE_MS = 8000
const LOOK_EVERY_MS = 150
const KEEP_AFTER_MS = 1000

export interface LookOptions {
  /** Where home.png and map.png are kept. */
  folder?: string
  /** How long a page that is loaded may take to show what it should. */
  settleMs?: number
}

/** The checks of what a person would see. */
export function browserChecks(
  browser: Browser,
  site: string,
  { folder, settleMs = SETTLE_MS }: LookOptions = {},
): Check[] {
  const check = <T extends Seen>(
    name: string,
    path: string,
    expression: string,
    judge: (value: T) => Looked,
  ): Check => ({
    name: `${name} in a browser`,
    run: async (signal) => {
      const tab = await browser.open(`${site}${path}`)
      const keep = async (): Promise<void> => {
        if (folder !== undefined) await keepScreenshot(tab, join(folder, `${name}.png`))
      }
      try {
        return await look(tab, expression, judge, { keep, settleMs, signal })
      } finally {
        void tab.close()
      }
    },
  })
  return [check('home', '/', STYLES, judgeStyles), check('map', '/map/', MARKERS, judgeMarkers)]
}

async function look<T extends Seen>(
  tab: Tab,
  expression: string,
  judge: (value: T) => Looked,
  { keep, settleMs, signal }: { keep: () => Promise<void>; settleMs: number; signal: AbortSignal },
): Promise<Found> {
  let loadedMs: number | undefined
  let kept = false
  for (;;) {
    const value = await tab.evaluate<T>(expression)
    const { wrong, seen } = judge(value)
    if (tab.loaded) loadedMs ??= performance.now()
    const waitedMs = loadedMs === undefined ? 0 : performance.now() - loadedMs
    const refused = loadedMs !== undefined && value.status !== undefined && value.status >= 400
    const done = loadedMs !== undefined && (refused || wrong === undefined || waitedMs >= settleMs)
    // What is wrong is kept before the time is up: then there is none left for it.
    if (done || (waitedMs > KEEP_AFTER_MS && !kept)) {
      await keep()
      kept = true
    }
    if (refused) throw new Unexpected(`the page answered ${value.status}`)
    if (done && wrong === undefined) return { verdict: 'pass', seen }
    if (!done) await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => {})
    if (!done && !signal.aborted) continue
    const problem = wrong ?? 'the page is not loaded completely in time'
    throw new Unexpected(`${problem}${tab.scriptError ? `; a script of the page failed: ${tab.scriptError}` : ''}`)
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

async function keepScreenshot(tab: Tab, path: string): Promise<void> {
  try {
    await writeFile(path, await tab.screenshot())
  } catch (error) {
    if (!(error instanceof Unexpected)) throw new Failure(`${path} can't be written: ${reason(error)}`)
  }
}
