import { execFileSync } from 'node:child_process'
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CONTENT, PROJECT } from '../../lib/server/sync.ts'
import { type Cloudflare, startCloudflare, TOKEN } from '../support/cloudflare.ts'
import type { Running } from '../support/launch.ts'
import { processesThatStay } from '../support/processes.ts'
import { type Server, startServer } from '../support/server.ts'
import { type Site, startSite } from '../support/site.ts'
import { SMALL_APP } from '../support/small-app.ts'
import { SHELL, type Step, stepEnv, workflow } from '../support/workflow.ts'

/** A job of GitHub's on the sandbox: what its checkouts have made, and its steps' commands. */
interface DeployJob {
  workspace: string
  /** Where GITHUB_STEP_SUMMARY is. */
  summary: string
  /** Those that run a command. */
  steps: Step[]
  /** @param instead other values of its secrets, and of its inputs */
  start(step: Step, instead?: Record<string, string>, inputs?: Record<string, string>): Running
}

async function startDeployJob(
  server: Server,
  inputs: Record<string, string>,
  cloudflareUrl: string,
): Promise<DeployJob> {
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
  const deploy = workflow('deploy.yml').jobs.deploy ?? { steps: [] }
  const start: DeployJob['start'] = (step, instead = {}, otherInputs = {}) => {
    const env = stepEnv(deploy, step, { inputs: { ...inputs, ...otherInputs }, secrets: { ...secrets, ...instead } })
    const [shell, ...options] = SHELL
    return server.launch(shell, [...options, step.run ?? ''], {
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
  const withCommands = deploy.steps.filter(({ run }) => run !== undefined)
  return { workspace, summary, steps: withCommands, start }
}

async function makeKey(passphrase: string): Promise<string> {
  const file = join(server.dir, 'key_other')
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-f', file])
  return readFile(file, 'utf8')
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
let job: DeployJob

deployJob.before(async () => {
  ;[server, site, cloudflare] = await Promise.all([startServer({ isSynced: false }), startSite(), startCloudflare()])
  job = await startDeployJob(
    server,
    { app: 'book-corners', 'site-url': site.url, 'ops-ref': 'a'.repeat(40) },
    cloudflare.url,
  )
})
deployJob.after(async () => {
  await Promise.all([server?.stop(), site?.stop(), cloudflare?.stop()])
})

deployJob('its commands deploy an app with the shape of the real one', async () => {
  await server.commit('As the real one', { 'app.json': SMALL_APP['app.json'] ?? '' })
  server.push()
  execFileSync('git', ['-C', join(job.workspace, 'app'), 'pull', '-q'], { env: server.env })
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
  assert.equal(processesThatStay(server.processes), [])
})

const [CHECK, SET_UP, DEPLOY, REDACT, SHOW] = [
  'Check which scripts will run',
  'Set up SSH',
  'Deploy',
  'Take the secrets out of the report',
  'Show the summary',
].map((name) => workflow('deploy.yml').jobs.deploy?.steps.find((step) => step.name === name) as Step) as [
  Step,
  Step,
  Step,
  Step,
  Step,
]

deployJob('no secret is left in what is kept: neither the name of the server nor its address', async () => {
  const secrets = { DOKKU_HOST: 'LocalHost:2222', CLOUDFLARE_ZONE_ID: 'zone(1', CLOUDFLARE_API_TOKEN: 'a/b&c' }
  const log = join(job.workspace, 'report/deploy.log')
  await writeFile(log, 'ssh dokku@localhost\nto LOCALHOST:2222 (127.0.0.1)\nzone(1 a/b&c\n')
  await writeFile(join(job.workspace, 'report/summary.txt'), 'localhost: done\n')
  assert.is((await job.start(REDACT, secrets).ended).exitCode, 0)
  assert.is(await readFile(log, 'utf8'), 'ssh dokku@***\nto *** (***)\n*** ***\n')
  await writeFile(job.summary, '')
  assert.is((await job.start(SHOW, secrets).ended).exitCode, 0)
  assert.is(await readFile(job.summary, 'utf8'), '```text\n***: done\n```\n')
})

deployJob('nothing in a log ends the fence that it is shown in', async () => {
  await writeFile(join(job.workspace, 'report/summary.txt'), '')
  await writeFile(join(job.workspace, 'report/deploy.log'), 'a\n```\n<img src=x>\n')
  await writeFile(job.summary, '')
  assert.is((await job.start(SHOW).ended).exitCode, 0)
  assert.is(await readFile(job.summary, 'utf8'), "```text\na\n'''\n<img src=x>\n```\n")
})

deployJob('nothing is kept or shown that was not read through', () => {
  const steps = workflow('deploy.yml').jobs.deploy?.steps ?? []
  const after = steps.slice(steps.findIndex(({ name }) => name === REDACT.name) + 1)
  for (const { name, if: condition = '', run = '', uses = '' } of steps)
    if (/upload-artifact/.test(uses) || /STEP_SUMMARY/.test(run)) {
      assert.match(condition, /steps\.redact\.outcome == 'success'/, name)
      assert.ok(
        after.some((step) => step.name === name),
        name,
      )
    }
})

const KEYS: [promise: string, change: (key: string) => string | Promise<string>, says: RegExp][] = [
  ['none', () => '', /DOKKU_SSH_PRIVATE_KEY is empty/],
  ['one on a single line', (key) => key.replaceAll('\n', ' '), /can't be loaded: .*Paste the whole file, line by line/],
  ['half of one', (key) => key.slice(0, key.length / 2), /can't be loaded/],
  ['the public one', () => readFile(join(server.dir, 'key_dokku.pub'), 'utf8'), /can't be loaded/],
  ['one with a passphrase', () => makeKey('secret'), /can't be loaded: incorrect passphrase.*without a passphrase/],
]
for (const [promise, change, says] of KEYS)
  deployJob(`a key that ssh can't load is told before anything else: ${promise}`, async () => {
    const key = await readFile(join(server.dir, 'key_dokku'), 'utf8')
    const { exitCode, stdout } = await job.start(SET_UP, { DOKKU_SSH_PRIVATE_KEY: await change(key) }).ended
    assert.is(exitCode, 1)
    assert.match(stdout, /^::error title=Set up SSH::/m)
    assert.match(stdout, says)
    assert.not.match(stdout, /PRIVATE KEY-----/)
  })
deployJob('a key and host keys that were pasted on Windows work', async () => {
  const [key, hosts] = await Promise.all(
    ['key_dokku', 'known_hosts'].map(async (name) =>
      (await readFile(join(server.dir, name), 'utf8')).replaceAll('\n', '\r\n'),
    ),
  )
  const secrets = { DOKKU_SSH_PRIVATE_KEY: key ?? '', DOKKU_KNOWN_HOSTS: hosts ?? '' }
  const output = await job.start(SET_UP, secrets).ended
  assert.is(output.exitCode, 0, output.stdout)
  const { exitCode, stderr } = await server.launch('ssh', [`dokku@${server.host}`, 'apps:exists', 'book-corners']).ended
  assert.is(exitCode, 0, stderr)
})
deployJob('host keys that are missing are told', async () => {
  const { exitCode, stdout } = await job.start(SET_UP, { DOKKU_KNOWN_HOSTS: '' }).ended
  assert.is(exitCode, 1)
  assert.match(stdout, /DOKKU_KNOWN_HOSTS is empty: pin/)
})

for (const ref of ['main', 'v1.0.0', 'abcdef0', `${'a'.repeat(40)}\nmain`])
  deployJob(`scripts of ${JSON.stringify(ref)} are refused: another could be put there`, async () => {
    const { exitCode, stdout } = await job.start(CHECK, {}, { 'ops-ref': ref }).ended
    assert.is(exitCode, 1)
    assert.match(stdout, /^::error title=ops-ref::It must be a full commit/m)
  })

// As GitHub's runner does it: SIGINT to the shell of the step, and to nothing else.
deployJob('a job that is cancelled says what the server does, in its summary too', async () => {
  assert.is((await job.start(SET_UP).ended).exitCode, 0)
  await server.commit('Cancelled')
  server.push()
  execFileSync('git', ['-C', join(job.workspace, 'app'), 'pull', '-q'], { env: server.env })
  await server.fault('git-hook', 'deploy_waits=build')
  const cancelled = job.start(DEPLOY)
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
  assert.is((await job.start(SHOW).ended).exitCode, 0)
  assert.match(await readFile(job.summary, 'utf8'), /^```text\n[^`]*Interrupted by SIGINT[^`]*\n```\n$/)
  assert.not.match(await readFile(job.summary, 'utf8'), /::error/)
})

deployJob.run()
