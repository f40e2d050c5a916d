import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'

// What the tests, the demo and the benchmark run for real: the Debian package, and how to see that it is there.
const onPath = (program: string) => (): boolean =>
  ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].some((folder) =>
    existsSync(`${folder}/${program}`),
  )
const BROWSERS = ['google-chrome-stable', 'google-chrome', 'chromium', 'chromium-browser']
const PACKAGES: Record<string, () => boolean> = {
  borgbackup: onPath('borg'),
  postgresql: () =>
    existsSync('/usr/lib/postgresql') &&
    readdirSync('/usr/lib/postgresql').some((version) => existsSync(`/usr/lib/postgresql/${version}/bin/initdb`)),
  'openssh-server': onPath('sshd'),
  'openssh-client': onPath('ssh'),
  git: onPath('git'),
  procps: onPath('ps'),
  openssl: onPath('openssl'),
}

/** Installs the system packages that are missing, as root or through `sudo -n`; otherwise ends with the one command to type. */
export const ensurePackages = (): void => {
  const missing = Object.keys(PACKAGES).filter((name) => !PACKAGES[name]?.())
  // 300 MB: elsewhere the browser's tests are skipped, and say so.
  if (process.env.CI === 'true' && process.getuid?.() === 0 && !BROWSERS.some((name) => onPath(name)()))
    missing.push('chromium')
  if (missing.length === 0) return
  const command = `apt-get install -y --no-install-recommends ${missing.join(' ')}`
  const root = process.getuid?.() === 0
  const sudo = root ? [] : ['sudo', '-n']
  const can = onPath('apt-get')() && (root || spawnSync('sudo', ['-n', 'true']).status === 0)
  if (!can) {
    console.error(`Missing system packages. Type: sudo ${command}`)
    process.exit(1)
  }
  console.log(`Installing ${missing.join(', ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const [program = '', ...args] = [...sudo, 'env', 'DEBIAN_FRONTEND=noninteractive', ...command.split(' ')]
  const install = (): void => void execFileSync(program, args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
  try {
    const [update = '', ...updateArgs] = [...sudo, 'apt-get', 'update', '-qq']
    execFileSync(update, updateArgs, { env, stdio: ['ignore', 'ignore', 'inherit'] })
    install()
  } catch {
    console.error(`The system packages could not be installed. Type: sudo ${command}`)
    process.exit(1)
  }
}
