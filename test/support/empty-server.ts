// A new server with nothing on it but Dokku and its plugins, on which a runbook is typed; and the machines that it is typed at.
import { chown, mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { executable } from './engineer.ts'
import type { Output } from './launch.ts'
import { findPostgres } from './postgres.ts'
import { ask, endServices, PLUGINS, type Sandbox } from './sandbox.ts'
import { scriptCommand } from './scripts.ts'
import { type Server, startServer } from './server.ts'

export interface EmptyServer extends Pick<Sandbox, 'sql'> {
  /** The host, and the engineer's machine. */
  readonly server: Server
  /** Types commands, as they are printed, in a place that a runbook names; an error ends them. */
  type(where: string, commands: string, env?: Record<string, string>): Promise<Output>
  /** What Dokku was told there: its arguments, a line each. */
  calls: string
  stop(): Promise<void>
}

/** What is no part of a sandbox: users and their groups, sudo's rules, root's own SSH. */
const STUBS: Record<string, string> = {
  id: 'case $1 in deploy) exit 1 ;; esac\nexec /usr/bin/id "$@"',
  adduser: 'exit 0',
  chown: 'case $* in *deploy:*) exit 0 ;; esac\nexec /usr/bin/chown "$@"',
  visudo: 'exit 0',
  sudo: 'while [ "$1" = -n ]; do shift; done\nexec "$@"',
  // Without owners that this machine does not have; whoever is not root owns what they make.
  install: `args=()
while [ $# -gt 0 ]; do
  case $1 in
    -o | -g) if [[ $2 =~ ^[0-9]+$ && $(/usr/bin/id -u) == 0 ]]; then args+=("$1" "$2"); fi; shift ;;
    *) args+=("$1") ;;
  esac
  shift
done
exec /usr/bin/install "\${args[@]}"`,
  crontab: 'if [ "$1" = -l ]; then exec cat "$HOME/crontab"; fi\nexec tee "$HOME/crontab" > /dev/null',
}

export async function startEmptyServer(): Promise<EmptyServer> {
  const server = await startServer({ isSynced: false })
  await server.gate('')
  const { dir } = server
  const { bin, owner, template } = findPostgres()
  await rm(join(dir, 'apps/book-corners'), { recursive: true })
  for (const folder of ['services', 'typed', 'copy', 'root', 'sudoers', 'logrotate', 'lib', 'other/.ssh'])
    await mkdir(join(dir, folder), { recursive: true })
  if (process.getuid?.() === 0)
    for (const folder of [dir, join(dir, 'services')]) await chown(folder, owner.uid, owner.gid)
  const facts = `PG_BIN=${bin}\nOWNER_UID=${owner.uid}\nOWNER_GID=${owner.gid}\nTEMPLATE=${template}\n`
  await writeFile(join(dir, 'postgres.env'), facts)
  const letsencrypt = { name: 'letsencrypt', version: '0.22.0', core: false, description: 'letsencrypt plugin' }
  await writeFile(join(dir, 'plugins.json'), JSON.stringify([...PLUGINS, letsencrypt]))
  const calls = join(dir, 'dokku-calls')
  const typed = join(dir, 'typed')
  for (const [name, script] of Object.entries(STUBS)) await executable(join(typed, name), `#!/bin/bash\n${script}\n`)
  await executable(
    join(typed, 'dokku'),
    `#!/bin/sh\nprintf '%s\\n' "$*" >>'${calls}'\nexec '${join(dir, 'bin/dokku')}' "$@"\n`,
  )
  // Root's SSH to the new server.
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's.
  await executable(join(dir, 'copy/scp'), '#!/bin/sh\nexec cp -rp "$2" "${3#*:}"\n')
  // It takes the home of the password file.
  await executable(
    join(dir, 'copy/ssh-keygen'),
    '#!/bin/sh\nexec /usr/bin/ssh-keygen -f "$HOME/.ssh/known_hosts" "$@"\n',
  )
  await writeFile(join(dir, 'other/.ssh/known_hosts'), '')
  await writeFile(join(dir, 'other/.ssh/id_ed25519.pub'), 'ssh-ed25519 AAAA engineer\n')
  for (const name of ['deploy', 'verify'])
    await executable(
      join(dir, 'near', name),
      `#!/bin/sh\nexec ${scriptCommand(`${name}.ts`)
        .map((word) => `'${word}'`)
        .join(' ')} "$@"\n`,
    )
  // Before the host's folder goes.
  const end = (): void => endServices(dir)
  process.prependListener('exit', end)
  return {
    server,
    calls,
    type: (where, commands, env = {}) => type(server, where, commands, env),
    sql: (sql, service = 'book-corners-db') =>
      ask(server.launch, join(bin, 'psql'), join(dir, 'services', service), sql),
    stop: async () => {
      process.off('exit', end)
      end()
      await server.stop()
    },
  }
}

/** Paths of a server, which are folders of the sandbox here. */
function placed(commands: string, { dir, home }: Server): string {
  const paths: [there: string, here: string][] = [
    ['/home/deploy', home],
    ['/root/kit', join(dir, 'root/kit')],
    ['/etc/sudoers.d', join(dir, 'sudoers')],
    ['/etc/logrotate.d', join(dir, 'logrotate')],
    ['/var/lib/book-corners-ops', join(dir, 'lib/ops')],
    ['/var/log/', join(dir, 'lib/')],
  ]
  return paths.reduce((text, [there, here]) => text.replaceAll(there, here), commands)
}

function type(server: Server, where: string, commands: string, env: Record<string, string>): Promise<Output> {
  const { dir, home } = server
  const node = dirname(process.execPath)
  const path = (...folders: string[]): string => [...folders, node, '/usr/bin', '/bin'].join(':')
  const places: Record<string, Record<string, string>> = {
    'On the machine with this folder': { HOME: join(dir, 'other'), PATH: path(join(dir, 'copy')) },
    'On the new server, as root': { HOME: join(dir, 'root'), PATH: path(join(dir, 'typed')) },
    'On the new server, as deploy': {
      HOME: home,
      PATH: path(join(dir, 'typed')),
      OPS_ENV_FILE: join(home, '.env.backup'),
    },
    'On the laptop': {},
    "On the laptop, in the app's checkout": {},
  }
  const place = places[where]
  if (!place) throw new Error(`Nobody types here: ${where}`)
  const text = placed(commands, server)
  return server.launch('bash', ['-e', '-o', 'pipefail', '-c', text], { env: { ...place, ...env } }).ended
}
