// Lets Node run the scripts' TypeScript: node --import …/scripts/loader.mjs -- …/scripts/backup.ts
//
// It is tsx, without two habits of it that let other users of the machine in (tsx 4.23). It keeps what it compiled in
// /tmp/tsx-UID, and runs whatever is there, whoever wrote it: here that is kept beside the packages. And it takes the
// tsconfig.json of the folder that the command is typed in, or of one above it, which can put another file in place of any package.
import { accessSync, constants, mkdirSync, statSync } from 'node:fs'
import * as module from 'node:module'
import { fileURLToPath } from 'node:url'

const checkout = fileURLToPath(new URL('..', import.meta.url))
if (checkout.includes('?')) {
  // tsx takes what follows for a part of an address.
  process.stderr.write(`These scripts can't be in a folder with ? in its path: ${checkout}\n`)
  process.exit(1)
}

const cache = cacheFolder()
const guards = {
  ...(cache === undefined ? { TSX_DISABLE_CACHE: '1' } : { TMPDIR: cache }),
  TSX_TSCONFIG_PATH: fileURLToPath(new URL('../tsconfig.json', import.meta.url)),
}
const before = Object.keys(guards).map((name) => [name, process.env[name]])
Object.assign(process.env, guards)
// What `tsx` adds to this for CommonJS, and what an older Node loads of it besides into the scripts' own thread, would be a
// quarter of a start.
if ('registerHooks' in module) await import('tsx/esm')
else {
  process.setSourceMapsEnabled(true)
  module.register('tsx/esm', import.meta.url, { data: {} })
}
// tsx has read them. A program that a script starts, such as a hook of git's, may use a tsx of its own.
for (const [name, value] of before)
  if (value === undefined) delete process.env[name]
  else process.env[name] = value

/**
 * A folder that only those can write to who could change the scripts themselves; it goes when their release goes.
 * @returns undefined for any other user than the one who installed them, and where nothing can be written
 */
function cacheFolder() {
  const packages = fileURLToPath(new URL('../node_modules', import.meta.url))
  const folder = `${packages}/.cache/scripts`
  const me = process.geteuid?.()
  try {
    if (statSync(packages).uid !== me) return
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    accessSync(folder, constants.W_OK)
    const { uid, mode } = statSync(folder)
    return uid === me && !(mode & 0o022) ? folder : undefined
  } catch {
    return
  }
}
