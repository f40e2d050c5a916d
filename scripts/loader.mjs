// Lets Node run the scripts' TypeScript: node --import …/scripts/loader.mjs -- …/scripts/backup.ts
//
// It is tsx, without two habits of it that let other users of the machine in (tsx 4.23). It keeps what it compiled in
// /tmp/tsx-UID, and runs whatever is there, whoever wrote it. And it takes the tsconfig.json of the folder that the command
// is typed in, or of one above it, which can put another file in place of any package.
import { fileURLToPath } from 'node:url'

const guards = {
  TSX_DISABLE_CACHE: '1',
  TSX_TSCONFIG_PATH: fileURLToPath(new URL('../tsconfig.json', import.meta.url)),
}
Object.assign(process.env, guards)
await import('tsx')
// tsx has read them. A program that a script starts, such as a hook of git's, may use a tsx of its own.
for (const name of Object.keys(guards)) delete process.env[name]
