// The check of a crontab: whether what it starts is there.
import { constants, existsSync } from 'node:fs'
import { access } from 'node:fs/promises'
import { dirname } from 'node:path'
import { quote } from '../core/quote.ts'
import type { Shell } from '../core/shell.ts'
import { type CheckLine, fail, pass, warn } from './check-line.ts'

/** A line of a crontab without what it sets variables to: one of them may be a passphrase. */
function withoutValues(line: string): string {
  return line.trim().replace(/\b([A-Za-z_]\w*)=(?:'[^']*'?|"[^"]*"?|\\.?|[^\s'"\\])+/g, '$1=***')
}

/** What this user's crontab runs at night. */
export async function crontabCheck(shell: Shell): Promise<CheckLine> {
  const name = 'crontab'
  const add = 'Type crontab -e, and add: 0 3 * * * /home/deploy/backup >> /var/log/book-corners-backup.log 2>&1'
  const { exitCode, stdout, stderr } = await shell.run(['crontab', '-l'])
  if (exitCode === 127) return warn(name, 'there is no crontab command', 'Install cron: sudo apt-get install cron')
  if (exitCode !== 0 && !/no crontab for/.test(stderr)) return warn(name, `crontab -l failed: ${stderr.trim()}`, add)
  const lines = stdout.split('\n').filter((line) => !/^\s*(#|$)/.test(line))
  const old = lines.find((line) => /\bbackup\.sh\b/.test(line))
  if (old) return fail(name, `it still runs the old script: ${withoutValues(old)}`, `Remove that line. ${add}`)
  const ours = lines.filter((line) => PROGRAM.test(line))
  const line = ours.find((line) => /\/backup(\.ts)?(\s|$)/.test(line))
  if (!line) return warn(name, 'no line of it runs the backup', add)
  const broken = await Promise.all(ours.map(brokenLine))
  return broken.find((problem) => problem !== undefined) ?? pass(name, ours.map(withoutValues).join('; '))
}

/** The backup, or the drill. */
const PROGRAM = /(?:^|\s)(\S*\/(?:backup|restore)(?:\.ts)?)(?=\s|$)/

/** What keeps a line of a crontab from running what it names; undefined when nothing does. */
async function brokenLine(line: string): Promise<CheckLine | undefined> {
  const name = 'crontab'
  const [, program = ''] = PROGRAM.exec(line) ?? []
  // Node is what runs a script.
  const mode = program.endsWith('.ts') ? constants.R_OK : constants.X_OK
  if (program.startsWith('/') && !(await may(program, mode)))
    return fail(
      name,
      `${program} is not there, or this user can't run it: ${withoutValues(line)}`,
      'On the laptop type: deploy --sync-only. Or correct the path: crontab -e',
    )
  const [, log] = />>?\s*(\/[^\s;|&]+)/.exec(line) ?? []
  if (log === undefined || (await canWrite(log))) return undefined
  return fail(
    name,
    `${log} can't be written by this user, so cron starts nothing: ${withoutValues(line)}`,
    `As root type: install -d ${quote(dirname(log))} && install -o ${process.geteuid?.()} -m 640 /dev/null ${quote(log)}`,
  )
}

function may(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  )
}

/** Whether a shell could open it for its output. */
async function canWrite(path: string): Promise<boolean> {
  return (await may(path, constants.W_OK)) || (!existsSync(path) && (await may(dirname(path), constants.W_OK)))
}
