// Scripts at a terminal, with somebody who types.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { LOADER } from './loader.ts'

interface Terminal {
  env: Record<string, string>
  cwd?: string
  /** What every prompt ends with. */
  prompt: RegExp
  /** What is typed at each prompt, by all that was shown so far; undefined types nothing. */
  answer(output: string): string | undefined
}

/** Runs a script at a terminal, as util-linux's `script` makes one. */
export async function atTerminal(
  name: string,
  args: readonly string[],
  { env, cwd, prompt, answer }: Terminal,
): Promise<{ status: number | null; output: string }> {
  const file = fileURLToPath(new URL(`../../scripts/${name}`, import.meta.url))
  const command = [process.execPath, '--import', LOADER, '--', file, ...args]
  const child = spawn('script', ['-qefc', command.map((word) => `'${word}'`).join(' '), '/dev/null'], {
    env: { ...env, TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'inherit'],
    ...(cwd === undefined ? {} : { cwd }),
  })
  const prompts = new RegExp(prompt, 'g')
  let output = ''
  let asked = 0
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    const seen = output.match(prompts)?.length ?? 0
    if (seen <= asked) return
    asked = seen
    const typed = answer(output)
    if (typed !== undefined) child.stdin.write(typed)
  })
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve))
  return { status, output }
}
