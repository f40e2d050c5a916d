// Scripts at a terminal, with somebody who types.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { scriptCommand } from './scripts.ts'
import { until } from './until.ts'

interface Terminal {
  env: Record<string, string>
  cwd?: string
  /** What every prompt ends with. */
  prompt: RegExp
  /** What is typed at each prompt, by all that was shown so far; undefined types nothing. */
  answer(output: string): string | undefined
}

/** Runs a script at a terminal. */
export function atTerminal(
  name: string,
  args: readonly string[],
  terminal: Terminal,
): Promise<{ status: number | null; output: string }> {
  return runAtTerminal(typedScript(name, args), terminal)
}

/** A script as it is typed at a terminal. */
export function typedScript(name: string, args: readonly string[]): string {
  return [...scriptCommand(name), ...args].map((word) => `'${word}'`).join(' ')
}

/** Runs a command of a shell at a terminal, as util-linux's `script` makes one. */
export async function runAtTerminal(
  command: string,
  { env, cwd, prompt, answer }: Terminal,
): Promise<{ status: number | null; output: string }> {
  const child = spawn('script', ['-qefc', command, '/dev/null'], {
    env: { ...env, TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'inherit'],
    ...(cwd === undefined ? {} : { cwd }),
  })
  const prompts = new RegExp(prompt, 'g')
  let output = ''
  let asked = 0
  child.stdin.on('error', () => {})
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    const seen = output.match(prompts)?.length ?? 0
    if (seen <= asked) return
    asked = seen
    const typed = answer(output)
    if (typed === CLOSE_WINDOW) child.kill('SIGKILL')
    else if (typed !== undefined) child.stdin.write(typed)
  })
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve))
  return { status, output }
}

/** Typed, this closes the terminal's window. */
export const CLOSE_WINDOW = 'the window is closed'

/**
 * Runs a command of a shell at a terminal whose window is closed at a prompt, as `CLOSE_WINDOW` does.
 * @param passesOn whether the shell there tells the command by SIGHUP, as one does that somebody types at
 * @returns its exit status, and what it printed until then
 */
export async function atClosedWindow(
  command: string,
  terminal: Terminal,
  passesOn = true,
): Promise<{ status: number; output: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'bc-window-'))
  const [shell, ended] = [join(folder, 'window.sh'), join(folder, 'ended')]
  await writeFile(
    shell,
    `exec 3<&0
trap '${passesOn ? 'kill -HUP $pid' : ''}' HUP
${command} <&3 & pid=$!
while kill -0 $pid 2>/dev/null; do wait $pid; status=$?; done
echo $status >'${ended}.new'
mv '${ended}.new' '${ended}'
`,
  )
  try {
    const { output } = await runAtTerminal(`sh ${shell}`, terminal)
    await until(() => existsSync(ended))
    return { status: Number(await readFile(ended, 'utf8')), output }
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** The last line of what a script has shown, without its time and colours. */
export function lastLine(output: string): string {
  const line =
    output
      .replace(/\u001b\[[\d;]*m/g, '')
      .trim()
      .split(/\r?\n/)
      .at(-1) ?? ''
  return line.replace(/^\d{4}-\S+ /, '')
}
