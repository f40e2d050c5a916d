// `deploy --status`: what runs there, with or without a checkout of the app.
import type { Context } from '../cli/main.ts'
import { EXIT } from '../core/failure.ts'
import { wrap } from '../core/layout.ts'
import { type Checkout, openCheckout } from '../git/checkout.ts'
import { withRemote } from '../server/ssh.ts'
import { describeStatus, readStatus, STATUS_INDENT, statusJson } from './status.ts'

/** Prints what runs on the server, as text or with --json. */
export function showStatus(context: Context): Promise<number> {
  return withRemote(context, ['DOKKU_APP', 'OPS_DIR'], async (remote, { DOKKU_APP, OPS_DIR }) => {
    const found = await readStatus(remote, DOKKU_APP, OPS_DIR, await checkoutHere(context))
    if (context.flags.has('json')) context.printJson(statusJson(found))
    else context.print(wrap(describeStatus(found), context.log.resultColumns, STATUS_INDENT))
    return EXIT.done
  })
}

/** The status is told without a checkout, too. */
async function checkoutHere({ shell, values: { repo } }: Context): Promise<Checkout | undefined> {
  try {
    return await openCheckout(shell, repo ?? process.cwd())
  } catch (error) {
    shell.signal.throwIfAborted()
    if (repo !== undefined) throw error
    return undefined
  }
}
