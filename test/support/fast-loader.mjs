// Lets Node run TypeScript in the tests, as scripts/loader.mjs does: what tsx makes of each file of the project is kept, and tsx,
// which takes half of a script's start, is loaded only for another file. A run of all tests starts a thousand scripts.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'

const PROJECT = new URL('../..', import.meta.url).href
const FOLDER = fileURLToPath(`${PROJECT}node_modules/.cache/tests`)
/** What changes the code that tsx makes. */
const VERSIONS = process.version + readFileSync(fileURLToPath(`${PROJECT}node_modules/tsx/package.json`), 'utf8')
let tsx

if (isMainThread) {
  // A stack names lines of TypeScript.
  process.setSourceMapsEnabled(true)
  register(import.meta.url)
}

/** Node's hook, in a thread of its own. */
export async function load(url, context, next) {
  if (!/^file:.*\.m?ts$/.test(url)) return next(url, context)
  return { format: 'module', source: await sourceOf(url, context, next), shortCircuit: true }
}

async function sourceOf(url, context, next) {
  if (!url.startsWith(PROJECT)) return compile(url, context, next)
  const key = createHash('sha1')
    .update(VERSIONS)
    .update(url)
    .update(readFileSync(fileURLToPath(url)))
  const kept = `${FOLDER}/${key.digest('hex')}.mjs`
  try {
    return readFileSync(kept)
  } catch {
    const source = await compile(url, context, next)
    keep(kept, source)
    return source
  }
}

async function compile(url, context, next) {
  if (!tsx) {
    // This thread's environment is its own. tsx would make a folder in TMPDIR.
    process.env.TSX_DISABLE_CACHE = '1'
    tsx = await import('tsx/esm')
    await tsx.initialize({ tsconfig: fileURLToPath(`${PROJECT}tsconfig.json`) })
  }
  return (await tsx.load(url, { ...context, format: 'module' }, next)).source
}

function keep(path, source) {
  const own = `${path}.${process.pid}`
  try {
    mkdirSync(FOLDER, { recursive: true })
    writeFileSync(own, source)
    // Other test files start at the same time: it is there as a whole, or not at all.
    renameSync(own, path)
  } catch {
    // This is not the user who installed the packages.
  }
}
