// `deploy --gate`: a script for the server that lets an SSH key say what these scripts say, and nothing else.

import { createHash } from 'node:crypto'
import type { Settings } from '../cli/settings.ts'
import { quoteAll } from '../core/quote.ts'
import { VERSION } from '../core/version.ts'
import {
  appendToLedger,
  askRevision,
  checkBackup,
  currentRelease,
  DOKKU_WORDS,
  GATE_REFUSES,
  GIT_WORDS,
  readLedgerLines,
  setRevision,
  sync,
  takeRestorePoint,
  upload,
  withApp,
} from '../server/words.ts'

/** Stands for any commit. */
const NO_COMMIT = '0'.repeat(40)

type GateSettings = Settings<'DOKKU_APP' | 'DEPLOY_USER' | 'OPS_DIR'>

/** The script for the server, with the lines that install it. Pure. */
export function gateScript(settings: GateSettings): string {
  return `#!/bin/sh\n${howToInstall(settings)}\n${script(settings)}`
}

function howToInstall({ DOKKU_APP: app, DEPLOY_USER: user }: GateSettings): string {
  const file = `/usr/local/bin/${app}-gate`
  return `# The gate of ${app}: what an SSH key may say on this server, and nothing else. Made by: deploy --gate (${VERSION})
# It compares whole command lines with those of the ops scripts. After an update of them, print and install it again.
#
# On the laptop:
#   deploy --gate > ${app}-gate && scp ${app}-gate ~/ci_key.pub root@HOST:
#
# On the server, as root:
#   install -m 755 ${app}-gate /usr/local/bin/
# And once, with CI's public key in ci_key.pub. The first of these lines has the form that Dokku gives a key, so
# that \`dokku ssh-keys:list\` shows it and \`dokku ssh-keys:remove ci\` takes it away. For the second choose \`ledger\` (the key reads
# and writes the ledger of deploys) or \`sync\` (it also brings new ops scripts: whoever holds it runs code as ${user}).
#   printf 'command="FINGERPRINT=%s NAME=\\\\"ci\\\\" \`echo ${file}\` dokku",restrict %s\\n' \\
#     "$(ssh-keygen -lf ci_key.pub | cut -d' ' -f2)" "$(cat ci_key.pub)" >> ~dokku/.ssh/authorized_keys
#   printf 'restrict,command="${file} ledger" %s\\n' "$(cat ci_key.pub)" >> ~${user}/.ssh/authorized_keys
`
}

/** One word of a shell script that means itself, also as a pattern of \`case\`. */
function literal(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

function anyOf(lines: readonly string[]): string {
  return lines.map(literal).join(' | \\\n    ')
}

function script({ DOKKU_APP: app, OPS_DIR: opsDir }: GateSettings): string {
  return `set -u
asked=\${SSH_ORIGINAL_COMMAND-}
newline='
'

refuse() {
  echo "The gate of ${app} does not let this key \${1:-say that. Are the ops scripts newer than the gate? Print it again: deploy --gate}" >&2
  exit ${GATE_REFUSES}
}
is_release() { case $1 in *[!0123456789abcdef]*) return 1 ;; ????????????????) ;; *) return 1 ;; esac; }
is_version() { case $1 in '' | *[!0123456789abcdefghijklmnopqrstuvwxyz.-]*) return 1 ;; esac; }
is_label() { case $1 in *[!0123456789abcdef]*) return 1 ;; ????????) ;; *) return 1 ;; esac; }
is_commit() { [ \${#1} -eq 40 ] && case $1 in *[!0123456789abcdef]*) return 1 ;; esac; }
is_number() { case $1 in '' | *[!0123456789]*) return 1 ;; esac; }

case \${1-} in
dokku)
${forDokku(app)}
  ;;
ledger | sync)
${forOps(app, opsDir)}
  ;;
*) refuse ;;
esac
`
}

function forDokku(app: string): string {
  const words = [...DOKKU_WORDS, ...GIT_WORDS].map((words) => withApp(words, app))
  const [ask = '', revision = ''] = askRevision(0)
    .split('0')
    .map((part) => withApp(part, app))
  const set = withApp(setRevision(NO_COMMIT), app).replace(NO_COMMIT, '')
  return `  # How these begin and end: a web process is asked for its commit, and Dokku is told the one that it has.
  ask=${literal(ask)} revision=${literal(revision)}
  set=${literal(set)}
  case $asked in
    ${anyOf(words)}) ;;
    "$ask"*"$revision")
      number=\${asked#"$ask"}
      is_number "\${number%"$revision"}" || refuse
      ;;
    "$set"*) is_commit "\${asked#"$set"}" || refuse ;;
    *) refuse ;;
  esac
  # As Dokku's own lines in authorized_keys do it: these are plain words, and git's name of the app in quotes.
  set -f
  exec dokku $asked`
}

function forOps(app: string, opsDir: string): string {
  const asIs = [readLedgerLines(opsDir), currentRelease(opsDir), checkBackup(opsDir)].map(quoteAll)
  const [append = ''] = quoteAll(appendToLedger(opsDir, '{}')).split('{}')
  const [receive = '', folder = ''] = quoteAll(upload(`${opsDir}/releases/SESSION.partial/.`)).split('SESSION')
  const [point = ''] = quoteAll(takeRestorePoint(opsDir, app, 'LABEL')).split('LABEL')
  const syncs = quoteAll(sync(opsDir, 'RELEASE', 'VERSION')).replace(/ RELEASE VERSION$/, '')
  return `  # How these begin: what adds a line to the ledger, takes a restore point, and takes the files of a sync.
  append=${literal(append)}
  point=${literal(point)}
  receive=${literal(receive)}
  case $asked in
    ${anyOf(asIs)}) ;;

    # A line for the ledger, in one word.
    "$append"'{"at":"'*"}'")
      line=\${asked#"$append"}
      line=\${line%"'"}
      case $line in *"'"* | *"$newline"*) refuse ;; esac
      ;;

    # A restore point, before the commit of these eight digits.
    "$point"*) is_label "\${asked#"$point"}" || refuse ;;

    # The files of a sync, into the folder of its session.
    "$receive"*${literal(folder)})
      session=\${asked#"$receive"}
      session=\${session%${literal(folder)}}
      release=\${session%%.*} number=\${session#*.}
      [ "$1" = sync ] && [ "$session" = "$release.$number" ] && is_release "$release" && is_number "$number" || refuse
      ;;

    # The script of a sync. Only the release and the version vary; the rest is compared by its hash.
    *)
      version=\${asked##* } rest=\${asked% *}
      release=\${rest##* } text=\${rest% *}
      is_release "$release" && is_version "$version" || refuse
      [ "$(printf %s "$text" | sha256sum)" = '${sha256(syncs)}  -' ] || refuse
      if [ "$1" = ledger ]; then
        [ "$(readlink ${literal(`${opsDir}/current`)})" = "releases/$release" ] ||
          refuse 'sync the ops scripts. From a laptop: deploy --sync-only'
        echo unchanged
        exit 0
      fi
      ;;
  esac
  # What was compared is all that this shell is given.
  exec sh -c "$asked"`
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
