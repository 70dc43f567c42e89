#!/bin/sh
# Dependencies point one way: agent → directory → wire → base, service → wire → base. Fails on an #include that points up.
set -eu
src=${srcdir:-.}/src
bad=0
allow() { # folder, then what it may include
	folder=$1
	shift
	pattern=$(printf '%s|' "$folder" "$@" | sed 's/|$//')
	if found=$(grep -nE '#include "[a-z]+/' "$src/$folder"/*.[ch] | grep -vE "#include \"($pattern)/"); then
		printf 'src/%s includes what it must not:\n%s\n' "$folder" "$found"
		bad=1
	fi
	# Includes of the project carry the path, so that every arrow is visible.
	if found=$(grep -nE '#include "[^/"]+"' "$src/$folder"/*.[ch]); then
		printf 'includes without their folder:\n%s\n' "$found"
		bad=1
	fi
}
allow base
allow wire base
allow directory wire base
allow agent directory wire base
allow service wire base
# Only agent, check and test know both the queue and the validators.
for file in "$src"/agent/*.c; do
	case ${file##*/} in agent.c | check*.c | test*.c) continue ;; esac
	if grep -q '"agent/queue_client.h"' "$file" && grep -q '"directory/validator.h"' "$file"; then
		printf '%s knows both the queue and the validators\n' "$file"
		bad=1
	fi
done
[ $bad = 0 ] && echo "1 passed, 0 failed"
exit $bad
