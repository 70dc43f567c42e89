#!/bin/sh
# Holds the table of events (src/base/log_events.def) to the calls of log_event() in the source: each event and field that is
# logged has its row, each row is logged, at its level; and docs/events.md to both. --write writes that page.
set -eu
: "${srcdir:=.}"
table=$srcdir/src/base/log_events.def
page=$srcdir/docs/events.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
complain() {
	printf '%s\n' "$*"
	bad=1
}

# folder, level, event, field, field…: a line for each event of each call. admin.* are logged by one call whose event is a
# variable; where they are named is where a change begins.
for folder in base wire directory agent service; do
	awk -v calls='log_event change_new set_agent' -f "$srcdir/tests/unit/c_calls.awk" "$srcdir/src/$folder"/*.c | awk -F '\t' -v folder=$folder '
		function call(level, events, fields,    n, i, names) {
			n = split(events, names, "\036")
			for (i = 1; i <= n; i++)
				print folder "\t" level "\t" names[i] fields
		}
		{ fields = "" }
		$1 == "log_event" { for (i = 4; i <= NF; i++) { split($i, words, "\036"); fields = fields "\t" words[1] } }
		$1 == "log_event" && $3 == "change->event" { level = $2; shared = fields; next }
		$1 == "log_event" { call($2, $3, fields); next }
		{ event = $1 == "change_new" ? $3 : $5 }
		event ~ /^admin\./ { admin = admin (admin == "" ? "" : "\036") event }
		END { if (admin != "") call(level, admin, shared) }
	'
done >"$work/calls"
awk -v calls='EVENT FIELD' -f "$srcdir/tests/unit/c_calls.awk" "$table" >"$work/table"
grep '^EVENT' "$work/table" | cut -f 2- >"$work/events"
grep '^FIELD' "$work/table" | cut -f 2- >"$work/fields"

# What every line may have, or the log adds itself.
printf '%s\n' cut lost_lines suppressed >"$work/own"
compare() { # what, logged, table
	LC_ALL=C sort -u "$2" >"$work/logged"
	LC_ALL=C sort "$3" >"$work/listed"
	diff "$work/logged" "$work/listed" || complain "$1: < is logged and not in $table, > the reverse"
}
cut -f 3 "$work/calls" >"$work/a"
cut -f 1 "$work/events" >"$work/b"
compare events "$work/a" "$work/b"
LC_ALL=C sort -c "$work/b" || complain "$table is not sorted: it is searched by halves"
cut -f 4- "$work/calls" | tr '\t' '\n' | grep . | cat - "$work/own" >"$work/a"
cut -f 1 "$work/fields" >"$work/b"
compare fields "$work/a" "$work/b"
# "certain ? LOG_ERR : LOG_WARNING" and two calls of one event are two levels; the row says "LOG_ERR | LOG_WARNING".
levels() { # column of the event
	awk -F '\t' -v event="$1" '{ for (rest = $2; match(rest, /LOG_[A-Z]+/); rest = substr(rest, RSTART + RLENGTH)) print $event, substr(rest, RSTART, RLENGTH) }'
}
levels 3 <"$work/calls" >"$work/a"
levels 1 <"$work/events" >"$work/b"
compare levels "$work/a" "$work/b"
cut -f 4 "$work/events" | LC_ALL=C sort | uniq -d >"$work/twice"
[ ! -s "$work/twice" ] || complain "two events share a MESSAGE_ID: $(cat "$work/twice")"
if grep -vE '^[^	]*	[^	]*	[^	]*	[0-9a-f]{32}	.' "$work/events"; then
	complain "a MESSAGE_ID is not 32 hex digits, or nothing is said"
fi
# Words that a line or the journal has for itself.
if grep -E '^(time|level|program|event|message|priority|message_id|code_file|code_line|code_func|object_pid|syslog_.*|_.*)	' "$work/fields"; then
	complain "a field has a name that is taken"
fi

write_page() {
	cat <<'TEXT'
# Events of the log

Every line of the log is one event: a name that keeps its meaning, and fields. This page is made from the table in the source
(`src/base/log_events.def`), and `make check` holds it to what the programs log.

Where there is a journal, each field is there under its name in capitals, beside `EVENT`, `MESSAGE_ID` and `PRIORITY`; `request` is
`REQUEST_ID`. So:

```
journalctl REQUEST_ID=0123456789abcdef0123456789abcdef       # one sign-in, on the service and on the agent
journalctl -u pta-agent VERDICT=unavailable --since today
journalctl MESSAGE_ID=…                                      # one kind of event, by the table below
```

Elsewhere a line is logfmt or JSON, as `format` in the configuration says: `time=… level=… program=… event=…` and the fields.
Times that took or will take so long are in milliseconds. Levels are those of syslog; `error` is what somebody has to look at.

**audit** events go to the file or facility of `audit`, where that is set; they are written at any level then, and never left out.
**limited** events are written ten times in five seconds, then once a minute with `suppressed=` and the number of lines left out, until it
is calm again.

TEXT
	for program in pta-agent pta-service 'both programs'; do
		printf '## %s\n\n| event | level | | meaning | fields | MESSAGE_ID |\n|---|---|---|---|---|---|\n' "$program"
		awk -F '\t' -v program="$program" '
			# The calls: who logs it, with which fields.
			NR == FNR {
				who = $1 == "agent" || $1 == "directory" ? "pta-agent" : $1 == "service" ? "pta-service" : "both programs"
				if (($3 in by) && by[$3] != who) who = "both programs"
				by[$3] = who
				for (i = 4; i <= NF; i++) if (!(($3, $i) in seen)) { seen[$3, $i] = 1; fields[$3] = fields[$3] (fields[$3] == "" ? "" : ", ") $i }
				next
			}
			by[$1] == program {
				level = $2
				gsub(/LOG_ERR/, "error", level)
				gsub(/LOG_CRIT/, "critical", level)
				gsub(/LOG_/, "", level)
				gsub(/ \| /, " or ", level)
				level = tolower(level)
				flag = $3 == "LOG_AUDIT" ? "audit" : $3 == "LOG_LIMITED" ? "limited" : ""
				printf "| `%s` | %s | %s | %s | %s | `%s` |\n", $1, level, flag, $5, fields[$1], $4
			}
		' "$work/calls" "$work/events"
		printf '\n'
	done
	printf '## Fields\n\n| field | what it is |\n|---|---|\n'
	awk -F '\t' '{ printf "| `%s` | %s |\n", $1, $2 }' "$work/fields"
}
if [ "${1:-}" = --write ]; then
	write_page >"$page"
fi
write_page | diff "$page" - || complain "$page is not what the table says: tests/unit/events.sh --write writes it"
[ $bad = 0 ] && echo "1 passed, 0 failed"
exit $bad
