import { Failure } from './failure.ts'
import type { Output } from './run.ts'
import type { Remote } from './ssh.ts'

/** What the server says it runs. */
export interface RunningRelease {
  /** HEAD of the app's repository there; undefined before the first deployment. Dokku moves it after a deployment succeeded. */
  sha: string | undefined
  /** The processes in words, e.g. `web.1 running`. */
  processes: string
  /** Every process runs. */
  running: boolean
}

/** Strings all of them, as `ps:report --format json` prints them (Dokku 0.30 and later). */
type PsReport = Record<string, string>

/** @throws Failure when Dokku's answer is not a report */
export const parsePs = (stdout: string): Pick<RunningRelease, 'processes' | 'running'> => {
  let report: PsReport
  try {
    report = JSON.parse(stdout)
  } catch {
    throw new Failure('Dokku did not report the processes as JSON.', 'It must be 0.30 or later: dokku version')
  }
  // `running (CID: 0123456789a)`: the container's ID helps nobody here.
  const processes = Object.entries(report)
    .filter(([key]) => /^status-/.test(key))
    .map(([key, status]) => `${key.replace('status-', '')} ${status.replace(/\s*\(CID:.*\)/, '')}`)
    .sort()
  return {
    processes: processes.join(', ') || (report.deployed === 'true' ? 'no process' : 'never deployed'),
    running: report.running === 'true',
  }
}

/** A full SHA on a line of its own. */
export const parseSha = (stdout: string): string | undefined => /^[0-9a-f]{40}$/m.exec(stdout.trim())?.[0]

/**
 * What runs now.
 * @throws SshFailure when the host can't be asked
 * @throws Failure when the app does not exist
 */
export const runningRelease = async (remote: Remote, app: string, timeoutMs = 60_000): Promise<RunningRelease> => {
  const sha = await remote.dokku(['git:report', app, '--git-sha'], { timeoutMs })
  if (sha.exitCode !== 0) throw explainRemote(sha, 'git:report', app)
  const ps = await remote.dokku(['ps:report', app, '--format', 'json'], { timeoutMs })
  if (ps.exitCode !== 0) throw explainRemote(ps, 'ps:report', app)
  return { sha: parseSha(sha.stdout), ...parsePs(ps.stdout) }
}

/** The failure behind a Dokku command about the app that did not end well. */
export const explainRemote = ({ exitCode, signal, stdout, stderr }: Output, command: string, app: string): Failure => {
  const said = `${stderr}\n${stdout}`
    .split('\n')
    .map((line) => line.replace(/^\s*!\s+/, '').trim())
    .filter(Boolean)
    .slice(-3)
    .join(' · ')
  if (exitCode === 20 || /App .* does not exist/.test(said))
    return new Failure(
      `Dokku has no app ${app}.`,
      `Check DOKKU_APP against: ssh dokku@HOST apps:list. A new app is created first, on the server: dokku apps:create ${app}`,
    )
  const how = signal ? `was ended by ${signal}` : `failed with exit status ${exitCode}`
  return new Failure(`dokku ${command} ${how}${said ? `: ${said}` : ' and said nothing.'}`, 'Look: deploy --status')
}
