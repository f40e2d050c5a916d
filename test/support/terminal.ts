// Scripts at a terminal, with somebody who types.
import { spawn } from 'node:child_process'
import { scriptCommand } from './scripts.ts'

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
  const command = [...scriptCommand(name), ...args]
  return runAtTerminal(command.map((word) => `'${word}'`).join(' '), terminal)
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
