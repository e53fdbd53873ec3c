package pipeline

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm/runtime"
)

// Our functions in the place of expr-lang's operators and functions of
// numbers. No one can write their names.
const exactPrefix = "\x00number:"

var exactOperators = map[string]func(...any) (any, error){
	"+": plus, "-": minus, "*": times, "/": divide, "%": modulo, "**": power, "^": power,
	"<":  ordered(func(c int) bool { return c < 0 }, runtime.Less),
	"<=": ordered(func(c int) bool { return c <= 0 }, runtime.LessOrEqual),
	">":  ordered(func(c int) bool { return c > 0 }, runtime.More),
	">=": ordered(func(c int) bool { return c >= 0 }, runtime.MoreOrEqual),
	"==": func(p ...any) (any, error) { return equal(p[0], p[1]), nil },
	"!=": func(p ...any) (any, error) { return !equal(p[0], p[1]), nil },
	"in": within,
}

var exactFunctions = map[string]func(...any) (any, error){
	"negate": negate, "floats": floats, "field": fieldOrNil,
	"sum": total, "min": extreme("min", -1), "max": extreme("max", 1), "string": asText, "int": asInt,
	"abs":   unary(func(r *big.Rat) *big.Rat { return r.Abs(r) }),
	"floor": unary(floor), "round": unary(round),
	"ceil": unary(func(r *big.Rat) *big.Rat { return r.Neg(floor(r.Neg(r))) }),
}

// exactOptions register them with expr-lang.
var exactOptions = func() []expr.Option {
	var options []expr.Option
	for _, table := range []map[string]func(...any) (any, error){exactOperators, exactFunctions} {
		for name, f := range table {
			options = append(options, expr.Function(exactPrefix+name, f, new(func(...any) any)))
		}
	}
	return options
}()

func floor(r *big.Rat) *big.Rat {
	n := new(big.Int).Div(r.Num(), r.Denom()) // Euclidean, and the denominator is positive
	return r.SetInt(n)
}

// round takes halves away from zero.
func round(r *big.Rat) *big.Rat {
	half := big.NewRat(1, 2)
	if r.Sign() < 0 {
		r.Neg(r)
		return r.Neg(floor(r.Add(r, half)))
	}
	return floor(r.Add(r, half))
}

// unary is a function of one number.
func unary(f func(*big.Rat) *big.Rat) func(...any) (any, error) {
	return func(p ...any) (any, error) {
		r, err := rat(p[0])
		if err != nil {
			return nil, notANumber(p[0], err)
		}
		return numberOf(f(r))
	}
}

func notANumber(v any, err error) error {
	if isNumber(v) {
		return err
	}
	text, _ := textOf(v)
	return fmt.Errorf("%s is not a number", quoteShort(text))
}

// numbersIn are the numbers that a function was given: one by one, or in lists.
func numbersIn(p []any) ([]any, error) {
	var out []any
	for _, v := range p {
		list, ok := asList(v)
		if ints, ranged := v.([]int); ranged {
			for _, i := range ints {
				out = append(out, i)
			}
			continue
		}
		if !ok {
			list = []any{v}
		}
		for _, item := range list {
			if !isNumber(item) {
				return nil, notANumber(item, nil)
			}
			out = append(out, item)
		}
	}
	return out, nil
}

func total(p ...any) (any, error) {
	list, err := numbersIn(p)
	sum := any(0)
	for _, v := range list {
		if sum, err = plus(sum, v); err != nil {
			break
		}
	}
	return sum, err
}

// extreme finds the largest (1) or the smallest (-1) number.
func extreme(name string, sign int) func(...any) (any, error) {
	return func(p ...any) (any, error) {
		list, err := numbersIn(p)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("%s() of nothing", name)
		}
		return slices.MaxFunc(list, func(a, b any) int {
			c, failed := compareNumbers(a, b)
			if failed != nil {
				err = failed
			}
			return c * sign
		}), err
	}
}

func asText(p ...any) (any, error) {
	if isNumber(p[0]) {
		return textOfNumber(p[0]), nil
	}
	return fmt.Sprint(p[0]), nil
}

// asInt cuts off the digits after the point.
func asInt(p ...any) (any, error) {
	v := p[0]
	if s, ok := v.(string); ok {
		if v, ok = parseNumber(strings.TrimSpace(s)); !ok {
			return nil, notANumber(s, nil)
		}
	}
	r, err := rat(v)
	if err != nil {
		return nil, notANumber(v, err)
	}
	return numberOf(r.SetInt(new(big.Int).Quo(r.Num(), r.Denom())))
}
