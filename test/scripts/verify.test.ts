import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure } from '../../lib/core/failure.ts'
import { parseExpectedSha, parseSeconds, parseSite } from '../../lib/verify/arguments.ts'
import { annotation, annotations, summaryMarkdown } from '../../lib/verify/github-actions.ts'
import { liveTable, resultLine, resultsJson, summaryLine } from '../../lib/verify/report.ts'
import type { CheckResult } from '../../lib/verify/run-check.ts'
import { SCRIPTS_LOADER } from '../support/loader.ts'
import { processesThatStay, processesWith } from '../support/processes.ts'
import { html, json, type Site, startSite } from '../support/site.ts'
import { measureHealthy, verify } from '../support/verify.ts'

function line(verdict: CheckResult['verdict'], name = 'health', seen = 'x'): CheckResult {
  return {
    name,
    verdict,
    seen,
    tookMs: verdict === 'skip' ? 0 : 120,
    tries: verdict === 'skip' ? 0 : 1,
  }
}

const args = suite('arguments')

function refused(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    assert.is(error.exitCode, 2)
    return error.message
  }
  throw new Error('it was taken')
}

args('an address is taken without its trailing slash', () => {
  assert.is(parseSite('http://127.0.0.1:8000/'), 'http://127.0.0.1:8000')
  assert.is(parseSite('HTTPS://Book.Example:443'), 'https://book.example')
})
for (const [text, says] of [
  ['bookcorners.org', /Did you mean https:\/\/bookcorners.org\?/],
  ['localhost:8000', /Did you mean https:\/\/localhost:8000\?/],
  ['ftp://x.example', /starts with https/],
  ['https://', /starts with https/],
  ['https://a b', /starts with https/],
  ['https://me:secret@x.example', /must not hold a user or password/],
  ['https://x.example/map/', /without a path/],
  ['https://x.example/?a', /without a path/],
] as const)
  args(`an address is refused: ${text}`, () =>
    assert.match(
      refused(() => parseSite(text)),
      says,
    ),
  )
args('a refused address with a password is not repeated', () => {
  assert.not.match(
    refused(() => parseSite('https://me:hunter2@x.example')),
    /hunter2/,
  )
})
args('seconds', () => {
  assert.equal(['60', '0.5', '3600'].map(parseSeconds), [60, 0.5, 3600])
  for (const text of ['0', '0.0', '60s', '1e3', '', 'abc', '3601', '1,5', 'Infinity']) refused(() => parseSeconds(text))
})
args('commits', () => {
  assert.equal(['abcdef1', 'ABCDEF1234'].map(parseExpectedSha), ['abcdef1', 'abcdef1234'])
  for (const text of ['abcdef', 'abcdefg', 'f'.repeat(41), 'master', '']) refused(() => parseExpectedSha(text))
})
args.run()

const report = suite('report')
report('a line says verdict, name, time, tries and what was seen', () => {
  assert.is(resultLine(line('pass')), 'pass  health                120 ms           x')
  assert.match(resultLine({ ...line('fail'), tries: 4 }), /^fail {2}health {16}120 ms, 4 tries {2}x$/)
})
report('the summary counts', () => {
  const results = [line('pass'), line('warn'), line('fail'), line('skip')]
  assert.is(
    summaryLine('https://x', results, 950),
    'https://x is NOT verified: 1 passed, 1 warning, 1 failed, 1 skipped, in 950 ms',
  )
  assert.match(summaryLine('https://x', [line('pass')], 5), /^https:\/\/x is verified: 1 passed, in/)
})
report('the JSON has times in seconds', () => {
  assert.equal(JSON.parse(JSON.stringify(resultsJson('https://x', [line('pass')], 1234.5))), {
    url: 'https://x',
    verified: true,
    checks: [{ name: 'health', verdict: 'pass', seen: 'x', seconds: 0.12, tries: 1 }],
    seconds: 1.235,
  })
})
report('annotations are escaped as the runner reads them', () => {
  assert.is(annotation('error', 'a: b, c%', '50%\r\n::error::x'), '::error title=a%3A b%2C c%25::50%25%0D%0A::error::x')
  assert.equal(annotations([line('pass'), line('skip')]), [])
  assert.equal(
    annotations([line('warn'), line('fail')]).map((text) => text.slice(0, 9)),
    ['::warning', '::error t'],
  )
  assert.match(annotations([line('skip')])[0] ?? '', /^::error .*no check ran/)
})
report('a cell of the Markdown table stays in its cell', () => {
  const [, , , , row] = summaryMarkdown('https://x', [
    line('fail', 'health', 'a|b <img> `c` [d](e) @f\ng \\| _h_'),
  ]).split('\n')
  assert.is(row, '| ❌ fail | health | a\\|b &lt;img> \\`c\\` \\[d\\]\\(e\\) &#64;f g \\\\\\| \\_h\\_ | 120 ms | 1 |')
})
report('the live table is drawn over itself, cut to the width, and whole at the end', () => {
  let screen = ''
  const table = liveTable(['health', 'admin'], { write: (text) => (screen += text), columns: 60, rows: 24 })
  const long = 'z'.repeat(100)
  table.retry(line('fail', 'admin', long))
  table.settle(line('pass', 'health', long))
  assert.not.match(screen, /z{50}/)
  assert.match(screen, /try 1: z+/)
  table.settle(line('fail', 'admin', long))
  table.finish()
  assert.is(screen.split('\u001b[2A').length, 4)
  assert.match(screen.slice(-400), /z{100}.*z{100}\n$/s)
})

/** What a terminal shows in the end of what was written to it: it wraps, and knows the codes of the live table. */
function shownAt(columns: number, written: string): string {
  const rows: string[] = ['']
  let [at, column] = [0, 0]
  const row = (): string => (rows[at] ??= '')
  for (const [, code, count, char = ''] of written.matchAll(/\u001b\[(?:\d+m|([KJ])|(\d+)A)|([\s\S])/g)) {
    if (count) at -= Number(count)
    else if (code === 'J') rows.splice(at, rows.length, row().slice(0, column))
    else if (code === 'K') rows[at] = row().slice(0, column)
    else if (char === '\r') column = 0
    else if (char === '\n') [at, column] = [at + 1, 0]
    else if (char) {
      if (column === columns) [at, column] = [at + 1, 0]
      rows[at] = row().slice(0, column).padEnd(column) + char + row().slice(column + 1)
      column++
    }
  }
  return rows.join('\n').trimEnd()
}

report('rows that are longer than the terminal is wide are whole in the end, and nothing else is left', () => {
  let screen = ''
  const table = liveTable(['health', 'admin'], { write: (text) => (screen += text), columns: 60, rows: 24 })
  const results = [line('pass', 'health', `${'a'.repeat(30)} ${'b'.repeat(10)}`), line('fail', 'admin', 'c'.repeat(70))]
  results.forEach(table.settle)
  table.finish()
  const whole = results.map((result) => (resultLine(result).match(/.{1,60}/g) ?? []).join('\n'))
  assert.is(shownAt(60, screen), whole.join('\n'))
})
report('a table higher than the screen is drawn once', () => {
  let screen = ''
  const table = liveTable(['health', 'admin'], { write: (text) => (screen += text), rows: 3 })
  for (const name of ['health', 'admin']) table.settle(line('pass', name))
  table.finish()
  assert.not.match(screen, /\u001b\[\dA/)
})
report.run()

const command = suite('verify')
let site: Site
let dir = ''
command.before(async () => {
  site = await startSite()
  dir = mkdtempSync(join(tmpdir(), 'bc-verify-'))
})
command.after.each(() => site.reset())
command.after(async () => {
  await site.stop()
  rmSync(dir, { recursive: true })
})

command('green: exit 0, one line per check on stdout, nothing on stderr', async () => {
  const { exitCode, stdout, stderr } = await verify(['--url', site.url])
  assert.equal([exitCode, stderr], [0, ''])
  const lines = stdout.trim().split('\n')
  assert.is(lines.length, 9)
  assert.match(lines.join('\n'), /^pass {2}map with markers .* 4 points/m)
  assert.match(lines[8] ?? '', /^\d{4}-\d\d-\d\dT\S+ http:\S+ is verified: 6 passed, 2 skipped/)
})
command('red: exit 1, and stderr says why, how to look further, and how to go back', async () => {
  site.set('/health/', json({ status: 'error' }, 503))
  const env = { DOKKU_HOST: 'vps.example', DOKKU_APP: 'books' }
  const { exitCode, stdout, stderr } = await verify(['--url', site.url, '--timeout', '1'], { env })
  assert.is(exitCode, 1)
  assert.match(stdout, /^fail {2}health .*tries .*503/m)
  assert.match(stderr, /health: \/health\/ answered 503/)
  for (const text of ['ssh dokku@vps.example logs books --num 100', 'logs:failed books', 'ps:report books', 'rollback'])
    assert.ok(stderr.includes(text), text)
})
command('--json: one object on stdout, green and red', async () => {
  const green = await verify(['--url', site.url, '--json'])
  assert.equal([green.exitCode, green.stderr], [0, ''])
  const { verified, checks, url, seconds } = JSON.parse(green.stdout)
  assert.equal([verified, checks.length, url, typeof seconds], [true, 8, site.url, 'number'])
  site.set('/login/', html('<h1>Maintenance</h1>'))
  const red = await verify(['--url', site.url, '--json', '--timeout', '1'], { env: { GITHUB_ACTIONS: 'true' } })
  assert.is(red.exitCode, 1)
  assert.is(JSON.parse(red.stdout).verified, false)
  assert.match(red.stderr, /^::error title=verify%3A login page::/m)
})
for (const [promise, flags, says] of [
  ['an unknown flag', ['--tiemout', '5'], /Unknown flag --tiemout. Did you mean --timeout\?/],
  ['a number that is none', ['--timeout', 'soon'], /--timeout must be a number/],
  ['an address that is none', ['--url', 'bookcorners.org'], /--url must be an address/],
  ['a commit that is none', ['--expect-sha', 'master'], /7 to 40 hexadecimal/],
  ['a commit without a host to ask', ['--expect-sha', 'abcdef1'], /DOKKU_HOST is not set/],
  ['an argument', ['https://x.example'], /Unexpected argument/],
  ['an env file that is not there', ['--url', 'http://127.0.0.1:9', '--env-file', '/none'], /\/none does not exist/],
  [
    'a folder that can not be made',
    ['--screenshots', '/dev/null/x', '--url', 'http://127.0.0.1:1'],
    /--screenshots|No browser/,
  ],
] as const)
  command(`usage: ${promise} is exit 2`, async () => {
    const { exitCode, stdout, stderr } = await verify([...flags])
    assert.equal([exitCode, stdout], [2, ''])
    assert.match(stderr, says)
  })
command('without --url the site is that of the settings, and all that is wrong with them is said at once', async () => {
  const { exitCode, stdout } = await verify([], { env: { SITE_URL: `${site.url}/` } })
  assert.is(exitCode, 0)
  assert.match(stdout, new RegExp(`${site.url} is verified`))
  const wrong = await verify(['--expect-sha', 'abcdef1'], { env: { SITE_URL: 'bookcorners' } })
  assert.is(wrong.exitCode, 2)
  assert.match(wrong.stderr, /2 problems:.*SITE_URL must be an address.*DOKKU_HOST is not set.*in the environment/s)
})
command('GitHub Actions: annotation, summary, output', async () => {
  site.set('/health/', json({ status: 'a|b' }))
  const [summary, output] = [join(dir, 'summary'), join(dir, 'output')]
  for (const file of [summary, output]) writeFileSync(file, 'before\n')
  const env = { GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: summary, GITHUB_OUTPUT: output }
  const red = await verify(['--url', site.url, '--timeout', '1'], { env })
  assert.is(red.exitCode, 1)
  assert.match(red.stdout, /^::error title=verify%3A health::health: .*a\|b/m)
  assert.match(readFileSync(summary, 'utf8'), /^before\n### .* NOT verified.*\| ❌ fail \| health \| .*a\\\|b/s)
  assert.is(readFileSync(output, 'utf8'), 'before\nverified=false\n')
  site.reset()
  const green = await verify(['--url', site.url], { env })
  assert.is(green.exitCode, 0)
  assert.not.match(green.stdout, /::error/)
  assert.is(readFileSync(output, 'utf8'), 'before\nverified=false\nverified=true\n')
})
command('GitHub Actions: a summary that can not be written hides neither the verdict nor what failed', async () => {
  const output = join(dir, 'other-output')
  const env = { GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: '/proc/none', GITHUB_OUTPUT: output }
  const green = await verify(['--url', site.url], { env })
  assert.is(green.exitCode, 0)
  assert.match(green.stderr, /Warning: GITHUB_STEP_SUMMARY can't be written/)
  site.set('/health/', json({ status: 'no' }))
  const red = await verify(['--url', site.url, '--timeout', '0.5'], { env: { ...env, GITHUB_OUTPUT: '/proc/none' } })
  assert.is(red.exitCode, 1)
  assert.match(red.stderr, /What failed:.*health.*rollback.*GITHUB_OUTPUT can't be written/s)
  assert.is(readFileSync(output, 'utf8'), 'verified=true\n')
})
command('outside of GitHub Actions there are no annotations', async () => {
  site.set('/health/', json({ status: 'no' }))
  const { stdout, stderr } = await verify(['--url', site.url, '--timeout', '0.5'], { env: { GITHUB_ACTIONS: 'false' } })
  assert.not.match(stdout + stderr, /::error/)
})
for (const [signal, exitCode] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  command(`${signal} while it tries again ends it at once, with ${exitCode}`, async () => {
    const result = await verify(['--url', 'http://127.0.0.1:1', '--timeout', '600'], { signal })
    assert.is(result.exitCode, exitCode)
    assert.match(result.stderr, new RegExp(`Interrupted by ${signal}`))
  })
command('with next to no environment, from another folder', async () => {
  const script = fileURLToPath(new URL('../../scripts/verify.ts', import.meta.url))
  const words = ['-i', 'PATH=/nonexistent', process.execPath, '--import', SCRIPTS_LOADER, script, '--url', site.url]
  const child = spawn('/usr/bin/env', words, { cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] })
  assert.is(await new Promise((resolve) => child.on('close', resolve)), 0)
})
command('a body without end is cut at a bound, not waited for', async () => {
  site.set('/', (_, response) => {
    response.writeHead(200, { 'content-type': 'text/html' })
    const timer = setInterval(() => response.write('<p>'), 20)
    response.on('close', () => clearInterval(timer))
  })
  const { exitCode, stdout } = await verify(['--url', site.url, '--timeout', '2'])
  assert.is(exitCode, 1)
  assert.match(stdout, /^fail {2}homepage.*not complete after/m)
})
command('a healthy site takes about as long as its slowest check', async () => {
  // One after the other they would take several times as long. A busy machine may need another attempt.
  const ratios: number[] = []
  while (ratios.length < 5 && !ratios.some((ratio) => ratio <= 1.5)) {
    const { totalMs, slowestMs } = await measureHealthy(400)
    assert.ok(slowestMs > 780, String(slowestMs))
    ratios.push(totalMs / slowestMs)
  }
  assert.ok(Math.min(...ratios) <= 1.5, ratios.join(', '))
})
command.run()

const release = suite('--expect-sha')
const SHA = '0123456789abcdef0123456789abcdef01234567'
release('the server is asked over SSH, as dokku, for the commit and the processes', async () => {
  const server = await startSite()
  const bin = mkdtempSync(join(tmpdir(), 'bc-ssh-bin-'))
  // What runs behind ssh is told by the arguments; the connection itself is proved by the tests of ssh.
  const fake = `#!/bin/sh
echo "$*" >> ${bin}/log
case "$*" in
  *"-O exit"*) ;;
  *git:report*) echo ${SHA} ;;
  *printenv*) cat ${bin}/revision ;;
  *ps:report*) echo '{"deployed":"true","running":"'$(cat ${bin}/running)'","status-web.1":"running (CID: 0123456789a)"}' ;;
esac
`
  writeFileSync(join(bin, 'ssh'), fake, { mode: 0o755 })
  writeFileSync(join(bin, 'running'), 'true')
  const options = { env: { PATH: `${bin}:/usr/bin:/bin`, DOKKU_HOST: 'vps.example' } }
  try {
    const good = await verify(['--url', server.url, '--expect-sha', SHA.slice(0, 8)], options)
    assert.is(good.exitCode, 0, good.stderr)
    assert.match(good.stdout, /^pass {2}release .*runs 01234567, web.1 running/m)
    const log = readFileSync(join(bin, 'log'), 'utf8')
    assert.match(log, /dokku@vps.example -- git:report book-corners --git-sha/)
    assert.match(log, /dokku@vps.example -- ps:report book-corners --format json/)
    const other = await verify(['--url', server.url, '--expect-sha', 'fffffff', '--timeout', '3'], options)
    assert.is(other.exitCode, 1)
    assert.match(other.stdout, /^fail {2}release .*runs 01234567.*; expected fffffff/m)
    writeFileSync(join(bin, 'revision'), `${'b'.repeat(40)}\n`)
    const skipped = await verify(['--url', server.url, '--expect-sha', SHA, '--timeout', '3'], options)
    assert.is(skipped.exitCode, 1)
    assert.match(skipped.stdout, /^fail {2}release .*deployed 01234567, but its container says it runs bbbbbbbb/m)
    writeFileSync(join(bin, 'running'), 'false')
    const down = await verify(['--url', server.url, '--expect-sha', SHA, '--timeout', '3'], options)
    assert.is(down.exitCode, 1)
    // A time that no other run of these tests sleeps.
    const hang = `sleep 31.${process.pid}`
    writeFileSync(join(bin, 'ssh'), `#!/bin/sh\ncase "$*" in *"-O exit"*) ;; *) exec ${hang} ;; esac\n`)
    const hanging = await verify(['--url', server.url, '--expect-sha', SHA, '--timeout', '3'], options)
    assert.is(hanging.exitCode, 1)
    assert.match(hanging.stdout, /^fail {2}release .*no answer in time/m)
    assert.equal(
      processesThatStay(() => processesWith(hang)),
      [],
    )
  } finally {
    await server.stop()
    rmSync(bin, { recursive: true })
  }
})
release.run()
