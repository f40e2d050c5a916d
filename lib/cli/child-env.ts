// What the programs that are started find in their environment, and what every ssh is told.
import type { Env } from '../core/shell.ts'
import type { EnvFile } from './env-file.ts'

/** Secrets, and Borg's own settings: only the program that needs them gets them. */
const PRIVATE = /^(BORG_|CLOUDFLARE_)|HEALTHCHECK_URL$|^DATABASE_URL$/
/** Git sets these for a hook or an alias. With them it works on the caller's repository, whichever folder it is run in. */
const CALLERS_REPOSITORY = /^GIT_(DIR|WORK_TREE|COMMON_DIR|INDEX_FILE|OBJECT_DIRECTORY|NAMESPACE|PREFIX)$/

/** Where PostgreSQL's programs of this machine would go without being told. */
const CALLERS_DATABASE = /^PG[A-Z]+$/

/** Dokku takes it for what it is asked, whatever its arguments are; sudo need not drop it. */
const CALLERS_COMMAND = 'SSH_ORIGINAL_COMMAND'

/**
 * Options of every ssh that a script starts, ours and Borg's. Nothing asks. The host key must be known already, and the
 * server adds none. It gets no agent, no display and no port; what the user's configuration may add for work by hand (a
 * terminal, a command) would break what is said over the connection.
 */
export const UNATTENDED_SSH: readonly string[] = [
  'BatchMode=yes',
  'StrictHostKeyChecking=yes',
  'UpdateHostKeys=no',
  'ForwardAgent=no',
  'ForwardX11=no',
  'ClearAllForwardings=yes',
  'PermitLocalCommand=no',
  'RemoteCommand=none',
  'RequestTTY=no',
]

/**
 * Borg's environment: every BORG_ variable of the environment and of the env file. Borg's questions are answered "no"
 * where these do not answer them, so that nothing hangs. Its exit statuses are the classic ones: 1 warning, 2 error.
 */
export function borgEnv(environment: Env, file: EnvFile): Env {
  return {
    BORG_RELOCATED_REPO_ACCESS_IS_OK: 'no',
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'no',
    // A host that drops what it is sent is given up after a quarter of a minute, a dead connection within five minutes.
    BORG_RSH: ['ssh', ...UNATTENDED_SSH, 'ConnectTimeout=15', 'ServerAliveInterval=30', 'ServerAliveCountMax=10'].join(
      ' -o ',
    ),
    ...Object.fromEntries(
      Object.entries({ ...file.values, ...withoutEmpty(environment) }).filter(([key]) => key.startsWith('BORG_')),
    ),
    BORG_EXIT_CODES: 'legacy',
  }
}

function withoutEmpty(environment: Env): Env {
  return Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
}

/**
 * The environment of every program that is started: ours without Borg's variables, tokens, the monitors' addresses, a git
 * hook's variables, PostgreSQL's, and what ssh was asked. Cron gives little: the usual folders are added to PATH, and HOME is set, because Borg and ssh look there.
 */
export function childEnv(environment: Env, home: string): Env {
  const kept = Object.fromEntries(
    Object.entries(environment).filter(
      ([key]) =>
        !PRIVATE.test(key) && !CALLERS_REPOSITORY.test(key) && !CALLERS_DATABASE.test(key) && key !== CALLERS_COMMAND,
    ),
  )
  const path = new Set([...(environment.PATH ?? '').split(':').filter(Boolean), ...STANDARD_PATH])
  return { ...kept, HOME: environment.HOME || home, PATH: [...path].join(':') }
}

const STANDARD_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']
