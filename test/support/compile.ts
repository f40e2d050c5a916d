// Compiles the scripts and the test files ahead of a run of all tests: each becomes one file, with what it imports of the
// project in it. What tsx adds to a start, a thread of its own in Node 20, is half of it, and a run starts a thousand programs.
import { readFileSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type * as Esbuild from 'esbuild'

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

/** Where {@link compile} puts a file of the project. */
export function compiledPath(folder: string, file: string): string {
  return join(folder, relative(PROJECT, file).replace(/\.ts$/, '.mjs'))
}

/**
 * @param files their paths; each in the project
 * @param folder gets {@link compiledPath} of each
 * @throws where one can't be compiled; what is wrong with it stands on stderr then
 */
export async function compile(files: readonly string[], folder: string): Promise<void> {
  // The one that tsx brings along.
  const esbuild: typeof Esbuild = createRequire(import.meta.resolve('tsx/package.json'))('esbuild')
  // A file that one of ours looks for beside itself is still there, not where it was compiled to.
  const keepPlace = ({ path }: { path: string }): Esbuild.OnLoadResult => ({
    contents: esbuild.transformSync(readFileSync(path, 'utf8'), {
      loader: 'ts',
      sourcefile: path,
      sourcemap: 'inline',
      define: {
        'import.meta.url': JSON.stringify(pathToFileURL(path).href),
        'import.meta.dirname': JSON.stringify(dirname(path)),
      },
    }).code,
  })
  await esbuild.build({
    entryPoints: [...files],
    outbase: PROJECT,
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: 'linked',
    sourcesContent: false,
    plugins: [{ name: 'places', setup: (build) => build.onLoad({ filter: /\.ts$/ }, keepPlace) }],
  })
  symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'))
}
