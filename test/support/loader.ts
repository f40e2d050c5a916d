// How the tests start TypeScript: as cron and operators do.
/** For node's `--import`. */
export const LOADER = new URL('../../scripts/loader.mjs', import.meta.url).href
