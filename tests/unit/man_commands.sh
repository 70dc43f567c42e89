#!/bin/sh
# Holds the man pages of the programs to their --help: the same commands, the same options; pages without warnings; and every
# command's help on one screen.
set -eu
: "${srcdir:=.}"
bad=0
complain() {
	printf '%s\n' "$*"
	bad=1
}

# From the page: "command" and "command --option" lines. ".Ss agent show Ar AGENT" begins a command, ".It Fl c , Fl -config Ar FILE" is one of its options.
of_page() {
	awk '
		/^\.Sh / { inside = $2 == "COMMANDS"; next }
		inside && /^\.Ss / { command = ""; for (i = 2; i <= NF && $i != "Ar" && $i != "Op"; i++) command = command (i > 2 ? " " : "") $i; print command; next }
		inside && /^\.It Fl / { for (i = 2; i < NF; i++) if ($i == "Fl" && $(i + 1) ~ /^-/) print command " -" $(i + 1) }
	' "$1" | sort
}

# From the program: the commands of --help, each with the options of its own --help.
commands_of() {
	"./$1" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]\{1,\}\( [a-z]\{1,\}\)\{0,1\}\)\(  .*\)\{0,1\}$/\1/p'
}

of_program() {
	commands_of "$1" | while read -r command; do
		printf '%s\n' "$command"
		# shellcheck disable=SC2086 # a command may be of two words
		"./$1" $command --help | sed -n "/^options:/,\$s/^  .*--\([a-z-]*\).*/$command --\1/p" | grep -v -e '--help$' || [ $? = 1 ]
	done | sort
}

# shellcheck disable=SC2086 # a list of names
# All that is installed (sbin_PROGRAMS), or those named on the command line.
[ $# -gt 0 ] || set -- $MAN_PROGRAMS
for program in "$@"; do
	of_program "$program" >"man_commands.$$.program"
	of_page "man/$program.8" >"man_commands.$$.page"
	[ -s "man_commands.$$.program" ] || complain "$program --help names no commands"
	diff "man_commands.$$.program" "man_commands.$$.page" || complain "man/$program.8: < is only in the program, > only in the page"
	commands_of "$program" | while read -r command; do
		# shellcheck disable=SC2086
		"./$program" $command --help >"man_commands.$$.help"
		# A single word, such as a long prefix, cannot be broken.
		if LC_ALL=C.UTF-8 grep -E '^.{81,}$' "man_commands.$$.help" | grep -qE '[^ ] +[^ ]' || [ "$(wc -l <"man_commands.$$.help")" -gt 24 ]; then
			printf '%s --help does not fit 80 x 24\n' "$program $command"
		fi
	done >"man_commands.$$.size"
	[ ! -s "man_commands.$$.size" ] || complain "$(cat "man_commands.$$.size")"
	for page in "man/$program.8" "man/$program.conf.5"; do
		# As installed under /usr: a long prefix makes lines that cannot be broken.
		sed 's|@[a-z]*@|/etc|g' "$srcdir/$page.in" >"man_commands.$$.roff"
		warnings=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l "man_commands.$$.roff" 2>&1 >/dev/null)
		[ -z "$warnings" ] || complain "$page: $warnings"
	done
done
rm -f "man_commands.$$".*
[ $bad = 0 ] && echo "1 passed, 0 failed"
exit $bad
