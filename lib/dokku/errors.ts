// One explanation of a Dokku command that failed, here or over SSH.

import { EXIT, Failure } from '../core/failure.ts'
import { lastLines } from '../core/format.ts'
import { sshLine } from '../core/host.ts'
import type { Output } from '../core/shell.ts'

/** The service exists, but its container is stopped or gone. */
export class NotRunning extends Failure {}

/**
 * The failure behind a Dokku command that did not end well: the cause, and the next command to type.
 * @param what the command without its options, e.g. `postgres:connect book-corners-db`
 * @param host of a command that was sent over SSH
 */
export function explainDokku(output: Output, what: string, host?: string): Failure {
  const [command = '', subject = ''] = what.split(' ')
  const dokku = host === undefined ? 'sudo dokku' : sshLine('dokku', host)
  const said = saidBy(output, command)
  if (output.exitCode === 20 || /App \S+ does not exist/.test(output.stderr))
    return new Failure(
      `Dokku has no app ${subject}.`,
      `Check DOKKU_APP against: ${dokku} apps:list. A new app is created first, on the server: dokku apps:create ${subject}`,
      EXIT.usage,
    )
  const known = host === undefined ? explainLocal(output.stderr, what, said) : undefined
  if (known) return known
  const how = output.signal ? `was ended by ${output.signal}` : `failed with exit status ${output.exitCode}`
  return new Failure(
    `dokku ${what} ${how}${said ? `: ${said}` : ' and said nothing.'}`,
    host === undefined ? `Try it by hand: sudo dokku ${what}` : 'Look: deploy --status',
  )
}

// What the Postgres plugin prints on stdout is data, perhaps a database's; others say even their errors there.
function saidBy({ stdout, stderr }: Output, command: string): string {
  const isData = command.startsWith('postgres:') && !/^postgres:(create|destroy)$/.test(command)
  return firstError(stderr) ?? (lastLines(stderr) || (isData ? '' : lastLines(stdout)))
}

/** PostgreSQL's first error, with what its programs say to it: the lines behind it, as many as there may be, come of it. */
function firstError(stderr: string): string | undefined {
  const lines = stderr.split('\n')
  const at = lines.findIndex((line) => /^(\w+: )?(error|ERROR|FATAL|PANIC): /.test(line))
  return at === -1 ? undefined : lastLines(lines.slice(at, at + MOST_LINES).join('\n'), MOST_LINES)
}

const MOST_LINES = 4

function explainLocal(stderr: string, what: string, said: string): Failure | undefined {
  const [command = '', service = ''] = what.split(' ')
  if (/^(sudo|.*exec): (\S*\/)?dokku: (command )?not found/m.test(stderr))
    return new Failure(
      `Dokku is not installed here: ${said}`,
      'Run this on the Dokku host itself. It is that host? Check DOKKU_COMMAND.',
    )
  // Dokku calls sudo itself for some of its work: only a call that needs nothing more shows that it is ours.
  if (/^postgres:(info|exists)$/.test(command) && /^sudo:|may not run sudo/m.test(stderr))
    return new Failure(
      `This user may not call Dokku: ${said}`,
      "Allow it: echo 'deploy ALL=(ALL) NOPASSWD: /usr/bin/dokku' | sudo tee /etc/sudoers.d/deploy-dokku",
    )
  if (/command not found|: not found|ENOENT/.test(stderr) && /dokku|sudo/.test(stderr))
    return new Failure(`Dokku can't be called: ${said}`, 'Check DOKKU_COMMAND; it runs on the Dokku host itself.')
  if (/Postgres service \S+ does not exist/.test(stderr))
    return new Failure(`Dokku: ${said}`, 'Check DB_SERVICE against: sudo dokku postgres:list')
  if (
    command.startsWith('postgres:') &&
    service &&
    /container does not exist|No such container|container (\S+ )?is not running/i.test(stderr)
  )
    return new NotRunning(
      `The Postgres service ${service} is not running: ${said}`,
      `Start it: sudo dokku postgres:start ${service}`,
    )
  const [, lost] = /FATAL: +database "([^"]+)" does not exist(?!\s+DETAIL)/.exec(stderr) ?? []
  return lost === undefined
    ? undefined
    : new Failure(
        `Dokku: ${said}`,
        `If it was dropped, make an empty one, and restore into that: sudo dokku postgres:enter ${service} createdb -U postgres -E utf8 ${lost}`,
      )
}
