// `deploy --logs`: the app's log as it comes.

import type { Writable } from 'node:stream'
import type { Context } from '../cli/main.ts'
import { EXIT } from '../core/failure.ts'
import { lines } from '../core/lines.ts'
import { explainDokku } from '../dokku/errors.ts'
import { withRemote } from '../server/ssh.ts'
import { explainSsh } from '../server/ssh-errors.ts'

/**
 * Prints the log until it ends, or nobody reads on.
 * @param stdout where it is printed to
 * @throws Failure with Dokku's or SSH's words
 */
export function followLog({ print, ...context }: Context, stdout: Writable): Promise<number> {
  return withRemote(context, ['DOKKU_APP'], async (remote, { DOKKU_APP: app }) => {
    const log = remote.startDokku('logs APP --tail', app)
    let unread = false
    // `deploy --logs | head`: nobody reads on.
    stdout.once('error', () => {
      unread = true
      void log.stop()
    })
    for await (const line of lines(log)) print(line)
    const output = await log.ended
    context.shell.signal.throwIfAborted()
    if (unread) return EXIT.done
    const trouble = output.exitCode === 255 ? explainSsh(output.stderr, 'dokku', remote.host) : undefined
    if (output.exitCode !== 0) throw trouble ?? explainDokku(output, `logs ${app}`, remote.host)
    return EXIT.done
  })
}
