// The steps of a runbook, in their order.

import { quote, quoteAll } from '../../core/shell.ts'
import { createServiceArgs } from '../../dokku/dokku.ts'
import { allowPlacing } from '../../media/place.ts'
import type { Kit } from './content.ts'
import { CONFIG_FILE, CONFIG_FILE_OF_OLD, ENV_FILE, hasPassphrase, takesImport } from './files.ts'

/** Commands that are typed in one place. */
interface Block {
  /** Who types them where: `On the new server, as root`. */
  where: string
  commands: readonly string[]
}

export interface Step {
  title: string
  /** What to know before. */
  text?: string | undefined
  blocks: readonly Block[]
}

const ANY = 'On the machine with this folder'
const ROOT = 'On the new server, as root'
const DEPLOY = 'On the new server, as deploy'
const LAPTOP = 'On the laptop'
const CHECKOUT = "On the laptop, in the app's checkout"

/** Where the kit lies there. */
export const KIT_THERE = '/root/kit'
const DEFAULT_OWNER = '32767:32767'

/** A file of the kit on the new server. */
function atServer(name: string): string {
  return `${KIT_THERE}/${name}`
}

/** A line for a person who has to find a value: it stops the block until it is filled in. */
function asked(variable: string, what: string): string {
  return `${variable}="\${${variable}:?${what}}"`
}

function mediaOwner({ manifest }: Kit): string {
  const owner = manifest.settings?.MEDIA_OWNER ?? DEFAULT_OWNER
  return /^\d+:\d+$/.test(owner) ? owner : DEFAULT_OWNER
}

/** Until the server can restore. */
export function serverSteps(kit: Kit, folder: string): Step[] {
  return [
    folderStep(folder),
    {
      title: 'System packages',
      blocks: [
        {
          where: ROOT,
          commands: [
            'apt-get update',
            `apt-get install -y acl borgbackup cron curl git ${kit.manifest.database ? 'postgresql-client ' : ''}util-linux wget`,
            'curl -fsSL https://deb.nodesource.com/setup_22.x | bash -    # Node 20 or later, with npm',
            'apt-get install -y nodejs',
          ],
        },
      ],
    },
    dokkuStep(kit),
    userStep(kit),
    keyStep(kit),
    appStep(kit),
    settingsStep(kit),
    mountStep(kit),
    {
      title: 'These scripts',
      text: 'The commands of the laptop are those of docs/setup.md: shell functions that find your checkout of the scripts.',
      blocks: [
        { where: LAPTOP, commands: [asked('DOKKU_HOST', 'the new server'), 'export DOKKU_HOST', 'deploy --sync-only'] },
      ],
    },
  ]
}

function folderStep(folder: string): Step {
  return {
    title: 'This folder, and your key, on the new server',
    text: 'The server has a new host key: compare its fingerprint when ssh shows it.',
    blocks: [
      {
        where: ANY,
        commands: [
          asked('DOKKU_HOST', 'the new server'),
          'ssh-keygen -R "$DOKKU_HOST" || true    # of the old server',
          `cp ~/.ssh/id_ed25519.pub ${quote(`${folder}/key.pub`)}    # who may deploy`,
          `scp -rp ${quote(folder)} "root@$DOKKU_HOST:${KIT_THERE}"`,
        ],
      },
    ],
  }
}

function dokkuStep({ manifest }: Kit): Step {
  const { dokkuVersion, plugins = [] } = manifest
  const tag = dokkuVersion && `v${dokkuVersion}`
  return {
    title: 'Dokku and its plugins',
    text: dokkuVersion
      ? undefined
      : 'Which version ran is not in the archive. See https://dokku.com for the newest: its bootstrap script, and its tag.',
    blocks: [
      {
        where: ROOT,
        commands: [
          ...(tag ? [`DOKKU_TAG=${tag}`] : [asked('DOKKU_TAG', 'v0.38.27, or another version of Dokku')]),
          'wget -NP . "https://dokku.com/install/$DOKKU_TAG/bootstrap.sh"',
          'DOKKU_TAG=$DOKKU_TAG bash bootstrap.sh',
          ...(plugins.length > 0
            ? plugins.map((plugin) => installPlugin(plugin))
            : ['dokku plugin:install https://github.com/dokku/dokku-postgres.git --name postgres']),
        ],
      },
    ],
  }
}

function installPlugin({ name, source, commit }: { name: string; source?: string; commit?: string }): string {
  const from = source ? quote(source) : `"\${SOURCE:?where the plugin ${name} is installed from}"`
  return `dokku plugin:install ${from}${commit ? ` --committish ${commit}` : ''} --name ${name}`
}

/** Narrower rights for the nights, when all is well: docs/setup.md. */
function userStep(kit: Kit): Step {
  const { media } = kit
  const placing = media ? placingLine(media.folder, mediaOwner(kit)) : []
  return {
    title: 'The user deploy',
    blocks: [
      {
        where: ROOT,
        commands: [
          "id deploy > /dev/null 2>&1 || adduser --disabled-password --gecos '' deploy",
          'install -d -o deploy -g deploy -m 700 /home/deploy/.ssh',
          `install -o deploy -g deploy -m 600 ${atServer('key.pub')} /home/deploy/.ssh/authorized_keys`,
          `install -o deploy -g deploy -m 600 ${atServer(ENV_FILE)} /home/deploy/.env.backup`,
          "echo 'deploy ALL=(ALL) NOPASSWD: /usr/bin/dokku' | install -m 440 /dev/stdin /etc/sudoers.d/deploy-dokku",
          ...placing,
          'visudo -c',
          'install -d -o root -g deploy -m 770 /var/lib/book-corners-ops',
          'install -o deploy -g deploy -m 600 /dev/null /var/log/book-corners-backup.log',
        ],
      },
      {
        where: DEPLOY,
        commands: [
          ...(hasPassphrase(kit) ? [] : askSecret('BORG_PASSPHRASE', "The repository's passphrase")),
          ...(kit.manifest.database ? askSecret('DATABASE_URL', 'The address of the database, with its password') : []),
        ],
      },
    ],
  }
}

function askSecret(setting: string, what: string): string[] {
  return [`read -rsp "${what}: " secret`, `printf "${setting}='%s'\\n" "$secret" >> /home/deploy/.env.backup`]
}

function placingLine(folder: string, owner: string): string[] {
  // Root's files are placed by nobody: the night's check says so, too.
  if (owner.startsWith('0:')) return []
  return [allowPlacing({ MEDIA_DIR: folder, MEDIA_OWNER: owner }, { uid: -1, gid: -1, name: 'deploy' })]
}

/** `ssh://user@host:port/path`, `user@host:path`. */
function sshOf(repository: string): { target: string; port: string | undefined } | undefined {
  const [, user = '', host, port] =
    /^ssh:\/\/([\w.-]+@)?([\w.-]+)(?::(\d+))?\//.exec(repository) ??
    /^([\w.-]+@)([\w.-]+):(?!\/\/)/.exec(repository) ??
    []
  return host === undefined ? undefined : { target: `${user}${host}`, port }
}

function keyStep({ repository }: Kit): Step {
  const ssh = sshOf(repository)
  const borgList = ['set -a; . /home/deploy/.env.backup; set +a', 'borg list --last 3']
  if (!ssh)
    return {
      title: 'The way to the repository',
      text: `The repository is a folder: ${repository}. The user deploy must be able to write to it.`,
      blocks: [{ where: DEPLOY, commands: borgList }],
    }
  return {
    title: 'The way to the repository',
    text: 'The key of the old server is gone with it: take it away at the storage provider, and add the new one there. At the first connection compare the fingerprint with the one of the provider.',
    blocks: [
      {
        where: DEPLOY,
        commands: [
          "ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519",
          'cat ~/.ssh/id_ed25519.pub    # to the provider',
        ],
      },
      {
        where: DEPLOY,
        commands: [
          `ssh ${ssh.port ? `-p ${ssh.port} ` : ''}${quote(ssh.target)} true || true    # accept its host key`,
          ...borgList,
        ],
      },
    ],
  }
}

function appStep({ manifest, config }: Kit): Step {
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

function settingsStep({ manifest }: Kit): Step {
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

function mountStep(kit: Kit): Step {
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

/** The data, and the code that belongs to it. */
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

/** Visitors, cron, and whether all of it works. */
export function finalSteps({ manifest }: Kit): Step[] {
  const { app, domains = [], plugins, sha, letsencryptEmail } = manifest
  const certifies = plugins === undefined || plugins.some(({ name }) => name === 'letsencrypt') || letsencryptEmail
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
      text: 'A monitor that the old server told is not in the archive: HEALTHCHECK_URL and DRILL_HEALTHCHECK_URL in /home/deploy/.env.backup.',
      blocks: [
        {
          where: DEPLOY,
          commands: [
            '{',
            '  crontab -l 2> /dev/null || true',
            "  echo '0 3 * * * /home/deploy/backup >> /var/log/book-corners-backup.log 2>&1'",
            "  echo '0 5 * * 0 /home/deploy/restore --drill >> /var/log/book-corners-backup.log 2>&1'",
            '} | crontab -',
            '/home/deploy/backup --check',
            '/home/deploy/backup',
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
