// How the tests start TypeScript, for node's `--import`.

/** As cron and operators do. */
export const SCRIPTS_LOADER = new URL('../../scripts/loader.mjs', import.meta.url).href

/** The same in half of the time: the way of nearly all starts. */
export const LOADER = new URL('fast-loader.mjs', import.meta.url).href
