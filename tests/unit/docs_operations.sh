#!/bin/sh
# Holds docs/operations.md to the source: every metric is there, and no other; the log lines that it tells of exist.
set -eu
: "${srcdir:=.}"
page=$srcdir/docs/operations.md
files=docs_operations.$$
bad=0
complain() {
	printf '%s\n' "$*"
	bad=1
}
grep -rhoE '"pta_[a-z]+_[a-z_]+"' "$srcdir/src" --include='*.c' | tr -d '"' | sort -u >"$files.source"
grep -oE '`pta_[a-z_]+`' "$page" | tr -d '`' | sort -u >"$files.page"
[ -s "$files.source" ] || complain "no metric was read from the source"
diff "$files.source" "$files.page" || complain "docs/operations.md: metrics: < is only in the source, > only in the page"

sed -n '/^### Log lines/,$p' "$page" | grep -oE '`[a-z]+\.[a-z_]+`' | tr -d '`' | sort -u >"$files.events"
[ -s "$files.events" ] || complain "docs/operations.md names no log lines"
while read -r event; do
	grep -rqF --include='*.c' "\"$event\"" "$srcdir/src" || complain "docs/operations.md: nothing logs $event"
done <"$files.events"
rm -f "$files".*
[ $bad = 0 ] && echo "1 passed, 0 failed"
exit $bad
