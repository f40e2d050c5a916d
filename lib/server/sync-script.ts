// The shell script of a sync, which runs on the server, and the launchers that it writes there.

import { basename, dirname } from 'node:path'
import { DEFAULT_ENV_FILE } from '../cli/env-file.ts'
import { quote } from '../core/quote.ts'

/** The commands that cron and operators type, next to OPS_DIR, and the scripts they start. */
const LAUNCHERS = ['backup', 'restore'] as const

/**
 * A launcher. It resolves `current` once, so that a run stays in the release it began in, and names everything by its full
 * path: nothing is looked for in the working directory, which stays the caller's. POSIX sh: cron has nothing else.
 */
function launcher(opsDir: string, name: string): string {
  const envFile = `${dirname(opsDir)}/${basename(DEFAULT_ENV_FILE)}`
  return [
    '#!/bin/sh',
    `# Runs ${name}.ts of the current release. deploy.ts writes this file: changes here are lost.`,
    `release=$(readlink -f ${quote(`${opsDir}/current`)}) && [ -x "$release/.node" ] || {`,
    `  echo ${quote(`${name}: there is no usable release in ${opsDir}. From a checkout: deploy --sync-only`)} >&2`,
    '  exit 1',
    '}',
    'loader=$release/scripts/loader.mjs',
    // Messages name the commands as they can be typed here.
    `export OPS_LAUNCHERS=${quote(dirname(opsDir))}`,
    // An app with an OPS_DIR of its own has its settings beside it: a deploy's restore point is then of that app.
    ...(envFile === DEFAULT_ENV_FILE
      ? []
      : [`[ -n "\${OPS_ENV_FILE-}" ] || [ ! -r ${quote(envFile)} ] || export OPS_ENV_FILE=${quote(envFile)}`]),
    // A release of before that loader, which somebody made current again: the same two habits of tsx are turned off.
    '[ -f "$loader" ] || {',
    '  loader=$release/node_modules/tsx/dist/loader.mjs',
    '  export TSX_DISABLE_CACHE=1 TSX_TSCONFIG_PATH="$release/tsconfig.json"',
    '}',
    // Of 200,000 photos Node would take 25 MB more for objects that it is about to forget. `--`: Node 20 would take an
    // --env-file for its own, wherever it stands.
    `exec "$release/.node" --max-semi-space-size=4 --import "$loader" -- "$release/scripts/${name}.ts" "$@"`,
  ].join('\n')
}

/** Releases kept, the current one included. */
const KEPT = 3
/** The session there ends by itself after this long, so that a connection that hangs can't hold the lock for ever. */
const LONGEST_SECONDS = 900
const LOCK_SECONDS = 60

/**
 * What runs on the server during a sync, in one SSH session. It answers `unchanged`, or asks for the files with
 * `upload FOLDER` and reads one line when they are there; then `step …` lines, and `switched`. The end of its input before that
 * means that the other side is gone: it takes its unfinished release away. The lock is the session's own: it can't be left behind.
 */
const SCRIPT = `
set -u
umask 022
ops=$1 home=$(dirname "$1")
backup_launcher=$2 restore_launcher=$3
id=$4 version=$5
# A folder of this session alone: an scp that outlived its killed deploy may still be writing to its own.
new="$ops/releases/$id" partial="$ops/releases/$id.$$.partial"

fail() { echo "$*" >&2; exit 1; }
is() { [ -f "$1" ] && [ -x "$1" ] && [ "$(cat "$1")" = "$2" ]; }
complete() { [ -x "$1/.node" ] && [ -f "$1/node_modules/tsx/dist/loader.mjs" ]; }

if [ "$(readlink "$ops/current" 2>/dev/null)" = "releases/$id" ] && complete "$new" &&
  is "$home/backup" "$backup_launcher" && is "$home/restore" "$restore_launcher"; then
  echo unchanged
  exit 0
fi

mkdir -p "$ops/releases" || fail "$ops can't be written by $(id -un)"
command -v flock >/dev/null || fail "flock is missing: apt-get install util-linux"
exec 9>"$ops/.lock" || fail "$ops can't be written by $(id -un)"
flock -w ${LOCK_SECONDS} 9 || fail "another sync holds the lock of $ops"
rm -rf "$ops"/releases/*.partial "$ops/current.new" "$home/.backup.new" "$home/.restore.new"
trap 'rm -rf "$partial"' EXIT
trap 'exit 1' HUP INT TERM PIPE

# sshd's PATH can be poorer than an administrator's.
PATH="$PATH:/usr/local/bin:/usr/bin:/bin:/snap/bin"
node=$(command -v node) || fail "Node is not installed for $(id -un): these scripts need Node 20 or later"
"$node" -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' ||
  fail "Node $("$node" --version) in $node is too old: these scripts need Node 20 or later"
command -v npm >/dev/null || fail "npm is not installed for $(id -un)"

# As cron would start it: nothing in the environment.
proves() {
  for script in backup restore; do
    [ -f "$1/scripts/$script.ts" ] || continue
    said=$(cd / && env -i HOME="$HOME" PATH=/usr/bin:/bin "$1/.node" --import "$1/scripts/loader.mjs" \\
      "$1/scripts/$script.ts" --version 2>&1) && [ "$said" = "$version" ] || return 1
  done
}

# The name of the release that the files in a folder make, as releaseId() in sync.ts makes it.
named() {
  (cd "$1" && find . ! -type d -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -z) | sha256sum | cut -c 1-16
}

if ! complete "$new" || ! proves "$new"; then
  mkdir "$partial" || fail "$partial can't be made"
  # The dot keeps scp from making the folder again when it is gone.
  echo "upload $partial/."
  read -r answer && [ "$answer" = uploaded ] || fail "the files did not arrive"
  [ "$(named "$partial")" = "$id" ] || fail "what arrived is not what was sent"
  echo "step npm ci"
  ln -s "$node" "$partial/.node" || fail "$partial can't be written"
  # npm keeps compiled code in /tmp, and runs what it finds there, whoever wrote it (Node 22).
  (cd "$partial" && NODE_DISABLE_COMPILE_CACHE=1 npm ci --omit=dev --ignore-scripts --prefer-offline --no-audit --no-fund --no-update-notifier) </dev/null >/dev/null 9>&- ||
    fail "the packages can't be installed (npm ci)"
  proves "$partial" || fail "the new release does not run: $(printf '%s\\n' "$said" | grep -v '^ *at ' | head -n 6 | tr '\\n' ' ')"
  if [ -e "$new" ]; then rm -rf "$new" || fail "$new is damaged and can't be removed"; fi
  mv "$partial" "$new" || fail "$new can't be made"
fi
touch "$new"

old=$(readlink "$ops/current" 2>/dev/null)
ln -s "releases/$id" "$ops/current.new" && mv -T "$ops/current.new" "$ops/current" || fail "$ops/current can't be switched"
install_launcher() {
  is "$home/$1" "$2" && return
  printf '%s\\n' "$2" >"$home/.$1.new" && chmod 755 "$home/.$1.new" && mv -T "$home/.$1.new" "$home/$1"
}
install_launcher backup "$backup_launcher" && install_launcher restore "$restore_launcher" ||
  fail "the new release is current, but the launchers in $home can't be written"

# The newest stay, and those that a process still runs from; its own lines are not among them: the name comes on stdin.
kept=0
for release in $(ls -t "$ops/releases"); do
  kept=$((kept + 1))
  [ "$kept" -le ${KEPT} ] || [ "releases/$release" = "$old" ] && continue
  printf '%s/releases/%s/\\n' "$(readlink -f "$ops")" "$release" | grep -qsF -f - /proc/[0-9]*/cmdline && continue
  rm -rf "$ops/releases/$release"
done
echo switched
`

/** The command line that runs the script there, without its last two words: the release's name and version. */
export function syncWords(opsDir: string): string[] {
  return [
    'timeout',
    String(LONGEST_SECONDS),
    'sh',
    '-c',
    SCRIPT,
    'sync',
    opsDir,
    ...LAUNCHERS.map((name) => launcher(opsDir, name)),
  ]
}
