#!/bin/bash
# Holds the bash completion to the programs: of each command the options that its --help has, and what comes where.
set -eu
: "${srcdir:=.}"
bad=0
complain() {
	printf '%s\n' "$*"
	bad=1
}
# shellcheck source=/dev/null
. "$srcdir/contrib/completion/pta.bash"
# bash takes it only while somebody types.
compopt() {
	[ "$*" = "-o filenames" ] || complain "compopt $*"
}

# The words up to the cursor, the last one is being typed; prints what is offered.
offered() {
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	_pta "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
	printf '%s\n' "${COMPREPLY[@]}" | sort
}
expect() { # what, then the words
	local want=$1 got
	shift
	got=$(offered "$@" | tr '\n' ' ')
	[ "$got" = "$want " ] || complain "$(printf "'%s' " "$@"): offers '$got', not '$want '"
}

agent=./pta-agent service=./pta-service
expect "check register renew run status test" $agent ""
expect "register renew" $agent re
expect "agent app backup domain init restore run signin status token" $service ""
expect "disable enable list revoke show" $service agent ""
expect "list" $service app l
expect "" $service nothing ""
expect "--check-config --config --dump-config --help --version" $agent -
expect "--config --help --service --token-file" $agent register ""
expect "--config" $service app create --c
expect "--details" $service app create portal --tenant default --d
expect "" $agent test --json x
expect "" $service domain add --group ""
expect "" $service domain add -g ""

mkdir "completion.$$"
touch "completion.$$/a token" "completion.$$/b"
for option in --token-file -t --config; do
	expect "completion.$$/a token completion.$$/b" $agent register $option "completion.$$/"
done
expect "completion.$$/b" $agent --config = "completion.$$/b"
expect "completion.$$/a token" $agent register --token-file = "completion.$$/a"
rm -r "completion.$$"

for program in $agent $service; do
	n=0
	while read -r -a command; do
		want=$("$program" "${command[@]}" --help | sed -n '/^options:/,$p' | grep -oE '^ +(-[a-z], )?--[a-z-]+' | grep -oE -- '--.*' | sort | tr '\n' ' ')
		expect "${want% }" "$program" "${command[@]}" -
		n=$((n + 1))
	done < <(awk '/^\.Sh / { inside = $2 == "COMMANDS" }
		inside && /^\.Ss / { for (i = 2; i <= NF && $i != "Ar"; i++) printf "%s ", $i; print "" }' "man/${program#./}.8")
	[ $n -ge 6 ] || complain "man/${program#./}.8 has too few commands"
done
[ $bad = 0 ] && echo "1 passed, 0 failed"
exit $bad
