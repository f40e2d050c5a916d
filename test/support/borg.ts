// The Borg of the tests: the installed one, without what takes more than half of each of its starts.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { compiledFolder, madeOnce } from './run-folder.ts'

const INSTALLED = '/usr/bin/borg'
const CRON = '/usr/bin:/bin'

/** A PATH, as cron's. A run of all tests starts Borg a thousand times; a benchmark and the demo take the installed one. */
export function programs(): string {
  if (compiledFolder() === undefined) return CRON
  return `${madeOnce('borg', writeStarter)}:${CRON}`
}

/**
 * Debian's starter looks the package up among all others; each call tests Borg itself, looks a hundred times for a translation
 * of its options, and hashes the passphrase a hundred thousand times for a repository that was made so. Where Borg is not a
 * package of a Python, nothing is written.
 */
function writeStarter(folder: string): void {
  const [, python = ''] = /^#!(\S*python\S*)\n/.exec(readFileSync(INSTALLED, 'latin1').slice(0, 100)) ?? []
  const program = `#!${python} -I
import gc, gettext, sys, types
gc.disable()
gettext.gettext = str
import borg.constants
borg.constants.PBKDF2_ITERATIONS = 1
sys.modules['borg.selftest'] = types.SimpleNamespace(selftest=lambda logger: None)
from borg.archiver import main
sys.exit(main())
`
  try {
    execFileSync(python, ['-I', '-c', program, '--version'], { stdio: 'ignore' })
  } catch {
    return
  }
  writeFileSync(join(folder, 'borg'), program, { mode: 0o755 })
}
