// `npm run bench`: measures these scripts against the classic way, and holds them to the targets.
import { parseArgs } from 'node:util'
import { plural } from '../../lib/core/format.ts'
import { inSandbox } from '../support/in-sandbox.ts'
import type { Sandbox } from '../support/sandbox.ts'
import { measureHealthy } from '../support/verify.ts'
import { benchBackup } from './backup.ts'
import { benchRestoreDatabase } from './restore-database.ts'
import { benchLostPhotos, benchSmallFiles } from './restore-media.ts'
import { benchRestoreRows } from './restore-rows.ts'
import { benchSync } from './sync.ts'
import { atMost, type Target, targetTable } from './targets.ts'

interface Sizes {
  databaseBytes: number
  mediaBytes: number
  nights: number
}

async function sync(): Promise<Target[]> {
  const { syncMs, baselineMs, ratio } = await benchSync()
  console.log(
    `Sync, nothing changed: ${syncMs.toFixed(0)} ms; scp of two files and one ssh call: ${baselineMs.toFixed(0)} ms`,
  )
  return [atMost('sync with nothing changed, against scp + ssh', ratio, 1)]
}

async function verify(): Promise<Target[]> {
  const { totalMs, slowestMs } = await measureHealthy(400)
  console.log(`Verify, a healthy site: ${totalMs.toFixed(0)} ms; its slowest check: ${slowestMs.toFixed(0)} ms`)
  return [atMost('verify, all checks against the slowest', totalMs / slowestMs, 1.3)]
}

/** Each gets a sandbox of its own. */
const BENCHMARKS: Record<string, (sandbox: Sandbox, sizes: Sizes) => Promise<Target[]>> = {
  backup: benchBackup,
  'restore-database': benchRestoreDatabase,
  'restore-rows': benchRestoreRows,
  'restore-photos': benchLostPhotos(3000, 0.25),
  'restore-many-photos': benchLostPhotos(30_000, 0.1),
  'restore-small-files': benchSmallFiles,
  sync,
  verify,
}

const HELP = `
Usage: npm run bench -- [--database-mb 200] [--media-mb 400] [--nights 3] [NAME …]

Measures these scripts against the classic way, on generated data. Ratios within one
run count; seconds are this machine's. Without a name all benchmarks run: ${Object.keys(BENCHMARKS).join(', ')}.

Exit status: 0 all targets are met, 1 one is missed, 2 usage error.
`

function readArguments(): { names: string[]; sizes: Sizes } {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'database-mb': { type: 'string', default: '200' },
      'media-mb': { type: 'string', default: '400' },
      nights: { type: 'string', default: '3' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) {
    console.log(HELP.trim())
    process.exit(0)
  }
  const wholeNumber = (name: 'database-mb' | 'media-mb' | 'nights', least: number): number => {
    const value = Number(values[name])
    if (Number.isInteger(value) && value >= least) return value
    throw new Error(`--${name} must be a whole number, ${least} or more`)
  }
  for (const name of positionals)
    if (!(name in BENCHMARKS)) throw new Error(`There is no benchmark ${name}: ${Object.keys(BENCHMARKS).join(', ')}`)
  return {
    names: positionals.length > 0 ? positionals : Object.keys(BENCHMARKS),
    sizes: {
      databaseBytes: wholeNumber('database-mb', 1) * 1e6,
      mediaBytes: wholeNumber('media-mb', 1) * 1e6,
      // The first night stores everything: ratios begin with the second.
      nights: wholeNumber('nights', 2),
    },
  }
}

function readOrRefuse(): ReturnType<typeof readArguments> {
  try {
    return readArguments()
  } catch (error) {
    console.error(`${(error as Error).message}\n${HELP}`.trimEnd())
    process.exit(2)
  }
}

const { names, sizes } = readOrRefuse()
const targets: Target[] = []
for (const name of names) {
  console.log(`\n--- ${name}`)
  await inSandbox(async (sandbox) => {
    targets.push(...((await BENCHMARKS[name]?.(sandbox, sizes)) ?? []))
    return 0
  })
  // It has said why.
  if (process.exitCode !== 0) break
}
const missed = targets.filter(({ met }) => !met)
if (targets.length > 0) console.log(`\n${targetTable(targets)}`)
if (process.exitCode !== 0) console.log('\nNot everything was measured: a benchmark failed.')
else console.log(missed.length === 0 ? '\nAll targets are met.' : `\n${plural(missed.length, 'target')} missed.`)
if (missed.length > 0) process.exitCode = 1
