# bash completion for pta-agent and pta-service. Both tell their commands and options by --help, and that is what is offered:
# so it fits whatever version is installed.

# One command a line: "register", "agent list".
_pta_commands() {
	"$1" --help 2>/dev/null | sed -n '/^commands:/,/^$/s/^  \([a-z]\{1,\}\( [a-z]\{1,\}\)\{0,1\}\)\(  .*\)\{0,1\}$/\1/p'
}

# Of a command, one option a line: "-c, --config FILE", "--json".
_pta_options() {
	"$@" --help 2>/dev/null | sed -n '/^options:/,$s/^ *\(\(-[a-zA-Z], \)\{0,1\}--[a-z-]\{1,\}\( [A-Z]\{1,\}\)\{0,1\}\)\(  .*\)\{0,1\}$/\1/p'
}

# The value of an option: a file, or nothing that can be guessed.
_pta_value() {
	[ "$1" = FILE ] || return 0
	compopt -o filenames
	mapfile -t COMPREPLY < <(compgen -f -- "$2")
}

_pta() {
	local program=$1 cur=$2 prev=$3 commands options option names
	local -a command

	COMPREPLY=()
	commands=$(_pta_commands "$program")
	# Options without a command are those of run.
	if ((COMP_CWORD > 1)); then command=("${COMP_WORDS[1]}"); else command=("$cur"); fi
	[[ ${command[0]} != -* ]] || command=(run)
	if ((COMP_CWORD == 1)) && [[ $cur != -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(sed 's/ .*//' <<<"$commands" | sort -u)" -- "$cur")
		return
	fi
	if ! grep -qxF -- "${command[0]}" <<<"$commands"; then
		if ((COMP_CWORD == 2)); then
			mapfile -t COMPREPLY < <(compgen -W "$(sed -n "s/^${command[0]//[^a-z]/} //p" <<<"$commands")" -- "$cur")
			return
		fi
		command+=("${COMP_WORDS[2]}")
		grep -qxF -- "${command[*]}" <<<"$commands" || return
	fi

	# "--config=FILE" comes as three words.
	[[ $cur != = ]] || cur=
	[[ $prev != = ]] || prev=${COMP_WORDS[COMP_CWORD - 2]}
	options=$(_pta_options "$program" "${command[@]}")
	while read -r option; do
		if [[ " ${option//,/} " == *" $prev "* && $option =~ \ ([A-Z]+)$ ]]; then
			_pta_value "${BASH_REMATCH[1]}" "$cur"
			return
		fi
	done <<<"$options"
	names=$(grep -oE -- '--[a-z-]+' <<<"$options")
	((COMP_CWORD > 1)) || names+=" --version"
	mapfile -t COMPREPLY < <(compgen -W "$names" -- "$cur")
}

complete -F _pta pta-agent pta-service
