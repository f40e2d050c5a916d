// Which version of these scripts runs.
import { readFileSync } from 'node:fs'

/** The version of these scripts, from package.json: in `--version`, archive comments and the User-Agent. */
export const VERSION: string = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version
