import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { endsWith, readJsonLines, type Server, startServer } from '../support/server.ts'
import { answer, type Site, startSite } from '../support/site.ts'
import { atTerminal } from '../support/terminal.ts'

const test = suite('deploy to a site that then breaks')
let server: Server
let site: Site

test.before(async () => {
  ;[server, site] = await Promise.all([startServer(), startSite()])
})
test.before.each(() => site.reset())
test.after(async () => {
  await server?.stop()
  await site?.stop()
})

// The checks are repeated for a minute before they fail: this file takes that long.
test('a site that does not pass its checks makes a deploy fail that Dokku called a success', async () => {
  site.set('/admin/', answer(404, 'text/html', 'gone'))
  const { status, output } = await atTerminal('deploy.ts', ['--yes'], {
    env: { ...server.env, SITE_URL: site.url },
    cwd: server.app,
    prompt: /to go on: /,
    answer: () => undefined,
  })
  assert.is(status, 1, output)
  assert.is(server.running(), server.git('rev-parse', 'HEAD'))
  // What is waited for is on the screen until its time is up.
  assert.match(output, /Verifying \S+, for up to 60 s\.[\s\S]*pass {2}health[\s\S]*Waiting [345]\d s for admin …/)
  assert.match(output, /fails 1 check: admin/)
  assert.match(output, /is deployed .* but this did not pass the checks/)
  assert.match(output, /rollback/)
  const [entry] = await readJsonLines(join(server.opsDir, 'deploys.jsonl'))
  assert.equal([entry?.outcome, entry?.verified], ['deployed', false])
})

test("where Cloudflare's challenge answers in place of the site, that is said, and no way back is advised", async () => {
  await server.commit('Deployed again')
  for (const path of ['/', '/static/css/app.css', '/login/', '/map/', '/admin/', '/health/'])
    site.set(path, answer(403, 'text/html', '<title>Just a moment...</title>', { 'cf-mitigated': 'challenge' }))
  const output = await server.script('deploy.ts', [], { env: { SITE_URL: site.url } })
  endsWith(server, output, 1)
  assert.match(output.stderr, /Cloudflare's challenge answered \/health\/ with 403 in place of the site/)
  assert.match(output.stderr, /Nothing is known about the site itself[\s\S]*User Agent that contains book-corners-ops/)
  assert.not.match(output.stderr, /rollback/)
  assert.is(server.running(), server.git('rev-parse', 'HEAD'))
})

test.run()
