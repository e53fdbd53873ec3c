package mask

// Forms lists the forms of values.
func Forms(values ...string) (forms []string) {
	for _, v := range values {
		forms = append(forms, formsOf(v)...)
	}
	return forms
}
