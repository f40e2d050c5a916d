// The app's checkout on the engineer's machine, and its origin.
import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

export interface AppCheckout {
  /** The app's checkout, and its bare origin. */
  readonly app: string
  readonly origin: string
  /** Git in the app's checkout. */
  git(...args: string[]): string
  /** Commits files in the app's checkout; returns the SHA. */
  commit(subject: string, files?: Record<string, string>): Promise<string>
  push(): void
}

const APP_FILES: Record<string, string> = {
  Dockerfile: 'FROM node:22-alpine AS css\nRUN npm ci\n',
  'package.json': '{"name":"book-corners"}\n',
  'package-lock.json': '{"name":"book-corners","lockfileVersion":3,"packages":{}}\n',
  'app.json': JSON.stringify({
    scripts: { dokku: { predeploy: 'python manage.py migrate --noinput' } },
    healthchecks: { web: [{ type: 'startup', name: 'web check', path: '/health/', attempts: 3, timeout: 5, wait: 5 }] },
  }),
  'libraries/migrations/__init__.py': '',
  'libraries/migrations/0001_initial.py': 'operations = []\n',
}

/** With a first commit, which origin has as well. */
export async function makeCheckout(dir: string, env: Record<string, string>): Promise<AppCheckout> {
  const [app, origin] = [join(dir, 'checkout'), join(dir, 'origin.git')]
  const git = (...args: string[]): string => gitIn(app, args, env)
  const commit: AppCheckout['commit'] = async (subject, files = { [`notes/${subject}.txt`]: subject }) => {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(app, path)), { recursive: true })
      await writeFile(join(app, path), text)
    }
    git('add', '-A')
    git('commit', '-q', '--allow-empty', '-m', subject)
    return git('rev-parse', 'HEAD')
  }
  const push = (): void => void git('push', '-q', 'origin', 'HEAD:master')
  gitIn(dir, ['init', '-q', '--bare', origin], env)
  gitIn(dir, ['clone', '-q', origin, app], env)
  await commit('A map of little libraries', APP_FILES)
  push()
  return { app, origin, git, commit, push }
}

/** Runs git in a folder; returns what it printed, without the spaces around it. */
export function gitIn(folder: string, args: readonly string[], env: Record<string, string>): string {
  return execFileSync('git', ['-C', folder, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    .toString()
    .trim()
}
