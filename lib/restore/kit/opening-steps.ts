// Visitors, cron, and whether all of it works.
import { quote } from '../../core/quote.ts'
import type { Kit } from './content.ts'
import { asked, DEPLOY, LAPTOP, ROOT, type Step } from './step.ts'

export function openingSteps({ manifest }: Kit): Step[] {
  const { app, domains = [], plugins, sha, letsencryptEmail } = manifest
  const certifies = plugins === undefined || plugins.some(({ name }) => name === 'letsencrypt') || letsencryptEmail
  // It needs a service of Dokku's.
  const drills = manifest.database === undefined
  const site = manifest.settings?.SITE_URL ?? `https://${domains[0] ?? 'DOMAIN'}`
  return [
    {
      title: 'Visitors, and the certificate',
      text: `At your DNS provider, let ${domains.join(', ') || 'the domains'} lead to the new server.${certifies ? ' Only then a certificate can be had.' : ' Then the certificate, as your plugins have it: no letsencrypt was installed.'}`,
      blocks: [
        {
          where: ROOT,
          commands: certifies ? [`dokku letsencrypt:enable ${app}`, 'dokku letsencrypt:cron-job --add'] : [],
        },
      ],
    },
    {
      title: 'The nights',
      text: [
        'A monitor that the old server told is not in the archive: HEALTHCHECK_URL and DRILL_HEALTHCHECK_URL in /home/deploy/.env.backup.',
        drills
          ? 'At the end a night and a drill by hand: a red monitor in a week would be late.'
          : 'A drill of a database away from Dokku needs an env file of its own: docs/growing.md.',
      ].join(' '),
      blocks: [
        {
          where: DEPLOY,
          commands: [
            '{',
            '  crontab -l 2> /dev/null || true',
            "  echo '0 3 * * * /home/deploy/backup >> /var/log/book-corners-backup.log 2>&1'",
            ...(drills
              ? ["  echo '0 5 * * 0 /home/deploy/restore --drill >> /var/log/book-corners-backup.log 2>&1'"]
              : []),
            '} | crontab -',
            '/home/deploy/backup --check',
            '/home/deploy/backup',
            ...(drills ? ['/home/deploy/restore --drill'] : []),
          ],
        },
      ],
    },
    {
      title: 'Does it work?',
      blocks: [
        {
          where: LAPTOP,
          commands: [
            asked('DOKKU_HOST', 'the new server'),
            'export DOKKU_HOST',
            `verify --url ${quote(site)}${sha ? ` --expect-sha ${sha}` : ''}`,
          ],
        },
      ],
    },
  ]
}
