#!/bin/bash
# Puts restored files in their places in the media folder. It runs as the user whose files they are, never as root: the
# app owns that folder, and can put a link in place of any part of it at any moment. So nothing here trusts a path. A
# folder is entered first and looked at then: a working directory stays the folder that it is, and the kernel says where
# that is. Each file appears whole or not at all: it is unpacked inside the media folder, and then renamed. Nothing is
# lost: what had its name is renamed, too, to NAME.before-TIME.
#
# Usage: bash -s MEDIA_DIR. Its standard input is this file, and then what to do, in words that each end with a NUL:
#   unpack LENGTH               and so many bytes behind it: a tar with files and no folders in it
#   move FOLDER COUNT FILE …    so many files of the last tar, to a folder below MEDIA_DIR, which is made if it is missing
# It prints each file that it could not place, and the reason, with a NUL behind each of the two. With nothing behind this
# file it only looks whether it may place files at all.

refuse() {
  echo "refused: $1" >&2
  exit 1
}

word() { # VARIABLE
  IFS= read -r -d '' "$1"
}

# Each process counts: some are started for each folder. So a program is `exec`ed, and what bash can do itself it does.

# Goes into a folder, if that is the one at PATH. A path that a link is a part of leads elsewhere.
enter() { # FOLDER PATH
  local here=
  cd -P -- "$1" 2>/dev/null || return
  IFS= read -r -d '' here < <(exec /bin/pwd -P)
  [ "$here" = "$2"$'\n' ]
}

# Goes into a folder below the media folder, and makes what is missing of it. Else it says in `why` what is in the way.
reach() { # FOLDER
  local path=$media${1:+/$1} parent=
  enter "$path" "$path" && return
  [ -n "$1" ] || refuse "$media is not where it was"
  case $1 in */*) parent=${1%/*} ;; esac
  reach "$parent" || return
  if [ ! -d "./${1##*/}" ]; then
    why=$(exec mkdir -- "./${1##*/}" 2>&1) || return
  fi
  enter "./${1##*/}" "$path" && return
  why="$1 is a link, or can't be entered"
  return 1
}

# The working folder is what descriptor 3 holds, whatever its path leads to by now.
clear_inbox() {
  local files=(/proc/self/fd/3/*)
  [ "${#files[@]}" = 0 ] || rm -rf -- "${files[@]}"
}

unpack() { # LENGTH
  clear_inbox
  cd -P /proc/self/fd/3 || refuse "the working folder is gone"
  # Whatever becomes of this tar, the next words are behind it.
  if broken=$(head -c "$1" | { tar -xpf - --no-same-owner --warning=no-timestamp 2>&1 || { cat >/dev/null; exit 1; }; }); then
    broken=
  else
    broken=${broken:-it could not be unpacked}
  fi
}

# Gives files the rights that this folder's default ACL gives to others than owner and group: the backup's user reads by them.
inherit() { # PATH …
  local line rights=
  while IFS= read -r line; do
    if [[ $line =~ ^(user|group):[^:]+:.. ]]; then rights+=${rights:+,}${BASH_REMATCH[0]}-; fi
  done < <(exec getfacl -cpd . 2>/dev/null)
  [ -z "$rights" ] || setfacl -P -m "$rights" -- "$@" 2>/dev/null
}

move() { # FOLDER FILE …
  local folder=$1 why=$broken file files=()
  shift
  if [ -z "$broken" ] && reach "$folder"; then
    # A whole folder is not put aside for a file.
    for file; do if [ -d "./$file" ] && [ ! -L "./$file" ]; then why='cannot overwrite directory'; else files+=("/proc/self/fd/3/$file"); fi; done
    if [ "${#files[@]}" != 0 ]; then
      inherit "${files[@]}"
      why=$(exec mv -f --backup=simple --suffix="$aside" -t . -- "${files[@]}" 2>&1)${why:+$'\n'$why}
      why=${why#$'\n'}
    fi
  fi
  for file; do
    if [ -n "$broken" ] || [ -e "/proc/self/fd/3/$file" ] || [ -L "/proc/self/fd/3/$file" ]; then
      printf '%s\0%s\0' "${folder:+$folder/}$file" "${why%%$'\n'*}"
    fi
  done
}

main() {
  local above mode verb length folder count file files broken='nothing was unpacked' aside
  shopt -s nullglob dotglob
  unset CDPATH TAR_OPTIONS
  export LC_ALL=C
  [ "$EUID" != 0 ] || refuse "placing files takes the rights of their owner, and this is root"
  # Links above it are the operator's own.
  above=$(cd -P -- "${1%/*}/" && /bin/pwd -P && echo .) || refuse "$1 can't be reached"
  above=${above%$'\n.'}
  media=${above%/}/${1##*/}
  enter "$1" "$media" || refuse "$1 is a link, or can't be entered"
  [ -w . ] || refuse "uid $EUID can't write to $1"
  # New folders can be looked into by whoever can look into this one.
  read -r mode < <(exec stat -c %a .)
  printf -v mode %o "$((0777 & ~0$mode))"
  umask "$mode"

  word verb || exit 0
  # What was left by a run that was killed.
  rm -rf -- .restoring .restoring.* 2>/dev/null
  inbox=$(exec mktemp -d ./.restoring.XXXXXXXXXX) && enter "$inbox" "$media/${inbox#./}" || refuse "no working folder in $1"
  # What is unpacked here has the permissions that it had, and no others.
  setfacl -bk . 2>/dev/null
  exec 3<.
  # What is in the way is put aside under this end of its name, also when the app has stored it a moment ago.
  printf -v aside '.before-%(%Y%m%dT%H%M%S)T' -1
  while :; do
    case $verb in
    unpack)
      word length && unpack "$length"
      ;;
    move)
      word folder && word count
      files=()
      while [ "${#files[@]}" -lt "$count" ] && word file; do files+=("$file"); done
      move "$folder" "${files[@]}"
      ;;
    esac
    word verb || break
  done
  clear_inbox
  enter "$media" "$media" && rmdir -- "$inbox" 2>/dev/null
  exit 0
}

# On one line: from here on the standard input is main's.
main "$@"; exit
