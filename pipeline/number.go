package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// decimal is a number that no int holds: a fraction, an exponent, more than 64
// bits. Its text is what was written, in the syntax of JSON.
type decimal = json.Number

// maxDigits bounds the digits and the exponent of a number that is calculated
// with: a short text such as 1e999999999 denotes a long number.
const maxDigits = 400

var errNotExact = errors.New("a number has more than " + strconv.Itoa(maxDigits) + " digits")

var numberSyntax = regexp.MustCompile(`^([+-]?)([0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?$`)

// parseNumber reads a number: an int where it is a whole one of 64 bits, else
// a decimal that keeps its digits.
func parseNumber(s string) (any, bool) {
	m := numberSyntax.FindStringSubmatch(s)
	if m == nil || m[2] == "" && len(m[3]) < 2 {
		return nil, false
	}
	whole := strings.TrimLeft(m[2], "0")
	if whole == "" {
		whole = "0"
	}
	fraction := m[3]
	if fraction == "." {
		fraction = ""
	}
	text := strings.TrimPrefix(m[1], "+") + whole + fraction + m[4]
	if i, err := strconv.Atoi(text); err == nil {
		return i, true
	}
	return decimal(text), true
}

// isNumber reports whether a value is one that expressions calculate with.
func isNumber(v any) bool {
	switch v.(type) {
	case int, float64, decimal:
		return true
	}
	return false
}

// rat is a number without rounding. The number of a float64 is its shortest
// decimal.
func rat(v any) (*big.Rat, error) {
	switch v := v.(type) {
	case int:
		return new(big.Rat).SetInt64(int64(v)), nil
	case float64:
		return rat(decimal(strconv.FormatFloat(v, 'g', -1, 64)))
	case decimal:
		m := numberSyntax.FindStringSubmatch(string(v))
		if m == nil {
			return nil, errors.New(string(v) + " is not a number that can be calculated with") // NaN, an infinity
		}
		exponent, err := 0, error(nil)
		if m[4] != "" {
			exponent, err = strconv.Atoi(m[4][1:])
		}
		if err != nil || len(m[2])+len(m[3]) > maxDigits || exponent > maxDigits || exponent < -maxDigits {
			return nil, errNotExact
		}
		if r, ok := new(big.Rat).SetString(string(v)); ok {
			return r, nil
		}
	}
	return nil, errors.New("not a number")
}

// numberOf makes an int of a result, else a decimal; a float64 of one whose
// digits never end.
func numberOf(r *big.Rat) (any, error) {
	if r.Num().BitLen() > 4*maxDigits || r.Denom().BitLen() > 4*maxDigits {
		return nil, errNotExact
	}
	if n := r.Num(); r.IsInt() && n.IsInt64() {
		return int(n.Int64()), nil
	}
	digits, ends := r.FloatPrec()
	if !ends {
		f, _ := r.Float64()
		return f, nil
	}
	return decimal(r.FloatString(digits)), nil
}

// asFloat is the float64 that is nearest to a number.
func asFloat(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case decimal:
		f, _ := strconv.ParseFloat(string(v), 64) // out of range: an infinity
		return f
	case float64:
		return v
	}
	return math.NaN()
}

// textOfNumber shows a number without an exponent, unless it was written with one.
func textOfNumber(v any) string {
	switch v := v.(type) {
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case decimal:
		return string(v)
	}
	return ""
}

// exactNumbers makes the numbers of a value ours: of floats decimals, so that
// they are written without an exponent, and of all whole numbers an int, or a
// decimal above 63 bits.
func exactNumbers(v any) any {
	switch v := v.(type) {
	case float64:
		if n, ok := parseNumber(textOfNumber(v)); ok {
			return n
		}
	case float32:
		return exactNumbers(float64(v))
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = exactNumbers(v[i])
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for k := range v {
			m[k] = exactNumbers(v[k])
		}
		return m
	case uint8, uint16, uint32, uint64, int8, int16, int32, int64:
		n, _ := parseNumber(fmt.Sprint(v)) // digits are a number
		return n
	}
	return v
}

// Exact is a value as encoding/json writes it without rounding and without
// exponents: json.Number in the place of floats and of large numbers.
func Exact(v any) any { return exactNumbers(v) }

// travelling are the values of parameters as they are sent: whole numbers as
// int64, others as float64, with the text of those that a float64 changes.
func travelling(bound map[string]any) (params map[string]any, texts map[string]string) {
	params = make(map[string]any, len(bound))
	for name, v := range bound {
		switch v := v.(type) {
		case int:
			params[name] = int64(v)
		case decimal:
			f := asFloat(v)
			params[name] = f
			if textOfNumber(f) != string(v) {
				if texts == nil {
					texts = map[string]string{}
				}
				texts[name] = string(v)
			}
		default:
			params[name] = v
		}
	}
	return params, texts
}

// ParamValues are the bound values: string, bool, or of a number an int where
// it is a whole one of 64 bits, else a json.Number that has the digits as they
// were written.
func (p *Pipeline) ParamValues() map[string]any {
	values := make(map[string]any, len(p.Params))
	for name, v := range p.Params {
		values[name] = exactNumbers(v)
		if n, ok := parseNumber(p.Decimals[name]); ok {
			values[name] = n
		}
	}
	return values
}
