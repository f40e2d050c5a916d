// The app at the new Dokku: its service, configuration, domains, processes and folders.
import { quote, quoteAll } from '../../core/quote.ts'
import { createServiceArgs } from '../../dokku/dokku.ts'
import type { Kit } from './content.ts'
import { CONFIG_FILE, CONFIG_FILE_OF_OLD, takesImport } from './files.ts'
import { atServer, DEFAULT_OWNER, mediaOwner, ROOT, type Step } from './step.ts'

export function appStep({ manifest, config }: Kit): Step {
  const { app, service, dokkuVersion } = manifest
  return {
    title: 'The app and its database',
    text: config
      ? `The configuration is in ${CONFIG_FILE}; what Dokku and the link of the database set is not: they set it anew.`
      : 'The archive holds no configuration: write `config.json` from where you keep the secrets, one object of texts, as {"DJANGO_SECRET_KEY": "…"}, and copy it to the server.',
    blocks: [
      {
        where: ROOT,
        commands: [
          `dokku apps:create ${app}`,
          ...(service === undefined ? [] : [`${createLine(service, manifest)}    # it would print the password`]),
          config && !takesImport(dokkuVersion)
            ? `install -o dokku -g dokku -m 600 ${atServer(CONFIG_FILE_OF_OLD)} /home/dokku/${app}/ENV`
            : `dokku --quiet config:import --no-restart --format json ${app} - < ${atServer(CONFIG_FILE)}`,
          ...(service === undefined ? [] : [`dokku --quiet postgres:link ${service} ${app} --no-restart > /dev/null`]),
          `dokku config:keys ${app}`,
          `dokku ssh-keys:add laptop < ${atServer('key.pub')}`,
        ],
      },
    ],
  }
}

function createLine(service: string, { image, serviceOptions }: Kit['manifest']): string {
  const options = serviceOptions ? ` --config-options ${quote(serviceOptions)}` : ''
  return image
    ? `dokku ${quoteAll(createServiceArgs(service, image))}${options} > /dev/null`
    : `dokku postgres:create ${service} --image "\${IMAGE:?with PostGIS, if the app needs it}" --image-version "\${TAG:?its tag}" > /dev/null`
}

export function settingsStep({ manifest }: Kit): Step {
  const { app, domains = [], ports = [], scale = {}, checks, deployBranch, letsencryptEmail } = manifest
  const counts = Object.entries(scale).map(([process, count]) => `${process}=${count}`)
  const retire = checks?.waitToRetire
  return {
    title: 'Domains, ports, processes',
    text: 'If `ps:scale` says that app.json has a formation, the first deploy sets the processes.',
    blocks: [
      {
        where: ROOT,
        commands: [
          domains.length > 0
            ? `dokku domains:set ${app} ${quoteAll(domains)}`
            : `dokku domains:set ${app} \${DOMAINS:?the domains of the app, with blanks between}`,
          ...(ports.length > 0 ? [`dokku ports:set ${app} ${ports.join(' ')}`] : []),
          ...(counts.length > 0 ? [`dokku ps:scale --skip-deploy ${app} ${counts.join(' ')}`] : []),
          ...(checks && checks.disabled.length > 0 ? [`dokku checks:disable ${app} ${checks.disabled.join(',')}`] : []),
          ...(checks && checks.skipped.length > 0 ? [`dokku checks:skip ${app} ${checks.skipped.join(',')}`] : []),
          ...(retire ? [`dokku checks:set ${app} wait-to-retire ${retire}`] : []),
          ...(deployBranch && deployBranch !== 'master' ? [`dokku git:set ${app} deploy-branch ${deployBranch}`] : []),
          ...(letsencryptEmail ? [`dokku letsencrypt:set ${app} email ${quote(letsencryptEmail)}`] : []),
        ],
      },
    ],
  }
}

export function mountStep(kit: Kit): Step {
  const { manifest, media } = kit
  const { app, mounts = [] } = manifest
  const folders = new Map(
    mounts.flatMap(({ host, owner }) => (host.startsWith('/') ? [[host, owner ?? DEFAULT_OWNER] as const] : [])),
  )
  if (media) folders.set(media.folder, mediaOwner(kit))
  const make = [...folders].map(([host, owner]) => {
    const [uid, gid] = owner.split(':')
    return `install -d -o ${uid} -g ${gid} ${quote(host)}`
  })
  const mount = mounts.map(({ host, container, options }) =>
    quote([host, container, ...(options ? [options] : [])].join(':')),
  )
  return {
    title: 'Folders, and what is mounted',
    blocks: [
      {
        where: ROOT,
        commands: [
          ...make,
          ...(media && mount.length === 0
            ? [
                `dokku storage:mount ${app} ${quote(media.folder)}:"\${THERE:?where the app finds its uploads, as /app/media}"`,
              ]
            : mount.map((one) => `dokku storage:mount ${app} ${one}`)),
        ],
      },
    ],
  }
}
