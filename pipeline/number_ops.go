package pipeline

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/expr-lang/expr/vm/runtime"
)

// binary applies an operator of expr-lang: to numbers without rounding, to
// everything else as expr-lang does.
func binary(exact func(a, b any) (any, error), other func(a, b any) any) func(...any) (any, error) {
	return func(p ...any) (any, error) {
		if isNumber(p[0]) && isNumber(p[1]) {
			if v, err := exact(p[0], p[1]); err == nil {
				return v, nil
			}
			return other(floatOf(p[0]), floatOf(p[1])), nil // an infinity, or too many digits
		}
		return other(p[0], p[1]), nil
	}
}

// calculate is an operator on fractions.
func calculate(op func(z, a, b *big.Rat) *big.Rat) func(a, b any) (any, error) {
	return func(a, b any) (any, error) {
		x, err := rat(a)
		if err != nil {
			return nil, err
		}
		y, err := rat(b)
		if err != nil {
			return nil, err
		}
		return numberOf(op(new(big.Rat), x, y))
	}
}

var (
	plus   = binary(calculate((*big.Rat).Add), runtime.Add)
	minus  = binary(calculate((*big.Rat).Sub), runtime.Subtract)
	times  = binary(calculate((*big.Rat).Mul), runtime.Multiply)
	divide = binary(quotient, func(a, b any) any { return runtime.Divide(a, b) })
	modulo = binary(remainder, func(a, b any) any { return runtime.Modulo(a, b) })
	power  = binary(exponent, func(a, b any) any { return runtime.Exponent(a, b) })
)

func quotient(a, b any) (any, error) {
	if asFloat(b) == 0 {
		return nil, errNotExact
	}
	return calculate((*big.Rat).Quo)(a, b)
}

func remainder(a, b any) (any, error) {
	x, err := rat(a)
	if err != nil {
		return nil, err
	}
	y, err := rat(b)
	if err != nil {
		return nil, err
	}
	if !x.IsInt() || !y.IsInt() || y.Sign() == 0 {
		return nil, fmt.Errorf("%% takes whole numbers, and not 0 on the right")
	}
	return numberOf(new(big.Rat).SetInt(new(big.Int).Rem(x.Num(), y.Num())))
}

// exponent is exact for whole numbers.
func exponent(a, b any) (any, error) {
	x, err := rat(a)
	n, whole := b.(int)
	if err != nil || !whole || !x.IsInt() || n < 0 || n > 4*maxDigits || n*x.Num().BitLen() > 4*maxDigits {
		return nil, errNotExact
	}
	return numberOf(new(big.Rat).SetInt(new(big.Int).Exp(x.Num(), big.NewInt(int64(n)), nil)))
}

// compareNumbers orders two numbers.
func compareNumbers(a, b any) (int, error) {
	x, err := rat(a)
	if err != nil {
		return 0, err
	}
	y, err := rat(b)
	if err != nil {
		return 0, err
	}
	return x.Cmp(y), nil
}

// ordered is a comparison of expr-lang.
func ordered(holds func(int) bool, other func(a, b any) bool) func(...any) (any, error) {
	return binary(func(a, b any) (any, error) {
		c, err := compareNumbers(a, b)
		return holds(c), err
	}, func(a, b any) any { return other(a, b) })
}

// equal compares values, and numbers in them by what they amount to.
func equal(a, b any) bool {
	switch {
	case isNumber(a) && isNumber(b):
		if c, err := compareNumbers(a, b); err == nil {
			return c == 0
		}
		return runtime.Equal(floatOf(a), floatOf(b))
	case isNumber(a) || isNumber(b):
		return false
	}
	x, listA := asList(a)
	y, listB := asList(b)
	if listA && listB {
		return slices.EqualFunc(x, y, equal)
	}
	m, mapA := a.(map[string]any)
	n, mapB := b.(map[string]any)
	if mapA && mapB {
		return len(m) == len(n) && !slices.ContainsFunc(sortedKeys(m), func(k string) bool {
			other, there := n[k]
			return !there || !equal(m[k], other)
		})
	}
	return runtime.Equal(a, b)
}

// within is expr-lang's in.
func within(p ...any) (any, error) {
	if list, ok := asList(p[1]); ok {
		return slices.ContainsFunc(list, func(v any) bool { return equal(p[0], v) }), nil
	}
	return runtime.In(floatOf(p[0]), p[1]), nil
}

func negate(p ...any) (any, error) {
	if d, ok := p[0].(decimal); ok {
		if positive, negative := strings.CutPrefix(string(d), "-"); negative {
			return decimal(positive), nil
		}
		return "-" + d, nil
	}
	if !isNumber(p[0]) {
		return runtime.Negate(p[0]), nil
	}
	return minus(0, p[0])
}

// floatOf is a value as expr-lang's own functions take it: they know no decimal.
func floatOf(v any) any {
	if d, ok := v.(decimal); ok {
		return asFloat(d)
	}
	return v
}

// floats is floatOf for a list, too.
func floats(p ...any) (any, error) {
	list, ok := asList(p[0])
	if !ok {
		return floatOf(p[0]), nil
	}
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = floatOf(v)
	}
	return out, nil
}
