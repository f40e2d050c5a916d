// The blocks of a RUNBOOK.md, and which of them no sandbox can type.

/** What is left out, by name: a sandbox has no packages to install, and Dokku stands in. */
export const LEFT_OUT = ['System packages', 'Dokku and its plugins']

interface Block {
  /** Of its step. */
  title: string
  where: string
  commands: string
}

export function runbookBlocks(page: string): Block[] {
  let title = ''
  return page.split(/^(?=## |\*\*)/m).flatMap((part) => {
    title = /^## (?:\d+\. )?(.*)$/m.exec(part)?.[1] ?? title
    const [, where = '', commands] = /^\*\*(.*):\*\*\n```sh\n([\s\S]*?)\n```$/m.exec(part) ?? []
    return commands === undefined ? [] : [{ title, where, commands }]
  })
}
