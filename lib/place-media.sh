#!/bin/sh
# Moves restored files from a staging folder to their places in the media folder: the one step of a restore that may
# need root. Each file appears whole or not at all: it is first copied into the media folder's own file system, gets
# its owner there, and is then renamed. Nothing is deleted; a folder on the way that is a link is refused.
#
# Usage: place-media.sh STAGING MEDIA_DIR UID GID
set -eu
staging=$1 uid=$3 gid=$4
media=$(cd -P -- "$2" && pwd)
inbox=$media/.restoring
[ ! -L "$inbox" ] || { echo "refused: $inbox is a link" >&2; exit 1; }

case $staging in
"$inbox"/*) source=$staging ;;
*)
  rm -rf -- "$inbox/placing"
  mkdir -p -m 700 -- "$inbox"
  source=$inbox/placing
  cp -R --preserve=mode,timestamps --no-dereference -- "$staging" "$source"
  ;;
esac
chown -R -h -- "$uid:$gid" "$source"
# Borg gives its folders the archive's modes: one that can't be written would keep its files.
find "$source" -type d -exec chmod 700 -- {} +

cd -- "$source"
export media uid gid
find . -mindepth 1 -type d -exec sh -euc '
  for folder; do
    target=$media/${folder#./}
    if [ -L "$target" ]; then echo "refused: $target is a link" >&2; exit 1; fi
    [ -d "$target" ] && continue
    mkdir -- "$target"
    # Whatever umask this runs with, the app must be able to look into it.
    chmod --reference="$media" -- "$target"
    [ "$(id -u)" != 0 ] || chown -- "$uid:$gid" "$target"
  done' sh {} +
# A folder at a time: a process for each of some thousand files would take longer than to extract them.
export source
find . -type d -exec sh -euc '
  for folder; do
    cd -P -- "$media/$folder"
    parent=$PWD
    cd -- "$source"
    case $parent/ in "$media"/*) ;; *) echo "refused: $folder leads outside $media" >&2; exit 1 ;; esac
    find "$folder" -mindepth 1 -maxdepth 1 ! -type d -print0 | xargs -0 -r mv -f -t "$parent" --
  done' sh {} +
cd /
rm -rf -- "$source"
rmdir -- "$inbox" 2>/dev/null || true
