// Until the new server can restore: its packages, Dokku, the user deploy, and the way to the repository.
import { dirname } from 'node:path'
import { quote } from '../../core/quote.ts'
import { allowPlacing } from '../../media/place.ts'
import { appStep, mountStep, settingsStep } from './app-steps.ts'
import type { Kit } from './content.ts'
import { ENV_FILE, hasPassphrase } from './files.ts'
import { ANY, asked, atServer, DEPLOY, KIT_THERE, LAPTOP, mediaOwner, ROOT, type Step } from './step.ts'

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
            `apt-get install -y acl borgbackup cron curl git logrotate ${kit.manifest.database ? 'postgresql-client ' : ''}util-linux wget`,
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
      text: 'The laptop needs a checkout of these scripts, with its `bin` folder on the PATH: docs/setup.md, “The laptop”.',
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
    text: 'Where a block says “as deploy” from here on: type `su - deploy` as root, and `exit` to be root again; or, from the laptop with that key, `ssh -t "deploy@$DOKKU_HOST"`.',
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
          LOGROTATE,
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

/** As docs/setup.md has it. */
const LOGROTATE = `cat > /etc/logrotate.d/book-corners-backup <<'END'
/var/log/book-corners-backup.log {
    monthly
    rotate 12
    compress
    missingok
    notifempty
    create 600 deploy deploy
}
END`

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
  if (!ssh) {
    const parent = quote(`mkdir -p ${quote(dirname(repository))}`)
    const copy = `ssh "root@$DOKKU_HOST" ${parent} && scp -rp ${quote(repository)} "root@$DOKKU_HOST:${repository}"`
    return {
      title: 'The way to the repository',
      text: `The repository is a folder, and the new server needs it at the same place: \`${repository}\`. If it was on the old server's disk, bring a copy first: from the machine that has one, \`${copy}\`. The user deploy must be able to write to it.`,
      blocks: [
        {
          where: ROOT,
          commands: [
            `ls ${quote(`${repository}/config`)}    # not there: bring the folder first`,
            `chown -R deploy: ${quote(repository)}`,
          ],
        },
        { where: DEPLOY, commands: borgList },
      ],
    }
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
