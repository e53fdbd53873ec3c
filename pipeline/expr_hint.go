package pipeline

import (
	"reflect"
	"regexp"
	"strings"
)

// mismatch is expr-lang's message about an operator whose sides do not fit it.
var mismatch = regexp.MustCompile(`^invalid operation: (\S+) \(mismatched types? (.+?)(?: and (.+))?\)$`)

// typeHint says what to write instead of an operation on values that it does not take.
func typeHint(msg string) string {
	if strings.HasPrefix(msg, "non-bool expression") {
		return "the part before ? must be true or false: compare it, such as params.NAME != '' ? 'a' : 'b'"
	}
	m := mismatch.FindStringSubmatch(msg)
	if m == nil {
		return ""
	}
	switch m[1] {
	case "||", "or":
		return "|| joins conditions: for a default write ?? (params.NAME ?? 'x'), for another text where one is empty params.NAME != '' ? params.NAME : 'x'"
	case "&&", "and":
		return "&& joins conditions: compare each side, such as params.NAME != '', and for one of two values write CONDITION ? 'a' : 'b'"
	case "!", "not":
		return "! is for conditions: compare the value, such as params.NAME == ''"
	case "==", "!=", "<", "<=", ">", ">=", "in":
		return comparisonHint(m[2], m[3])
	case "+":
		return "+ joins texts or adds numbers: string(X) makes a text of a number, int(X) or float(X) a number of a text"
	case "-", "*", "/", "%", "**", "^":
		return "int(X) or float(X) makes a number of a text"
	}
	return ""
}

func comparisonHint(left, right string) string {
	switch {
	case left == "bool" || right == "bool":
		return "compare a boolean with true or false, without quotes"
	case left == "string" && right == "string":
		return ""
	case left == "string" || right == "string":
		return "int(X) or float(X) makes a number of a text, and string(X) a text of a number"
	}
	return ""
}

// conditionHint says how a value becomes a condition.
func conditionHint(src string, t reflect.Type) string {
	src = strings.TrimSpace(src)
	if len(src) > 60 || strings.ContainsAny(src, "?|&\n") {
		src = "(…)"
	}
	switch {
	case strings.HasSuffix(src, ".status"):
		return "compare it: " + src + " == 'succeeded'"
	case t.Kind() == reflect.String:
		return "compare it: " + src + " != '' or " + src + " == 'true'"
	case t.Kind() == reflect.Int || t.Kind() == reflect.Float64:
		return "compare it: " + src + " != 0"
	case t.Kind() == reflect.Slice:
		return "compare its length: len(" + src + ") > 0"
	}
	return "compare it, with == or !="
}
