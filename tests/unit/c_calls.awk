# Prints the calls of C functions in the files: one line each, "function<TAB>argument<TAB>argument…". An argument is what its
# string literals say, pieces that stand together joined and alternatives (a ? "x" : "y") divided by a line feed's sign \036;
# without any it is the source's text. Conversions of printf (%s, %.1f) become "…", since nobody knows what they print.
#   awk -v calls='findings_bad findings_warn' -f c_calls.awk FILE…
BEGIN {
	n = split(calls, names, " ")
	for (i = 1; i <= n; i++)
		wanted[names[i]] = 1
}
FNR == 1 && NR > 1 { scan(text); text = "" }
{ text = text $0 "\n" }
END { scan(text) }

function scan(source,    name, before) {
	while (match(source, /[A-Za-z_][A-Za-z0-9_]*\(/)) {
		name = substr(source, RSTART, RLENGTH - 1)
		source = substr(source, RSTART + RLENGTH)
		if (name in wanted)
			print name arguments(source)
	}
}

# From behind the opening parenthesis on.
function arguments(source,    i, c, depth, out, argument, said, literal, inside) {
	depth = 1
	for (i = 1; i <= length(source) && depth > 0; i++) {
		c = substr(source, i, 1)
		if (c == "\"") {
			literal = ""
			for (i++; (c = substr(source, i, 1)) != "\""; i++) {
				if (c == "\\")
					c = substr(source, ++i, 1)
				literal = literal c
			}
			said = said (said != "" && !inside ? "\036" : "") literal
			inside = 1
			continue
		}
		if (c == "(")
			depth++
		if (c == ")")
			depth--
		if (depth == 0 || (c == "," && depth == 1)) {
			out = out "\t" (said != "" ? printed(said) : trimmed(argument))
			argument = said = ""
			inside = 0
			continue
		}
		if (c !~ /[ \t\n]/)
			inside = 0
		argument = argument c
	}
	return out
}

function printed(text) {
	gsub(/%[-+0-9.*]*(ll|l|z|j)?[a-zA-Z]/, "…", text)
	gsub(/(…)+/, "…", text)
	gsub(/%%/, "%", text)
	return text
}

function trimmed(text) {
	gsub(/[ \t\n]+/, " ", text)
	sub(/^ /, "", text)
	sub(/ $/, "", text)
	return text
}
