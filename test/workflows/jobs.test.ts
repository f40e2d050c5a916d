import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CONTENT, PROJECT } from '../../lib/server/sync.ts'
import { findBrowser } from '../../lib/verify/browser.ts'
import { launchIn } from '../support/launch.ts'
import { startSite } from '../support/site.ts'
import { writeSmallApp, writeTools } from '../support/small-app.ts'
import { defaultInputs, SHELL, stepEnv, type Values, workflow } from '../support/workflow.ts'

// Each command of the jobs that need no server, one after the other as the runner runs them.

const test = suite("the workflows' commands")
let dir = ''
test.before.each(async () => {
  dir = mkdtempSync(join(tmpdir(), 'bc-workflow-'))
  await writeSmallApp(join(dir, 'app'))
  await writeTools(join(dir, 'tools'))
  writeFileSync(join(dir, 'path'), '')
  writeFileSync(join(dir, 'log'), '')
})
test.after.each(() => rmSync(dir, { recursive: true }))

interface Ran {
  /** The name of the step that failed. */
  failed?: string
  stdout: string
  stderr: string
  /** What the stand-ins were told. */
  tools: string
}

interface RunOptions {
  values?: Values
  /** Where the checkout is; the app's by default. */
  cwd?: string
  env?: Record<string, string>
}

async function runJob(
  file: string,
  name: string,
  { values, cwd = join(dir, 'app'), env }: RunOptions = {},
): Promise<Ran> {
  const job = workflow(file).jobs[name] ?? { steps: [] }
  const said = { stdout: '', stderr: '' }
  const log = join(dir, 'log')
  for (const step of job.steps.filter(({ run }) => run !== undefined)) {
    const [shell, ...options] = SHELL
    const added = readFileSync(join(dir, 'path'), 'utf8').split('\n').filter(Boolean).reverse()
    const running = launchIn(new Set(), shell, [...options, step.run ?? ''], {
      cwd,
      env: {
        PATH: [...added, join(dir, 'tools'), dirname(process.execPath), '/usr/local/bin:/usr/bin:/bin'].join(':'),
        HOME: dir,
        CI: 'true',
        RUNNER_TEMP: dir,
        GITHUB_PATH: join(dir, 'path'),
        TOOLS: join(dir, 'tools'),
        TOOLS_LOG: log,
        ...env,
        ...stepEnv(job, step, { inputs: defaultInputs(file), ...values }),
      },
    })
    const { exitCode, stdout, stderr } = await running.ended
    said.stdout += stdout
    said.stderr += stderr
    if (exitCode !== 0) return { ...said, tools: readFileSync(log, 'utf8'), failed: step.name ?? '' }
  }
  return { ...said, tools: readFileSync(log, 'utf8') }
}

for (const session of JSON.parse(defaultInputs('app-tests.yml').sessions ?? '[]') as string[])
  test(`the tests: session ${session}`, async () => {
    const { failed, stdout, stderr, tools } = await runJob('app-tests.yml', 'test', { values: { matrix: { session } } })
    assert.is(failed, undefined, stderr)
    assert.match(stdout, new RegExp(`Session ${session} was successful`))
    assert.match(tools, /apt-get install .*libgdal-dev/)
    assert.match(readFileSync(join(dir, 'app/static/css/app.css'), 'utf8'), /a\{b:c\}/)
  })
test('the tests: a session that the app does not have fails', async () => {
  assert.is(
    (await runJob('app-tests.yml', 'test', { values: { matrix: { session: 'other' } } })).failed,
    'Run the session',
  )
})

test('the docs: with the schema that the management command prints, from mkdocs.yml', async () => {
  const { failed, stderr, tools } = await runJob('docs.yml', 'build')
  assert.is(failed, undefined, stderr)
  assert.is(JSON.parse(readFileSync(join(dir, 'app/site/openapi.json'), 'utf8')).openapi, '3.1.0')
  assert.is(readFileSync(join(dir, 'app/site/CNAME'), 'utf8'), 'developers.bookcorners.org\n')
  assert.match(
    tools,
    /uv venv --python 3\.14 .*\nuv pip install .*-r requirements\.txt -r requirements-docs\.txt zensical==/,
  )
})
test('the docs: an app without a requirements file for them', async () => {
  rmSync(join(dir, 'app/requirements-docs.txt'))
  assert.is((await runJob('docs.yml', 'build')).failed, undefined)
})
test('the docs: a command that prints no schema builds no site', async () => {
  const manage = join(dir, 'app/manage.py')
  writeFileSync(manage, readFileSync(manage, 'utf8').replace('"openapi"', '"swagger"'))
  assert.is((await runJob('docs.yml', 'build')).failed, 'Export the OpenAPI schema')
  assert.not(existsSync(join(dir, 'app/site')))
})
test('the docs: a command that the app does not have is told by its name', async () => {
  const inputs = { ...defaultInputs('docs.yml'), 'schema-command': 'other_command' }
  const { failed, stderr } = await runJob('docs.yml', 'build', { values: { inputs } })
  assert.is(failed, 'Export the OpenAPI schema')
  assert.match(stderr, /Unknown command: 'other_command'/)
})
const installed = await findBrowser('/usr/local/bin:/usr/bin:/bin').then(
  () => true,
  () => false,
)
if (!installed) console.log('Skipped: no Chrome or Chromium. Install it: sudo apt-get install chromium')
const withBrowser = installed ? test : test.skip
withBrowser('the screenshots of a deploy: from a checkout of these scripts, with nothing else', async () => {
  const [checkout, site] = [join(dir, 'ops'), await startSite()]
  try {
    for (const name of CONTENT) cpSync(join(PROJECT, name), join(checkout, name), { recursive: true })
    const { failed, stdout, stderr } = await runJob('deploy.yml', 'screenshots', {
      cwd: checkout,
      values: { inputs: { 'site-url': site.url } },
      env: { npm_config_cache: execFileSync('npm', ['config', 'get', 'cache']).toString().trim() },
    })
    assert.is(failed, undefined, stdout + stderr)
    assert.equal(readdirSync(join(checkout, 'report')).sort(), ['screenshots', 'verify.txt'])
    assert.equal(readdirSync(join(checkout, 'report/screenshots')).sort(), ['home.png', 'map.png'])
  } finally {
    await site.stop()
  }
})
test.run()
