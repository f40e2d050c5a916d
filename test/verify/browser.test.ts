import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EXIT, Failure } from '../../lib/core/failure.ts'
import { createShell } from '../../lib/core/shell.ts'
import { PROJECT } from '../../lib/server/sync.ts'
import { type Browser, findBrowser, startBrowser } from '../../lib/verify/browser.ts'
import { browserChecks, prepareFolder } from '../../lib/verify/browser-checks.ts'
import { runCheck } from '../../lib/verify/run-check.ts'
import { LOADER } from '../support/loader.ts'
import { processesThatStay, processesWith } from '../support/processes.ts'
import { answer, createAuthority, type Handler, html, json, MAP_BODY, type Site, startSite } from '../support/site.ts'
import { verify } from '../support/verify.ts'

const PATH = '/usr/local/bin:/usr/bin:/bin'
const installed = await findBrowser(PATH).then(
  () => true,
  () => false,
)
if (!installed) console.log('Skipped: no Chrome or Chromium. Install it: sudo apt-get install chromium')

const finding = suite('finding a browser')
finding('the first in PATH by name, a link of any kind', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'bc-find-'))
  try {
    for (const name of ['chromium', 'google-chrome']) writeFileSync(join(dir, name), '', { mode: 0o755 })
    writeFileSync(join(dir, 'google-chrome-stable'), '', { mode: 0o644 })
    assert.is(await findBrowser(`/nonexistent::${dir}`, []), join(dir, 'google-chrome'))
  } finally {
    rmSync(dir, { recursive: true })
  }
})
finding('none is exit 2, with what to type', async () => {
  try {
    await findBrowser('/nonexistent', [])
    assert.unreachable()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    assert.is(error.exitCode, EXIT.usage)
    assert.match(error.message, /No browser was found/)
    assert.match(error.hint, /apt-get install chromium/)
  }
})
finding('a folder for screenshots is made, or refused at once', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'bc-shots-'))
  try {
    for (const folder of ['a/b/c', 'a/b/', '.']) await prepareFolder(join(dir, folder))
    assert.equal(readdirSync(join(dir, 'a/b')), ['c'])
    writeFileSync(join(dir, 'file'), '')
    for (const folder of [join(dir, 'file'), join(dir, 'file/x'), '/dev/null', '/proc/none/x'])
      await prepareFolder(folder).then(
        () => assert.unreachable(folder),
        (error: Failure) => assert.is(error.exitCode, EXIT.usage),
      )
  } finally {
    rmSync(dir, { recursive: true })
  }
})
finding.run()

const browser = suite('verify --browser')
const run = installed ? browser : browser.skip
let site: Site
let dir = ''

/** Runs the script; nothing of the browser may be left when it has ended. */
async function look(args: string[] = [], options: Parameters<typeof verify>[1] = {}): ReturnType<typeof verify> {
  const result = await verify(['--url', site.url, '--browser', ...args], {
    ...options,
    env: { TMPDIR: dir, ...options.env },
  })
  assert.equal(
    processesThatStay(() => processesWith(dir)),
    [],
  )
  assert.equal(readdirSync(dir), [])
  return result
}

function openBrowser(): Promise<Browser> {
  const shell = createShell({ PATH, HOME: dir }, new AbortController().signal)
  return findBrowser(PATH).then((file) => startBrowser(shell, file, false))
}

browser.before(async () => {
  site = await startSite()
  dir = mkdtempSync(join(tmpdir(), 'bc-b-'))
})
browser.after.each(() => site.reset())
browser.after(async () => {
  await site.stop()
  rmSync(dir, { recursive: true })
})

run(
  'what a person sees is green, also if it comes up later or only Node knows the certificate, and kept as PNGs',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bc-shots-'))
    const shots = join(folder, 'deep/shots')
    const authority = createAuthority()
    const secure = await startSite({ tls: authority.issue('IP:127.0.0.1', 90) })
    try {
      let left = 3
      secure.set('/map/libraries.geojson', (request, response) =>
        (left-- > 0 ? json({}, 503) : json({ type: 'FeatureCollection', features: [] }))(request, response),
      )
      setTimeout(() => secure.reset(), 1500)
      const args = ['--url', secure.url, '--screenshots', shots, '--timeout', '120']
      const { exitCode, stdout, stderr } = await look(args, { env: { NODE_EXTRA_CA_CERTS: authority.caFile } })
      assert.is(exitCode, 0, stdout + stderr)
      assert.is(stdout.match(/^(pass|skip) {2}/gm)?.length, 10, stdout)
      assert.match(stdout, /^pass {2}home in a browser .*changes \d+ of \d+ elements/m)
      assert.match(stdout, /^pass {2}map in a browser .*4 markers drawn/m)
      assert.ok(secure.requests.some(({ headers }) => headers['user-agent']?.includes('Chrome')))
      for (const { headers } of secure.requests)
        assert.match(headers['user-agent'] ?? '', /book-corners-ops\/\d+\.\d+\.\d+ \(\+verify\)$/)
      for (const name of ['home.png', 'map.png']) {
        const png = readFileSync(join(shots, name))
        assert.is(png.toString('latin1', 1, 4), 'PNG')
        assert.equal([png.readUInt32BE(16), png.readUInt32BE(20)], [1280, 960])
      }
    } finally {
      await secure.stop()
      rmSync(folder, { recursive: true })
    }
  },
)
const FORBIDDEN = `<html><head><meta http-equiv="Content-Security-Policy" content="style-src 'none'"><link rel="stylesheet" href="/static/css/app.css"></head><body><h1>Hi</h1></body></html>`
const BROKEN: [promise: string, name: 'home' | 'map', routes: Record<string, Handler>, seen: RegExp][] = [
  [
    'a stylesheet that changes nothing',
    'home',
    { '/static/css/app.css': answer(200, 'text/css', '.unused { color: red }') },
    /changes nothing/,
  ],
  [
    'a stylesheet of another type',
    'home',
    { '/static/css/app.css': html('<h1>Hi</h1>') },
    /no stylesheet of the site is in force/,
  ],
  [
    'a stylesheet that the page forbids',
    'home',
    { '/': answer(200, 'text/html', FORBIDDEN) },
    /no stylesheet of the site is in force/,
  ],
  ['an error page with styles', 'home', { '/': html('<h1>Oh</h1>', { status: 500 }) }, /the page answered 500/],
  [
    "Cloudflare's challenge",
    'home',
    { '/': answer(403, 'text/html', '<title>Just a moment...</title>', { 'cf-mitigated': 'challenge' }) },
    /^Cloudflare's challenge answered with 403 in place of the site$/,
  ],
  ['no map', 'map', { '/map/': html('<h1>Explore</h1>') }, /no element #libraries-map/],
  [
    'markers that are not drawn',
    'map',
    { '/map/': html(MAP_BODY.replace("'leaflet-marker-icon'", "'other'")) },
    /no marker is drawn$/,
  ],
  [
    'markers out of sight',
    'map',
    { '/map/': html(MAP_BODY.replace('(longitude + 15)', '(longitude + 1500)')) },
    /no marker is drawn \(4 out of sight\)/,
  ],
  [
    'markers without a size',
    'map',
    { '/map/': html(`<style>.leaflet-marker-icon { display: none !important }</style>${MAP_BODY}`) },
    /no marker is drawn \(4 out of sight\)/,
  ],
  [
    'data without features',
    'map',
    { '/map/libraries.geojson': json({ type: 'FeatureCollection', features: [] }) },
    /no marker is drawn/,
  ],
  [
    'a script that does not come',
    'map',
    { '/map/': html(`<script src="http://127.0.0.1:1/leaflet.js"></script>${MAP_BODY.replace('fetch(', 'L.map(')}`) },
    /no marker is drawn; http:\/\/127.0.0.1:1\/leaflet.js could not be loaded$/,
  ],
  [
    'a script that fails',
    'map',
    { '/map/': html(MAP_BODY.replace('fetch(', 'L.map(')) },
    /a script of the page failed: ReferenceError: L is not defined/,
  ],
]
async function seeBroken(opened: Browser): Promise<void> {
  const shots = mkdtempSync(join(tmpdir(), 'bc-shots-'))
  try {
    for (const [promise, name, routes, seen] of BROKEN) {
      for (const [path, handler] of Object.entries(routes)) site.set(path, handler)
      const png = join(shots, `${name}.png`)
      const see = (settleMs: number): Promise<string | undefined> =>
        browserChecks(opened, site.url, { folder: shots, settleMs })
          .find((check) => check.name === `${name} in a browser`)
          ?.run(AbortSignal.timeout(30_000))
          .then(
            () => 'pass',
            (error: Error) => error.message,
          ) ?? Promise.resolve(undefined)
      rmSync(png, { force: true })
      let saw = await see(700)
      // On a busy machine a page needs longer for what it does, and so does its picture.
      if (!seen.test(saw ?? '') || !existsSync(png)) saw = await see(8000)
      assert.match(saw ?? '', seen, promise)
      assert.ok(existsSync(png), promise)
      site.reset()
    }
  } finally {
    rmSync(shots, { recursive: true })
  }
}

const HOSTILE: [promise: string, script: string][] = [
  ['a script that never ends', 'for (;;);'],
  ['a question to the visitor', "for (;;) alert('Hi')"],
  ['new windows', "setInterval(() => window.open('/'), 5)"],
  ['a page that goes elsewhere for ever', "location.href = '/?' + Math.random()"],
  ['more and more memory', 'const all = []; setInterval(() => all.push(new Array(1e6).fill(all)), 1)'],
]
async function holdUp(opened: Browser): Promise<void> {
  const signal = new AbortController().signal
  for (const [promise, script] of HOSTILE) {
    site.set('/map/', html(`<h1>Map</h1><script>${script}</script>`))
    const started = performance.now()
    const [home, map] = await Promise.all(
      browserChecks(opened, site.url, { settleMs: 300 }).map((check) =>
        runCheck(check, {
          deadlineMs: started + (check.name.startsWith('map') ? 2000 : 60_000),
          patienceMs: 9000,
          signal,
        }),
      ),
    )
    assert.equal([home?.verdict, map?.verdict], ['pass', 'fail'], promise)
  }
}

run(
  'what a person would not see is red, and kept as it is; no page can hold up the verification; and a browser that no longer listens is killed',
  async () => {
    const own = mkdtempSync(join(tmpdir(), 'bc-stuck-'))
    const before = process.env.TMPDIR
    process.env.TMPDIR = own
    try {
      const opened = await openBrowser()
      try {
        await seeBroken(opened)
        await holdUp(opened)
        const leader = processesWith(`--user-data-dir=${own}`).find((line) => !line.includes('--type='))
        process.kill(Number.parseInt(leader ?? '', 10), 'SIGSTOP')
      } finally {
        await opened.close()
      }
      assert.equal(
        processesThatStay(() => processesWith(own)),
        [],
      )
      assert.equal(readdirSync(own), [])
    } finally {
      if (before === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = before
      rmSync(own, { recursive: true })
    }
  },
)
run('a page that never comes, and one that never ends its script, are red when the time is up', async () => {
  site.set('/', () => {})
  site.set('/map/', html('<h1>Map</h1><script>for (;;);</script>'))
  const { exitCode, stdout } = await look(['--timeout', '3'])
  assert.is(exitCode, 1)
  for (const name of ['home', 'map']) assert.match(stdout, new RegExp(`^fail {2}${name} in a browser`, 'm'))
})
for (const [signal, exitCode] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  run(`${signal} leaves neither a browser nor its profile`, async () => {
    site.set('/map/', () => {})
    const result = await look(['--timeout', '30'], { signal })
    assert.is(result.exitCode, exitCode)
  })
run('a browser that does not start is exit 2', async () => {
  const bin = mkdtempSync(join(tmpdir(), 'bc-bin-'))
  writeFileSync(join(bin, 'google-chrome-stable'), '#!/bin/sh\necho "error: no usable sandbox" >&2\nexit 1\n', {
    mode: 0o755,
  })
  try {
    const { exitCode, stderr } = await look([], { env: { PATH: `${bin}:${PATH}` } })
    assert.is(exitCode, 2)
    assert.match(stderr, /google-chrome-stable could not be started: error: no usable sandbox/)
  } finally {
    rmSync(bin, { recursive: true })
  }
})
browser.run()

const server = suite('without playwright-core, as on the server')
server('--browser is exit 2 and says what to install; everything else works', async () => {
  const [release, site] = [mkdtempSync(join(tmpdir(), 'bc-release-')), await startSite()]
  try {
    for (const name of ['lib', 'scripts', 'package.json', 'tsconfig.json'])
      cpSync(join(PROJECT, name), join(release, name), { recursive: true })
    const { dependencies } = JSON.parse(readFileSync(join(release, 'package.json'), 'utf8'))
    assert.equal(Object.keys(dependencies).sort(), ['dotenv', 'tsx', 'zx'])
    mkdirSync(join(release, 'node_modules'))
    for (const name of Object.keys(dependencies))
      symlinkSync(join(PROJECT, 'node_modules', name), join(release, 'node_modules', name))
    const bin = join(release, 'bin')
    mkdirSync(bin)
    writeFileSync(join(bin, 'chromium'), '', { mode: 0o755 })
    const command = [process.execPath, '--import', LOADER, '--', join(release, 'scripts/verify.ts')]
    const options = { command, env: { PATH: `${bin}:${PATH}` } }
    const { exitCode, stdout, stderr } = await verify(['--url', site.url, '--browser'], options)
    assert.equal([exitCode, stdout], [2, ''])
    assert.match(stderr, /need the package playwright-core, which is not installed here\.\n.*type: npm ci/)
    assert.is((await verify(['--url', site.url], options)).exitCode, 0)
  } finally {
    await site.stop()
    rmSync(release, { recursive: true })
  }
})
server.run()
