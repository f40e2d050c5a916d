// The data, and the code that belongs to it.
import { quote } from '../../core/quote.ts'
import type { Kit } from './content.ts'
import { asked, CHECKOUT, DEPLOY, type Step } from './step.ts'

export function dataSteps(kit: Kit): Step[] {
  const { archive, manifest } = kit
  const before = archive.start ? ` --before=${quote(archive.start.toISOString())}` : ''
  const { sha, deployBranch = 'master', cron = [] } = manifest
  return [
    manifest.database ? awayDataStep(kit, manifest.database) : dataStep(kit),
    {
      title: 'The code',
      text:
        (sha
          ? 'The commit of the archive, so that code and schema agree. Visitors come later, so the site is not looked at.'
          : 'Which commit ran is not in the archive: the newest one before it is a good guess. See it, then deploy it.') +
        cronText(cron),
      blocks: [
        {
          where: CHECKOUT,
          commands: [
            asked('DOKKU_HOST', 'the new server'),
            'export DOKKU_HOST',
            'git fetch origin',
            ...(sha ? [] : [`git log -5 --oneline${before} ${quote(`origin/${deployBranch}`)}`]),
            `deploy ${sha ?? `"\${SHA:?the commit}"`} --no-verify --no-restore-point --yes`,
          ],
        },
      ],
    },
  ]
}

function restoreLine({ archive }: Kit, part: string): string {
  return `/home/deploy/restore ${quote(archive.name)}${part} --yes`
}

function dataStep(kit: Kit): Step {
  const { dump, media } = kit
  const part = dump && media ? '' : dump ? ' --db-only' : ' --media-only'
  return {
    title: 'The data',
    text: `The database goes into the empty service${media ? ', the photos into the empty folder' : ''}. Nothing is there that could be lost, so no question is asked.`,
    blocks: [{ where: DEPLOY, commands: dump || media ? [restoreLine(kit, part)] : [] }],
  }
}

/** That the server is lost does not mean that the database is: what was written since the archive must not leave it. */
function awayDataStep(kit: Kit, address: string): Step {
  const { dump, media } = kit
  return {
    title: 'The data',
    text: `The database was not on the old server, but at \`${address}\`. If it is still there, leave the last block out: it would be replaced by that of the archive. If it is lost, too, make an empty one there, with an administrator's role, and set DATABASE_URL here and for the app.`,
    blocks: [
      { where: DEPLOY, commands: media ? [restoreLine(kit, ' --media-only')] : [] },
      {
        where: DEPLOY,
        commands: dump
          ? [asked('DATABASE_IS_LOST', 'type DATABASE_IS_LOST=yes first, if it is'), restoreLine(kit, ' --db-only')]
          : [],
      },
    ],
  }
}

/** They are in app.json, and so come with the code. */
function cronText(cron: NonNullable<Kit['manifest']['cron']>): string {
  if (cron.length === 0) return ''
  return ` Its cron entries come with app.json: ${cron.map(({ schedule, command }) => `\`${schedule} ${command}\``).join(', ')}.`
}
