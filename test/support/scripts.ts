// How tests, benchmarks and the demo start a script.
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { SCRIPTS_LOADER } from './loader.ts'
import { isTestRun, madeOnce } from './run-folder.ts'

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

/**
 * The words that start a script of this project, such as `backup.ts`; its arguments follow. In a run of the tests it is
 * compiled ahead: what tsx adds to a start, a thread of its own in Node 20, is half of it, and a run starts a thousand
 * scripts. Else tsx runs it, as it does for cron and operators.
 */
export function scriptCommand(name: string): [file: string, ...args: string[]] {
  // As the launchers do. `--`: Node 20 takes an --env-file anywhere on its command line for its own.
  const asLaunched = [process.execPath, '--max-semi-space-size=4', '--import', SCRIPTS_LOADER, '--'] as const
  if (!isTestRun()) return [...asLaunched, join(PROJECT, 'scripts', name)]
  const folder = madeOnce('scripts', compile)
  return [process.execPath, '--enable-source-maps', '--', join(folder, 'scripts', compiled(name))]
}

function compiled(name: string): string {
  return name.replace(/\.ts$/, '.mjs')
}

function compile(folder: string): void {
  // The one that tsx brings along.
  const esbuild = createRequire(import.meta.resolve('tsx/package.json'))('esbuild')
  const tsconfigRaw = readFileSync(join(PROJECT, 'tsconfig.json'), 'utf8')
  for (const file of sources()) {
    const path = join(PROJECT, file)
    const { code } = esbuild.transformSync(readFileSync(path, 'utf8'), {
      loader: 'ts',
      target: 'node20',
      tsconfigRaw,
      sourcemap: 'inline',
      sourcefile: path,
      // A file that is looked for beside this one is still there, not here.
      define: { 'import.meta.url': JSON.stringify(pathToFileURL(path).href) },
    })
    const target = join(folder, compiled(file))
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, code.replace(/(?<=\b(?:from |import |import\()")(\.[^"]+)\.ts(?=")/g, '$1.mjs'))
  }
  symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'))
}

function sources(): string[] {
  return ['scripts', 'lib'].flatMap((folder) =>
    readdirSync(join(PROJECT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(folder, name)),
  )
}
