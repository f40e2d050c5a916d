// What the tests, the demo and the benchmarks run for real: the Debian package, and how to see that it is there.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'

function onPath(program: string) {
  return (): boolean =>
    ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].some((folder) =>
      existsSync(`${folder}/${program}`),
    )
}

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
  curl: onPath('curl'),
  openssl: onPath('openssl'),
  sudo: onPath('visudo'),
}

/** Installs the system packages that are missing, as root or through `sudo -n`; otherwise ends with the one command to type. */
export function ensurePackages(): void {
  const missing = Object.keys(PACKAGES).filter((name) => !PACKAGES[name]?.())
  if (missing.length > 0 && !install(missing)) {
    console.error(`Missing system packages. Type: sudo apt-get install -y ${missing.join(' ')}`)
    process.exit(1)
  }
  // 300 MB: where nobody asked for them the browser's tests are skipped, and say so.
  const root = process.getuid?.() === 0
  if (process.env.CI === 'true' && root && !BROWSERS.some((name) => onPath(name)())) install(['chromium'])
}

function install(packages: readonly string[]): boolean {
  const root = process.getuid?.() === 0
  if (!onPath('apt-get')() || (!root && spawnSync('sudo', ['-n', 'true']).status !== 0)) return false
  console.log(`Installing ${packages.join(', ')}`)
  const apt = (...args: string[]): boolean => {
    const [program = '', ...rest] = [
      ...(root ? [] : ['sudo', '-n']),
      'env',
      'DEBIAN_FRONTEND=noninteractive',
      'apt-get',
      ...args,
    ]
    return spawnSync(program, rest, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0
  }
  return apt('update', '-qq') && apt('install', '-y', '-qq', '--no-install-recommends', ...packages)
}
