package worker

// guard has nothing to do it with here.
type guard struct{}

func newGuard() (*guard, error) { return nil, nil }

func (*guard) begun(int) {}
func (*guard) ended(int) {}
func (*guard) close()    {}
