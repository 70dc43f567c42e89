#!/bin/sh
# Holds docs/troubleshooting.md to the source: every verdict and reason with its AADSTS code, every code of a directory with its
# verdict, every finding of `pta-agent check` with its severity, and what registering can say.
set -eu
: "${srcdir:=.}"
src=$srcdir/src
page=$srcdir/docs/troubleshooting.md
files=docs_troubleshooting.$$
bad=0
complain() {
	printf '%s\n' "$*"
	bad=1
}
calls() { # functions, then files
	names=$1
	shift
	awk -v calls="$names" -f "$srcdir/tests/unit/c_calls.awk" "$@"
}

# ---- tables: "first cell<TAB>word that its row must have" ----
{
	# [VERDICT_X] = {"name", code, … and [REASON_X] = {"name", code}
	sed -n 's/^\t\[\(VERDICT\|REASON\)_[A-Z_]*\] = {"\([a-z_]*\)", \([0-9]*\).*/`\2`\t\3/p' "$src/wire/verdict.c" |
		sed 's/\t0$/\t/; s/\t\([0-9]\{1,\}\)$/\tAADSTS\1/'
	# {0x52e, VERDICT_X, false} and {0xc000006a, VERDICT_X}
	sed -n 's/^\t{0x\([0-9a-f]*\), VERDICT_\([A-Z_]*\).*/\1 \2/p' "$src/directory/ad_status.c" "$src/directory/ad_status_kdc.c" | while read -r code verdict; do
		[ ${#code} -lt 8 ] || code=$(printf %s "$code" | tr a-f A-F)
		printf '`%s`\t`%s`\n' "$code" "$(printf %s "$verdict" | tr A-Z a-z)"
	done
	# {18, VERDICT_X, 0, … and {37, VERDICT_UNAVAILABLE, REASON_X, …
	sed -n 's/^\t{\([0-9]\{1,\}\), VERDICT_\([A-Z_]*\), \(0\|REASON_\([A-Z_]*\)\), .*/\1 \2 \4/p' "$src/directory/ad_status_kdc.c" | while read -r code verdict reason; do
		printf '%s\t`%s`\n' "$code" "$(printf %s "${reason:-$verdict}" | tr A-Z a-z)"
	done
} >"$files.rows"
[ "$(wc -l <"$files.rows")" -ge 50 ] || complain "fewer rows were read from the source than it has"
awk -F '\t' '
	FNR == NR { row[++n] = $0; next }
	/^\| / { split($0, cells, " [|] "); sub(/^[|] /, "", cells[1]); rows[cells[1]] = rows[cells[1]] $0 "\n" }
	END {
		for (i = 1; i <= n; i++) {
			split(row[i], want, "\t")
			if (!(want[1] in rows))
				print want[1] " is missing"
			else if (want[2] != "" && !index(rows[want[1]], want[2]))
				print want[1] " has not " want[2] " in its row"
		}
	}
' "$files.rows" "$page" >"$files.said"

# ---- findings: "mark<TAB>text" ----
{
	# The format is the third argument of findings_good(), the fourth of findings_warn() and _bad(), the fifth of _fault().
	calls "findings_good findings_warn findings_bad findings_fault" "$src"/agent/check*.c | awk -F '\t' '
		{ at = $1 == "findings_good" ? 4 : $1 == "findings_fault" ? 6 : 5 }
		{ mark = $1 == "findings_good" ? "✓" : $1 == "findings_warn" ? "!" : $1 == "findings_bad" ? "✗" : "!✗" }
		{ n = split($at, texts, "\036"); for (i = 1; i <= n; i++) print mark "\t" texts[i] }
	'
	# Why a certificate is refused, and what a KDC says of the keytab: texts of findings that are made elsewhere.
	calls snprintf "$src/agent/check_tls.c" | awk -F '\t' '$2 == "out->text" { print "✗\t" $4 }'
	sed -n '/^} refusals\[\]/,/^};/s/^\t{[A-Z0-9_]*, "\([^"]*\)",.*/!✗\t\1/p' "$src/agent/check_kerberos.c"
} | grep '[a-z]' | grep -v 'const char' | sort -u >"$files.findings"
[ "$(wc -l <"$files.findings")" -ge 70 ] || complain "fewer findings were read from the source than it has"
awk -F '\t' '
	FNR == NR { mark[++n] = $1; text[n] = $2; next }
	/^\| / { split($0, cells, " [|] "); line[++m] = $0; marks[m] = cells[2] == "" ? "" : cells[2] }
	END {
		for (i = 1; i <= n; i++) {
			found = 0
			for (k = 1; k <= m; k++)
				if (index(line[k], "`" text[i] "`") && index(" " marks[k] " ", " " mark[i] " "))
					found = 1
			if (!found)
				print mark[i] " " text[i] " is missing"
		}
	}
' "$files.findings" "$page" >>"$files.said"

# What was looked at: literal names of findings, and those that check_label(), label() and snprintf(what, …) make.
{
	calls "findings_good findings_warn findings_bad findings_fault" "$src"/agent/check*.c | awk -F '\t' '{ print $1 == "findings_fault" ? $4 : $3 }'
	calls check_label "$src"/agent/check*.c | cut -f4
	calls label "$src/agent/check_discovery.c" | cut -f3
	calls snprintf "$src"/agent/check*.c | awk -F '\t' '$2 == "what" { print $4 }'
} | sed 's/…//g; s/^ *//; s/ *$//' | grep -vE '^(what|step|)$|[(>*"]' | sort -u >"$files.names"
while read -r name; do
	grep -qE "^\| (\`.*\`, )?\`$name( NAME)?\`" "$page" || echo "the finding $name is missing" >>"$files.said"
done <"$files.names"

# ---- what registering says, and why a service refuses an agent ----
{
	calls err_set "$src/agent/enroll.c" "$src/wire/token.c"
	calls err_set "$src/service/registry_enroll.c" "$src/service/registry_snapshot.c" "$src/service/agent_auth.c" | grep -- '-PTA_EPERM'
} | cut -f4 | grep '[a-z]' | grep -v '^out of memory$' | tr -d '\036' | sed 's/with "")/with "pta1.")/' | sort -u >"$files.errors"
while IFS= read -r text; do
	grep -qF -- "\`$text\`" "$page" || printf 'the error is missing: %s\n' "$text" >>"$files.said"
done <"$files.errors"
[ "$(wc -l <"$files.errors")" -ge 18 ] || complain "fewer errors were read from the source than it has"

[ ! -s "$files.said" ] || complain "docs/troubleshooting.md: $(cat "$files.said")"
rm -f "$files".*
[ $bad = 0 ] && echo "1 passed, 0 failed"
exit $bad
