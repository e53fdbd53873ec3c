package pipeline

import (
	"regexp"
	"strings"
	"testing"
)

// TestPipelinesInReference parses what the reference shows as pipelines.
func TestPipelinesInReference(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(expressionsPage(), -1)
	shown := 0
	for _, block := range blocks {
		if !strings.Contains(block[1], "modules:") {
			continue
		}
		shown++
		f, err := Parse("page.yaml", []byte("name: page\n"+block[1]))
		if err == nil {
			_, err = f.Bind(nil, nil)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, block[1])
		}
	}
	if shown < 2 {
		t.Errorf("the page shows %d pipelines", shown)
	}
}
