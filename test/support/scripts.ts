// How tests, benchmarks and the demo start a script.
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compiledPath } from './compile.ts'
import { SCRIPTS_LOADER } from './loader.ts'
import { compiledFolder } from './run-folder.ts'

const SCRIPTS = fileURLToPath(new URL('../../scripts', import.meta.url))

/**
 * The words that start a script of this project, such as `backup.ts`; its arguments follow. In a run of the tests it is
 * compiled ahead. Else tsx runs it, as it does for cron and operators.
 */
export function scriptCommand(name: string): [file: string, ...args: string[]] {
  const script = join(SCRIPTS, name)
  const compiled = compiledFolder()
  if (compiled !== undefined) return [process.execPath, '--enable-source-maps', '--', compiledPath(compiled, script)]
  // As the launchers do. `--`: Node 20 takes an --env-file anywhere on its command line for its own.
  return [process.execPath, '--max-semi-space-size=4', '--import', SCRIPTS_LOADER, '--', script]
}
