// Who agrees to a restore: somebody at the terminal, or whoever typed --yes.
import type { Context } from '../cli/main.ts'
import { nobodyToAsk } from '../cli/prompt.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { quoteAll } from '../core/quote.ts'

/** Somebody must be there to agree, or have agreed to one archive: the newest may be the one after the damage. */
export function requireAgreement(context: Context, flag: string, typed: readonly string[]): void {
  const { flags, argument, interactive } = context
  const withArchive = (word: string): string =>
    quoteAll(['restore', ...(argument === undefined && flag !== 'undo' ? [word] : []), ...typed])
  if (!flags.has('yes') && !interactive)
    throw nobodyToAsk(
      context,
      'A restore asks before it changes anything',
      flag === 'undo' && argument === undefined
        ? 'Over SSH ask for one: ssh -t. What is kept: restore --undo --dry-run. For a script: restore --undo DATABASE --yes'
        : `Over SSH ask for one: ssh -t. For a script: ${withArchive('ARCHIVE')} --yes`,
    )
  if (flags.has('yes') && argument === undefined && flag !== 'undo')
    throw new Failure(
      '--yes does not choose an archive: the newest may be the one after the damage.',
      `Name it, or type the word: ${withArchive('latest')}\nTo see them: restore --list`,
      EXIT.usage,
    )
}
